"""The scripts that run inside cells: their paths, and the hash of everything that runs there."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from orchestrator.cell.cell import DEFAULTS
from orchestrator.cell.parameters import changes_parameters_alone, parameters_of
from orchestrator.cell.workloads import workloads
from orchestrator.errors import MatrixError
from orchestrator.system import library_folders
from orchestrator.system.library_folders import remembered

SUFFIXES = (".py", ".R", ".jl")
"""The suffixes of scripts by language; INTERPRETERS in harness/arguments.py says what runs each."""


def script_of(library: str, workload: str, variant: str = "reference") -> Path:
    """Return the script of a library for a workload: ``workloads/cnn/keras_tf.py``; see harness/arguments.py.

    A variant that only changes parameters has the script of the reference.
    """
    same = variant == DEFAULTS["variant"] or changes_parameters_alone(workload, variant)
    name = library if same else f"{library}_{variant}"
    files = [f"{name.replace('-', '_')}{suffix}" for suffix in SUFFIXES]
    paths = [folder.workloads / workload / file for folder in library_folders.library_folders() for file in files]
    return next((path for path in paths if path.is_file()), paths[0])


def scripts_of(workload: str) -> Sequence[Path]:
    """Return all scripts of a workload, sorted by name; raises MatrixError if two folders have one of the same name."""
    found: dict[str, Path] = {}
    for folder in library_folders.library_folders():
        there = folder.workloads / workload
        for path in sorted(there.iterdir()) if there.is_dir() else []:
            if path.suffix in SUFFIXES and found.setdefault(path.stem, path) != path:
                what = f"{found[path.stem]} and {path} are the same script of the same library."
                raise MatrixError(what, remedy="Rename one of them.")
    return sorted(found.values(), key=lambda path: path.name)


def check_names() -> None:
    """Raise MatrixError if a script exists twice: the order of the folders would decide which one runs."""
    for workload in workloads():
        scripts_of(workload)


@remembered
def sources(library: str, workload: str, variant: str) -> str:
    """Return a hash of what runs inside the cell: the script, the harness, the workload's parameters."""
    digest = hashlib.sha256(json.dumps(parameters_of(workload, variant), sort_keys=True).encode())
    workloads = library_folders.PROGRAM.workloads
    shared = [path for folder in ("harness", "reference") for path in sorted((workloads / folder).glob("*.py"))]
    for path in (script_of(library, workload, variant), *shared):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
