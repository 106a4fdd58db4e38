"""What runs now in a results folder and what is done, from its files alone: there is no daemon to ask."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.engines.unattended import Unattended, unattended
from orchestrator.errors import ResultError
from orchestrator.results import decoding
from orchestrator.results.claims import is_of_orchestrator, living, of_folder
from orchestrator.results.decoding import Refusal
from orchestrator.results.merging import NAMED
from orchestrator.results.paths import ResultsFolder, listed, passing_path
from orchestrator.system.words import counted

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.run.screen import Entry

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Status:
    """Living orchestrators and the cells that they run, as they report them; how many rows have which status."""

    runs: tuple[Facts, ...]
    cells: tuple[Facts, ...]
    done: Mapping[str, int]
    refused: tuple[str, ...] = ()
    """Files, or rows of them, that are not counted, and why."""
    unattended: tuple[Unattended, ...] = ()
    """Cells that go on without an orchestrator."""

    def as_json(self) -> dict[str, Any]:
        """The form of ``rosetta status --json``."""
        return asdict(self)


def read(folder: Path) -> Status:
    """Look at a results folder; raises ResultError if there is none, or one that can't be looked into."""
    if not folder.is_dir():
        raise ResultError(f"{folder} does not exist.", remedy="Name the folder of a run with --results DIR.")
    next(listed(folder))
    claims = list(living(folder))
    found, refused = statuses(folder)
    return Status(
        runs=tuple(facts for name, facts in claims if is_of_orchestrator(name)),
        cells=tuple(facts for name, facts in claims if not is_of_orchestrator(name)),
        done=dict(Counter(found.values())),
        refused=tuple(told(refused)),
        unattended=tuple(unattended(folder, of_folder(folder), [name for name, _ in claims])),
    )


def statuses(folder: Path) -> tuple[dict[Any, str], list[Refusal]]:
    """The status of every cell that has a row, as merged and from the files that came later or went; what was refused.

    Raises ResultError for a folder that can't be looked into.
    """
    found: dict[Any, str] = {}
    here = ResultsFolder(folder)
    merged = here.merged
    since = merged.stat().st_mtime if merged.exists() else 0.0
    refused: list[Refusal] = []
    if since:
        every = decoding.read([merged])
        refused += every.refused
        table = every.table
        columns = (table[name].to_pylist() for name in ("key", "cell", "repeat", "data", "status"))
        for key, cell, repeat, data, status in zip(*columns, strict=True):
            if not key or is_as_merged(here.result(key, cell), since):
                found[key or (cell, repeat, data)] = status
    keys = next(listed(here.cells))[1] if here.cells.is_dir() else []
    later = [
        place / name
        for key in keys
        if key not in found
        for place, _, names in listed(here.cells / key)
        for name in names
        if name.endswith(".parquet") and not name.startswith(".")
    ]
    others = decoding.read(later)
    found |= dict(zip(others.table["key"].to_pylist(), others.table["status"].to_pylist(), strict=True))
    return found, [*refused, *others.refused]


def told(refused: Sequence[Refusal]) -> Iterator[str]:
    """A line for each file that is not counted; at most so many."""
    lost = [refusal for refusal in refused if not refusal.is_note]
    yield from (" ".join(filter(None, (each.error.what, each.error.why))) for each in lost[:NAMED])
    if len(lost) > NAMED:
        yield f"and {len(lost) - NAMED:,} more"


def is_as_merged(path: Path, since: float) -> bool:
    """Whether the row of a cell is still the one that was merged; one that came from elsewhere is."""
    written = [each.stat().st_mtime for each in (path, passing_path(path)) if each.exists()]
    return max(written) <= since if written else not path.parent.exists()


def show(status: Status, console: "Console") -> None:
    """Print it for a person."""
    from rich.text import Text

    from orchestrator.run.screen import board
    from orchestrator.system.terminal import clock

    now = time.time()
    for run in status.runs:
        words = [f"{run[name]:,} {name}" for name in ("waiting", "running", "building") if run.get(name)]
        said = (
            f"{run['host']}, process {run['pid']}, for {clock(now - run['started'])}: {', '.join(words) or 'starting'}"
        )
        console.print(Text(said), soft_wrap=True)
    if not status.runs:
        console.print("Nothing is running.")
    entries = [entry_of(cell, now) for cell in status.cells]
    if entries:
        console.print(board(entries, ""))
    if status.unattended:
        many = counted(len(status.unattended), "unattended cell")
        console.print(Text(f"{many}, which the next run takes over:"))
    for one in status.unattended[:NAMED]:
        console.print(Text(f"{one.cell}, {one.where}, for {clock(now - one.since)}"), soft_wrap=True)
    done = ", ".join(f"{count:,} {name}" for name, count in sorted(status.done.items()))
    console.print(f"Rows: {done or 'none'}", highlight=False)
    for line in status.refused:
        console.print(Text(f"not counted: {line}"), soft_wrap=True)


def entry_of(cell: Facts, now: float) -> "Entry":
    """A line of the board from what a cell's orchestrator says of it."""
    from orchestrator.run.screen import Entry

    gone, expected = now - cell["started"], cell["expected"]
    return Entry(
        cell=cell["cell"] + (f" #{cell['repeat']}" if cell["repeat"] else ""),
        state=f"{cell['state']} on {cell['host']}",
        gpus=cell["gpus"],
        epoch=cell.get("epoch") or 0,
        epochs=cell.get("epochs") or 0,
        loss=cell.get("loss"),
        gone=gone,
        left=None if expected is None else max(0.0, expected - gone),
    )
