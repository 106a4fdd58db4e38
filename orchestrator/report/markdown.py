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
    lead = f"two lines, '{begin}' and '{end}'"
    old = read_text(path, ResultError, f"Name a document with {lead}; the tables go between them.")
    exact = old.split("\n")
    lines = [line.removesuffix("\r") for line in exact]
    if why := misplaced(lines, begin, end):
        raise ResultError(f"{path} has no place for tables.", why, f"It needs {lead}, in this order and each once.")
    first, last = lines.index(begin), lines.index(end)
    cr = exact[first].removeprefix(begin)  # a document of Windows keeps its ends of lines
    made = [line + cr for line in ("", *text.strip("\n").split("\n"), "")]
    return old, "\n".join([*exact[: first + 1], *made, *exact[last:]])


def misplaced(lines: Sequence[str], begin: str, end: str) -> str:
    """Say what is wrong with the two marks in a document; empty if they are there, once each and in order."""
    counts = {mark: lines.count(mark) for mark in (begin, end)}
    for mark, count in counts.items():
        if not any(counts.values()):
            return "Neither of the two lines is in it."
        if not count:
            within = any(mark in line for line in lines)
            return f"It lacks {'a line of nothing but' if within else 'the line'} '{mark}'."
        if count > 1:
            return f"It has the line '{mark}' {count} times."
    return "" if lines.index(begin) < lines.index(end) else f"Its line '{end}' comes first."


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
    return f"{time}{entry.marks} {entry.quality}".strip() + spread


def escaped(text: str) -> str:
    """Escape text for Markdown, as one line: a line break would begin a heading, a list or a row of its own."""
    return re.sub(r"([\\`*_|<\[\]])", r"\\\1", " ".join(text.splitlines()))
