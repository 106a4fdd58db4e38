"""Grids and notes → the published tables' form: library × GPU and CUDA, time beside quality, every doubt marked.

``screen.py``, ``markdown.py`` and ``site/`` print it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.cell.workloads import heading, workloads
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
)

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Table:
    """One workload: title, machines, column headings (in lines), the entries of each library, notes."""

    workload: str
    title: str
    machines: Sequence[str]
    columns: Sequence[tuple[str, ...]]
    rows: Mapping[str, Sequence[Entry]]
    notes: Sequence[Note]


def tables(
    results: "pa.Table", titles: Mapping[str, str] | None = None, published: bool = False, costs: Costs | None = None
) -> tuple[list[Table], list[Note]]:
    """The tables of some results, one per workload, in the order in which they were published; and their marks' legend.

    ``titles`` says how to call each library; by default as images/ says, else as published. With ``published`` it is
    all four tables of 2018, and the figures of then have columns of their own beside runs of the published length.
    With ``costs`` it says beside times what the runs cost.
    """
    titles = library_titles() if titles is None else titles
    every = [table(rows, measured(rows, costs)) for rows in by_workload(results, titles, published)]
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


def table(rows: WorkloadRows, grid: Grid) -> Table:
    """A grid with its title, its machines and its notes."""
    machines = [
        f"{letter}: {describe(machine)}".removeprefix(": ") for machine, letter in rows.machines.items() if machine
    ]
    return Table(rows.workload, heading(rows.workload), machines, grid.headings, grid.lines, list(below(rows, grid)))


def describe(machine: Machine) -> str:
    """A machine for a person."""
    cpu, cores = machine or ("unknown machine", 0)
    return re.sub(r"\((R|TM)\)", "", cpu) + (f", {cores} core{'s' if cores != 1 else ''}" if cores else "")
