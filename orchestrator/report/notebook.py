"""A workload script as a Jupyter notebook: the same lines, a cell for each section.

The harness finds its arguments in a variable, as it does when another language has started it. Without a change the
notebook runs for seconds, on synthetic data.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestrator.cell import quality
from orchestrator.cell.parameters import parameters
from orchestrator.report.scripts import Script, place
from orchestrator.system.text_files import write_text

SETUP: Mapping[str, str] = {
    "python": """\
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["ROSETTA_ARGUMENTS"] = json.dumps({arguments})
os.environ.setdefault("ROSETTA_RESULTS", tempfile.mkdtemp())
for folder in (Path.cwd(), *Path.cwd().parents):
    if (folder / "workloads" / "harness").is_dir():
        sys.path.insert(0, str(folder / "workloads"))
        break""",
    "r": """\
Sys.setenv(ROSETTA_ARGUMENTS = r"({arguments})")
if (Sys.getenv("ROSETTA_RESULTS") == "") Sys.setenv(ROSETTA_RESULTS = tempdir())
if (dir.exists("workloads/harness")) Sys.setenv(PYTHONPATH = normalizePath("workloads"))""",
    "julia": """\
ENV["ROSETTA_ARGUMENTS"] = raw\"\"\"{arguments}\"\"\"
get!(mktempdir, ENV, "ROSETTA_RESULTS")
isdir("workloads/harness") && (ENV["PYTHONPATH"] = abspath("workloads"))""",
}
"""Per language: arguments, a folder for the result, and where the harness is (in a checkout around the notebook)."""

KERNELS: Mapping[str, Mapping[str, str]] = {
    "python": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "r": {"name": "ir", "display_name": "R", "language": "R"},
    "julia": {"name": "julia-1.9", "display_name": "Julia 1.9", "language": "julia"},
}

ABOUT = """\
# {summary}

The script `{path}`, a cell for each of its sections. It needs the library, and from a checkout of Rosetta Matrix the
folder `workloads`; both are in the image `{image}`.

This is a short run on synthetic data: a smoke run, which is never ranked. The published run is
`{published}`, with `ROSETTA_DATA` naming the folder of the data set that `rosetta data fetch` prints."""


def notebook(script: Script) -> Any:
    """The notebook of a script, in nbformat's form; its cells are numbered, so that it is the same each time."""
    import nbformat

    code: dict[str, Any] = {"outputs": [], "execution_count": None}
    cells: list[dict[str, Any]] = [
        {"id": f"cell-{number}", "cell_type": kind, "metadata": {}, "source": text, **(code if kind == "code" else {})}
        for number, (kind, text) in enumerate(parts(script))
    ]
    content = {"nbformat": 4, "nbformat_minor": 5, "metadata": {"kernelspec": dict(KERNELS[script.language])}}
    return nbformat.from_dict({**content, "cells": cells})  # type: ignore[no-untyped-call]


def parts(script: Script) -> Iterator[tuple[str, str]]:
    """Kind and text of each cell: what it is, how it is to be run, then heading and code of each section."""
    arguments = arguments_of(script)
    yield "markdown", about(script)
    yield "code", SETUP[script.language].format(arguments=json.dumps(arguments))
    for section in script.sections():
        if section.title:
            yield "markdown", f"## {section.title}"
        yield "code", section.code


def about(script: Script) -> str:
    """The introduction of the notebook."""
    from orchestrator.images.definitions import library_index

    framework = library_index()[script.library]
    return ABOUT.format(
        summary=script.summary.rstrip("."),
        path=place(script.path),
        image=f"rosetta/{framework.framework}",
        published=json.dumps(arguments_of(script, short=False)),
    )


def arguments_of(script: Script, short: bool = True) -> list[str]:
    """Return the harness's arguments: for the shortest run that learns something, or the published one."""
    variant = ["--variant", script.variant] if script.variant != "reference" else []
    words = [script.library, script.workload, *variant]
    if not short:
        return words
    two_batches = {"epochs": 1, "samples": 2 * parameters()[script.workload]["batch_size"]}
    length = quality.band_of(script.workload, "synthetic") or two_batches
    return [*words, "--data", "synthetic", "--epochs", str(length["epochs"]), "--samples", str(length["samples"])]


def write(script: Script, path: Path, overwrite: bool = False) -> bool:
    """Write a notebook: as .ipynb, or by the script's suffix in jupytext's percent form; raises DiskError.

    An existing file with other content stays as it is, unless told to ``overwrite`` it: somebody works in it. Returns
    whether the file is now the notebook.
    """
    import jupytext

    form = "ipynb" if path.suffix.lower() == ".ipynb" else f"{script.path.suffix.lstrip('.')}:percent"
    text = jupytext.writes(notebook(script), fmt=form)
    if path.is_file() and not overwrite and path.read_bytes() != text.encode():
        return False
    write_text(path, text)
    return True
