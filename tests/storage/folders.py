"""Results folders as runs leave them, without running anything."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.cell.cell import Cell
from orchestrator.results.files import read_results, write_incompatible, write_row
from orchestrator.results.merging import merge
from orchestrator.results.paths import MERGED
from tests.unit.results import test_results
from tests.unit.results.test_results import DOCUMENT

PRIVATE = ("merged.parquet", "incompatible.parquet", ".superseded", ".passing.parquet", f"{10**6 + 2:016x}", ".claims")
"""Parts of the names of what a run leaves and nobody else gets; the number is of a log without result."""


def row(number: int, seconds: float = 300.0, **changes: Any) -> dict[str, Any]:
    cell = Cell("pytorch", "rnn", repeat=number)
    made = test_results.row(cell, run=f"{number:032x}", seed=number, seconds=seconds)
    return {**made, "key": f"{number:016x}", "log_tail": f"log {number}", **changes}


def result(folder: Path, number: int, **changes: Any) -> Path:
    """The file of one result, with its log beside it."""
    path = folder / "cells" / f"{number:016x}" / "pytorch/rnn/cpu.parquet"
    write_row(row(number, **changes), path)
    path.with_suffix(".log").write_text(f"log {number}\n" * 100)
    return path


def full(folder: Path, count: int) -> Path:
    """A results folder with everything that can lie in one."""
    for number in range(count):
        result(folder, number)
    result(folder / "parity", 7)
    (folder / "by-hand.json").write_text(json.dumps(DOCUMENT))
    cells = [(Cell("knet", "rnn"), "unverified: nobody has seen it run")]
    write_incompatible(folder, cells, "docker")
    (folder / "reports" / "today").mkdir(parents=True)
    (folder / "reports" / "today" / "index.html").write_text("<h1>Results</h1>")
    (folder / "reports" / "today" / "rows.json").write_text("[]")
    old = result(folder, 10**6)
    old.rename(old.with_suffix(".12345678.superseded"))
    old.with_suffix(".log").unlink()
    lost = result(folder, 10**6 + 1)
    lost.rename(lost.with_suffix(".passing.parquet"))
    lost.with_suffix(".log").unlink()
    (folder / "cells" / f"{10**6 + 2:016x}" / "pytorch/rnn").mkdir(parents=True)
    (folder / "cells" / f"{10**6 + 2:016x}" / "pytorch/rnn/cpu.log").write_text("still runs")
    (folder / ".claims").mkdir()
    (folder / ".claims" / "id").write_text("0")
    merge([folder], folder / MERGED)
    return folder


def published(folder: Path) -> dict[str, bytes]:
    """What of such a folder others get."""
    return {name: content for name, content in files(folder) if not any(part in name for part in PRIVATE)}


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def merged(folder: Path, output: Path) -> list[dict[str, Any]]:
    """The rows of a folder, but for the one that is no cell's own doing and stays where it is."""
    merge([folder], output)
    return [row for row in read_results(output).to_pylist() if row["repeat"] != 10**6 + 1]
