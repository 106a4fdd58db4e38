"""The matrix as a picture: library × platform and card, a field coloured by how it ended and by its ratio to the best.

It is a table, so that it can be read aloud, printed, and followed by the keyboard; colours come from the style sheet,
and no colour stands without a number or a mark.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.cell.contract import Status
from orchestrator.cell.workloads import workloads
from orchestrator.compare.noise import ENOUGH
from orchestrator.report.fields import ABSENT, BAD, Entry
from orchestrator.report.grids import Grid, ranked_among
from orchestrator.report.notes import GLOSSARY, reason_of
from orchestrator.report.rows import FORM, WorkloadRows, form_in
from orchestrator.report.tables import describe
from orchestrator.results.rows import Row

STEPS = ((1.1, "best"), (1.5, "near"), (2.5, "middle"), (5.0, "far"))
"""The largest ratio to the fastest of its column for each colour of a field; beyond the last it is ``FARTHEST``."""

FARTHEST = "farthest"
ALONE, FEW, DOUBTFUL, FAILED, IMPOSSIBLE = "alone", "few", "doubtful", "failed", "impossible"

KEY: Sequence[tuple[str, str, str]] = (
    ("best", "1.0", "the fastest, or up to 1.1 × its time"),
    ("near", "1.3", "up to 1.5 ×"),
    ("middle", "2.0", "up to 2.5 ×"),
    ("far", "4.0", "up to 5 ×"),
    (FARTHEST, "12", "more"),
    (ALONE, "✓", "ran, with nothing to compare it with"),
    (FEW, "1.3", f"fewer than {ENOUGH} rounds: too few to rank"),
    (DOUBTFUL, "†", "ran, not ranked"),
    (FAILED, BAD, "failed"),
    (IMPOSSIBLE, ABSENT, "can't run there"),
)
"""What each kind of field looks like and means."""


@dataclass(frozen=True)
class Field:
    """A field: what it shows, how (a kind of ``KEY``), what is said of it, and the page that it leads to."""

    kind: str
    shown: str
    said: Sequence[str]
    page: str


@dataclass(frozen=True)
class Picture:
    """The picture of a workload; a field that nobody asked for is None. ``machines`` explain letters in headings."""

    workload: str
    title: str
    machines: Sequence[str]
    columns: Sequence[tuple[str, ...]]
    rows: Mapping[tuple[str, str], Sequence[Field | None]]


def picture(rows: WorkloadRows, grid: Grid, by_run: Mapping[str, Row], page: Callable[[Row], str]) -> Picture | None:
    """The picture of a workload, with the columns in which nothing can run, too; None where there is nothing at all.

    ``page`` returns the link to more about a row.
    """
    shown = {column.anywhere for column in grid.columns}
    columns = sorted({*grid.columns, *(answer.column for answer in rows.absent if answer.column not in shown)})
    if not columns:
        return None
    absent = {(answer.title, answer.column): answer.row for answer in rows.absent}
    ran = {answer.title for answer in rows.ran}
    titles = sorted({*ran, *(title for title, _ in absent)}, key=lambda title: (form_in(title), title.casefold()))
    place = {column: index for index, column in enumerate(grid.columns)}
    best = fastest(grid)
    lines: dict[tuple[str, str], list[Field | None]] = {}
    for title in titles:
        line: list[Field | None] = []
        for column in columns:
            entry = grid.lines[title][place[column]] if title in grid.lines and column in place else Entry()
            reason = absent.get((title, column.anywhere))
            where = f"{title} on {column.name()}"
            if entry.runs:
                line.append(field(where, entry, best.get((column, *ranked_among(title, entry)), []), by_run, page))
            else:
                line.append(impossible(where, by_run[reason["run"]], page) if reason else None)
        name, _, form = title.partition(FORM)
        lines[name, form] = line
    known = workloads().get(rows.workload)
    machines = [f"{letter}: {describe(machine)}" for machine, letter in rows.machines.items() if letter]
    title = known.title if known else rows.workload
    return Picture(rows.workload, title, machines, [column.heading() for column in columns], lines)


def fastest(grid: Grid) -> dict[tuple[Any, ...], list[float]]:
    """The ranked times of each column and contest in seconds, the fastest first; where there are none, all times."""
    found: dict[tuple[Any, ...], dict[bool, list[float]]] = {}
    for title, entries in grid.lines.items():
        for column, entry in zip(grid.columns, entries, strict=False):  # further columns are of 2018, or derived
            if entry.rounds and entry.seconds is not None:
                times = found.setdefault((column, *ranked_among(title, entry)), {True: [], False: []})
                times[len(entry.rounds) >= ENOUGH].append(entry.seconds)
    return {key: sorted(times[True] or times[False]) for key, times in found.items()}


def field(
    where: str, entry: Entry, times: Sequence[float], by_run: Mapping[str, Row], page: Callable[[Row], str]
) -> Field:
    """The field of a cell that was run; ``times`` are those of its column and contest."""
    row = by_run[entry.runs[-1]]
    target = page(row)
    if entry.status != Status.OK or entry.seconds is None:
        return Field(FAILED, BAD, [f"{where}: {entry.time}", reason_of(row)], target)
    said = [f"{where}: {entry.time} {entry.quality}", ", ".join(filter(None, (version(row), entry.spread)))]
    if not entry.rounds:
        return Field(DOUBTFUL, entry.marks, [*said, *meanings(entry.marks)], target)
    if times == [entry.seconds]:
        return Field(ALONE, "✓", [*said, "nothing to compare it with", *meanings(entry.marks)], target)
    ratio = entry.seconds / times[0]
    kind = next((name for most, name in STEPS if ratio <= most), FARTHEST)
    shown = f"{ratio:.1f}" if ratio < 9.95 else f"{ratio:,.0f}"
    compared = f"{shown} × the fastest time of its column"
    if len(entry.rounds) < ENOUGH:
        kind, compared = FEW, f"{shown} × the least time of its column, n={len(entry.rounds)}: too few to rank"
    return Field(kind, shown, [*said, compared, *meanings(entry.marks)], target)


def impossible(where: str, row: Row, page: Callable[[Row], str]) -> Field:
    """The field of a cell that can't run."""
    return Field(IMPOSSIBLE, ABSENT, [f"{where}: can't run", reason_of(row)], page(row))


def version(row: Row) -> str:
    """The version of the library that ran; empty where nobody knows."""
    return f"version {row['framework_version']}" if row["framework_version"] else ""


def meanings(marks: str) -> Iterator[str]:
    """Yield what each mark means."""
    return (f"{mark} {GLOSSARY[mark]}" for mark in marks if mark in GLOSSARY)
