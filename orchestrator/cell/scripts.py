"""The scripts that run inside cells: where they lie, and the hash of all that runs there."""

import hashlib
import json
from functools import cache
from pathlib import Path

from orchestrator.cell.parameters import WORKLOADS, parameters

SUFFIXES = (".py", ".R", ".jl")
"""Of scripts, by their language; INTERPRETERS of harness/arguments.py says what runs each."""


def script_of(library: str, workload: str, variant: str = "reference") -> Path:
    """The script of a library for a workload: ``workloads/cnn/keras_tf.py``; see harness/arguments.py."""
    name = library if variant == "reference" else f"{library}_{variant}"
    paths = [WORKLOADS / workload / f"{name.replace('-', '_')}{suffix}" for suffix in SUFFIXES]
    return next((path for path in paths if path.is_file()), paths[0])


@cache
def sources(library: str, workload: str, variant: str) -> str:
    """Hash of what runs inside the cell: the script, the harness, the workload's parameters."""
    digest = hashlib.sha256(json.dumps(parameters()[workload], sort_keys=True).encode())
    shared = [path for folder in ("harness", "reference") for path in sorted((WORKLOADS / folder).glob("*.py"))]
    for path in (script_of(library, workload, variant), *shared):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
