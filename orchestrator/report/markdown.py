"""The tables as Markdown, for documents."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.report.tables import Entry, Note, Table, tables

if TYPE_CHECKING:
    import pyarrow as pa

LINE_BREAK = "\\\n"
"""The other form, two blanks at the end of a line, does not survive editors."""


def document(results: "pa.Table", titles: Mapping[str, str] | None = None) -> str:
    """The tables as Markdown, for documents."""
    every, marks = tables(results, titles)
    return "\n\n".join([*(block for each in every for block in blocks(each)), *notes_as_block(marks)]) + "\n"


def blocks(table: Table) -> Iterator[str]:
    """One table as blocks of Markdown."""
    yield LINE_BREAK.join([f"**{escaped(table.title)}**", *map(escaped, table.machines)])
    if table.rows:
        lines = ["| |" + "".join(f" {escaped(' '.join(heading))} |" for heading in table.columns)]
        lines += ["| --- |" + " ---: |" * len(table.columns)]
        for library, entries in table.rows.items():
            lines.append(f"| {escaped(library)} |" + "".join(f" {field(entry)} |" for entry in entries))
        yield "\n".join(lines)
    yield from notes_as_block(table.notes)


def notes_as_block(notes: Sequence[Note]) -> Iterator[str]:
    """Notes as one block, a line each."""
    if notes:
        yield LINE_BREAK.join(f"{note.mark} {escaped(note.text)}" for note in notes)


def field(entry: Entry) -> str:
    """An entry as Markdown, the fastest of its column in bold."""
    time = f"**{entry.time}**" if entry.fastest else entry.time
    spread = f"<br>{entry.spread}" if entry.spread else ""
    return f"{time}{entry.marks} {entry.quality}{spread}".strip()


def escaped(text: str) -> str:
    """Text that Markdown takes as text."""
    return re.sub(r"([\\`*_|<\[\]])", r"\\\1", text)
