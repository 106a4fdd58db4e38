"""Grids and notes → the published tables' form: library × GPU and CUDA, time beside quality, every doubt marked.

``screen.py``, ``markdown.py`` and ``site/`` print it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from orchestrator.cell.contract import Status
from orchestrator.cell.workloads import heading, workloads
from orchestrator.compare.history import FIRST_DAY
from orchestrator.compare.published_2018 import Edition
from orchestrator.report.fields import Entry
from orchestrator.report.grids import Costs, Grid, as_published, measured
from orchestrator.report.notes import Note, below, legend
from orchestrator.report.rows import (
    Machine,
    WorkloadRows,
    by_workload,
    library_titles,
    of_edition,
    published_column,
    records,
    shown,
)

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Table:
    """One workload: title, machines, column headings (in lines), the entries of each library, notes.

    ``names`` are the columns by what stays as it is when another machine joins, unlike the letters of the headings.
    """

    workload: str
    title: str
    machines: Sequence[str]
    columns: Sequence[tuple[str, ...]]
    rows: Mapping[str, Sequence[Entry]]
    notes: Sequence[Note]
    names: Sequence[tuple[str, ...]] = ()


Places = Mapping[Machine, int]
"""Machines by the order of their first runs; the first is 1."""

FIRST_SECOND = datetime.fromisoformat(f"{FIRST_DAY}T00:00+00:00").timestamp() * 1e6
"""What began before it, in microseconds since 1970, began nobody knows when."""


def tables(
    results: "pa.Table", titles: Mapping[str, str] | None = None, published: bool = False, costs: Costs | None = None
) -> tuple[list[Table], list[Note]]:
    """The tables of some results, one per workload, in the order in which they were published; and their marks' legend.

    ``titles`` says how to call each library; by default as images/ says, else as published. With ``published`` it is
    all four tables of 2018, and the figures of then have columns of their own beside runs of the published length.
    With ``costs`` it says beside times what the runs cost.
    """
    titles = library_titles() if titles is None else titles
    places = places_of(results)
    every = [
        table(rows, measured(rows, costs), places.get(rows.workload, {}))
        for rows in by_workload(results, titles, published)
    ]
    return every, list(legend(field for each in every for fields in each.rows.values() for field in fields))


def published_tables(edition: Edition, titles: Mapping[str, str] | None = None) -> list[Table]:
    """The four tables of a README of 2018, as they stood there: same rows, same columns, their doubts marked."""
    titles = library_titles() if titles is None else titles
    return [published_table(workload, edition, titles) for workload in workloads()]


def published_table(workload: str, edition: Edition, titles: Mapping[str, str]) -> Table:
    """Return one of the four tables."""
    rows = of_edition(workload, edition, titles)
    columns = [published_column(rows.figures.values(), column) for column in edition.columns[workload]]
    return table(rows, as_published(rows, [titles[library] for library in edition.rows[workload]], columns))


def table(rows: WorkloadRows, grid: Grid, places: Places | None = None) -> Table:
    """A grid with its title, its machines, its notes, and the names of its columns."""
    machines = [
        f"{letter}: {describe(machine)}".removeprefix(": ") for machine, letter in rows.machines.items() if machine
    ]
    names = names_of(rows, grid, places) if places else []
    notes = list(below(rows, grid))
    return Table(rows.workload, heading(rows.workload), machines, grid.headings, grid.lines, notes, names)


def places_of(results: "pa.Table") -> Mapping[str, Places]:
    """The places of the machines of each workload. All rows count: a cell that is run again moves no machine."""
    wanted = ("workload", "cpu", "cores", "parity", "status", "started")
    began: dict[str, dict[Machine, float]] = {}
    for row in map(shown, records(results, wanted)):
        if row["cpu"] and row["parity"] is None and row["status"] != Status.INCOMPATIBLE:
            machines = began.setdefault(row["workload"], {})
            machine = row["cpu"], row["cores"]
            at = row["started"] if (row["started"] or 0) >= FIRST_SECOND else float("inf")
            machines[machine] = min(at, machines.get(machine, at))
    ordered = {
        workload: sorted(machines, key=lambda machine: (machines[machine], str(machine)))
        for workload, machines in began.items()
    }
    return {
        workload: {machine: place for place, machine in enumerate(machines, 1)}
        for workload, machines in ordered.items()
    }


def names_of(rows: WorkloadRows, grid: Grid, places: Places) -> list[tuple[str, ...]]:
    """Each column's heading with "machine 2" for the letter of the second machine, and nothing for that of the first.

    Runs whose machine is not known count as those of one more machine.
    """
    numbers = {letter: places.get(machine, len(places) + 1) for machine, letter in rows.machines.items()}
    named = {}
    for column in grid.columns:
        number = numbers.get(column.machine, 1)
        same = replace(column, machine=f"machine {number}" if number > 1 else "").heading()
        named[column.heading()] = same
    found = []
    for lines in grid.headings:  # a column of costs or gains adds lines to the heading that it belongs to
        own = max((each for each in named if lines[: len(each)] == each), key=len, default=())
        found.append((*named.get(own, ()), *lines[len(own) :]))
    return found


def describe(machine: Machine) -> str:
    """A machine for a person."""
    cpu, cores = machine or ("unknown machine", 0)
    return re.sub(r"\((R|TM)\)", "", cpu) + (f", {cores} core{'s' if cores != 1 else ''}" if cores else "")
