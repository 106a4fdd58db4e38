"""The tables as Markdown, for documents."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import ResultError
from orchestrator.report.fields import Entry
from orchestrator.report.notes import Note
from orchestrator.report.tables import Table, tables
from orchestrator.system.text_files import read_text, write_text

if TYPE_CHECKING:
    import pyarrow as pa

BEGIN, END = "<!-- rosetta table -->", "<!-- end of rosetta table -->"
"""The lines in a document between which the tables stand."""

LINE_BREAK = "\\\n"
"""The other form, two blanks at the end of a line, does not survive editors."""


def document(results: "pa.Table", titles: Mapping[str, str] | None = None) -> str:
    """The tables of some results as Markdown, for documents."""
    return as_markdown(*tables(results, titles))


def as_markdown(every: Sequence[Table], marks: Sequence[Note] = ()) -> str:
    """Some tables as Markdown."""
    return "\n\n".join([*(block for each in every for block in blocks(each)), *notes_as_block(marks)]) + "\n"


def put_into(path: Path, text: str, begin: str = BEGIN, end: str = END) -> bool:
    """Replace what stands between the two marks of a document, and say whether that changed it.

    Raises ResultError for a document that has no such place, DiskError or StorageError for one that can't be written.
    """
    old, new = replaced(path, text, begin, end)
    if new != old:
        write_text(path, new)
    return new != old


def replaced(path: Path, text: str, begin: str = BEGIN, end: str = END) -> tuple[str, str]:
    """A document as it is, and as it is with ``text`` between the two marks.

    Raises ResultError where it can't be read or does not have the marks, each once and on a line of its own.
    """
    old = read_text(path, ResultError)
    lines = old.split("\n")
    if [line for line in lines if line in (begin, end)] != [begin, end]:
        raise ResultError(f"{path} has no place for tables.", remedy=f"Add two lines: {begin} and {end}.")
    first, last = lines.index(begin), lines.index(end)
    return old, "\n".join([*lines[: first + 1], "", text.strip("\n"), "", *lines[last:]])


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
    """Escape text for Markdown."""
    return re.sub(r"([\\`*_|<\[\]])", r"\\\1", text)
