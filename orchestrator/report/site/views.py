"""A workload's table as one table per machine: what ran on different machines is no comparison."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.report.fields import Entry
from orchestrator.report.rows import Machine
from orchestrator.report.tables import Table, describe


@dataclass(frozen=True)
class View:
    """The part of a table for one machine: its columns, and the libraries that have anything in them.

    ``machine`` is in words, empty where nobody knows; ``alone`` says that there is no other.
    """

    workload: str
    title: str
    machine: str
    alone: bool
    columns: Sequence[tuple[str, ...]]
    rows: Mapping[str, Sequence[Entry]]

    @property
    def measured(self) -> int:
        """The number of its fields with a time that was measured there."""
        return sum(bool(entry.runs) for entries in self.rows.values() for entry in entries)


def views(table: Table, letters: Mapping[Machine, str]) -> list[View]:
    """A view of each machine, the one with the most times first; the figures of 2018 stand beside that one.

    ``letters`` are those by which the headings of ``table`` name its machines.
    """
    if len(letters) < 2:
        return [View(table.workload, table.title, " ".join(table.machines), True, table.columns, table.rows)]
    of_column = [next((part for part in heading if part in letters.values()), "") for heading in table.columns]
    names = {letter: describe(machine) for machine, letter in letters.items()}
    found = sorted((part(table, of_column, letter, names[letter]) for letter in names), key=lambda v: -v.measured)
    first = found[0].machine
    letter = next(letter for letter, name in names.items() if name == first)
    return [part(table, of_column, letter, first, with_2018=True), *found[1:]]


def part(table: Table, of_column: Sequence[str], letter: str, machine: str, with_2018: bool = False) -> View:
    """Return the columns of one machine, without its letter; ``with_2018`` adds those that belong to no machine."""
    places = [place for place, name in enumerate(of_column) if name == letter or (with_2018 and not name)]
    columns = [tuple(word for word in table.columns[place] if word != letter) for place in places]
    lines = {title: [entries[place] for place in places] for title, entries in table.rows.items()}
    kept = {title: entries for title, entries in lines.items() if any(entry.time for entry in entries)}
    return View(table.workload, table.title, machine, False, columns, kept)
