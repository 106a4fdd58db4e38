"""The tables on a screen."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.cell.contract import Status
from orchestrator.report.fields import BAD, Entry
from orchestrator.report.notes import Note
from orchestrator.report.tables import Table, tables

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console, RenderableType
    from rich.table import Table as Grid


NARROWEST = 8
"""Characters that the libraries' names keep where they have to fold, or a third of a console that is narrower still."""


def show(results: "pa.Table", console: "Console", titles: Mapping[str, str] | None = None) -> None:
    """Print the tables of some results for a person."""
    print_tables(*tables(results, titles), console)


def print_tables(every: Sequence[Table], marks: Sequence[Note], console: "Console") -> None:
    """Print some tables; one too wide for the console goes on below with its next columns."""
    if not every:
        console.print("no results yet: start with 'rosetta run'", highlight=False)
    for each in every:
        for part in rendered(each, console):
            console.print(part)
    if marks:
        console.print("", notes_below(marks), sep="\n")


def rendered(table: Table, console: "Console") -> "Iterator[RenderableType]":
    """The parts of a table, from top to bottom; nothing is cut.

    Where a single column is too wide, names of libraries fold, and where that is not enough, its fields too.
    """
    from rich.text import Text

    yield Text(f"\n{table.title}", style="bold")
    yield from (Text(machine, style="dim") for machine in table.machines)
    unlimited = console.options.update(max_width=10_000)
    start = 0
    while start < len(table.columns):
        end = len(table.columns)
        while (over := console.measure(grid(table, start, end), options=unlimited).maximum - console.width) > 0:
            if end == start + 1:
                break
            end -= 1
        yield grid(table, start, end, over, min(NARROWEST, console.width // 3)) if over > 0 else grid(table, start, end)
        start = end
    if table.notes:
        yield notes_below(table.notes)


def notes_below(notes: Sequence[Note]) -> "Grid":
    """Notes, their text indented behind their marks."""
    from rich.table import Table as Grid
    from rich.text import Text

    made = Grid.grid(padding=(0, 1))
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")  # else a word that is longer than the line would be cut
    for note in notes:
        made.add_row(note.mark, Text(note.text), style="red" if note.mark == BAD else "dim")
    return made


def grid(table: Table, start: int, end: int, over: int = 0, narrowest: int = 0) -> "Grid":
    """The columns from ``start`` to ``end`` of a table, by ``over`` characters narrower than they are.

    That is taken from the names of libraries, as long as they keep ``narrowest``, and else from the fields.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table as Grid
    from rich.text import Text

    made = Grid(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=True)
    longest = max(map(cell_len, table.rows), default=0)
    width = max(longest - over, min(longest, narrowest), 1) if over else None
    made.add_column("", no_wrap=not over, overflow="fold", width=width)
    whole = width is None or longest - width >= over
    for heading in table.columns[start:end]:
        made.add_column(Text("\n".join(heading)), justify="right", no_wrap=whole, overflow="fold", vertical="top")
    widths = [aligned([entries[index] for entries in table.rows.values()]) for index in range(start, end)]
    for library, entries in table.rows.items():
        made.add_row(Text(library), *map(field_of, entries[start:end], widths))
    return made


def aligned(entries: Sequence[Entry]) -> tuple[int, int, int]:
    """The widest time, marks and quality of a column."""
    timed = [entry for entry in entries if entry.seconds is not None]
    return tuple(max((len(getattr(e, part)) for e in timed), default=0) for part in ("time", "marks", "quality"))  # type: ignore[return-value]


def field_of(entry: Entry, widths: tuple[int, int, int]) -> Any:
    """An entry as rich text: times below times, shares below shares."""
    from rich.text import Text

    if entry.seconds is None:
        return Text(entry.time + entry.marks, style="red" if entry.status == Status.FAILED else "dim")
    time, marks, quality = widths
    text = Text(f"{entry.time:>{time}}", style="bold green" if entry.fastest else "")
    text = Text.assemble(text, f"{entry.marks:<{marks}}  {entry.quality:>{quality}}")
    return text.append(f"\n{entry.spread}", style="dim") if entry.spread else text
