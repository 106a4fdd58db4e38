"""Parquet files → rows, in a process of its own that can't take more memory than it may: see decoding.py.

What decoding makes of a file is bounded, whatever the file says of itself; each row is held against the one model. A
file that is refused costs nothing but itself, and of a file with several rows only those that are wrong.
"""

import json
import re
import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from orchestrator.errors import ResultError
from orchestrator.results import checking
from orchestrator.results.decoding import HEAD, LARGEST_FILE, missing
from orchestrator.results.schema import COLUMNS, LATER, SCHEMA_VERSION, VERSION_KEY, schema
from orchestrator.system.regular_files import NotRegularError, read_regular
from orchestrator.system.words import counted

MOST_ROWS = 1_000_000
"""Rows that a file may have: many equal ones take next to no bytes in it."""

MEMORY = 1536 * 2**20
"""Bytes of memory that this process may take beyond those it starts with."""

ROW = 4 * 2**20
"""Bytes that a row may have in memory."""

AHEAD = timedelta(minutes=10)
"""How far the clock of another machine may be ahead of ours."""

MAGIC = b"PAR1"
"""How every Parquet file begins, and ends."""

NO_PARQUET = "not a parquet file"
"""What Arrow says of a file without its end, as if it could also be none at all."""

UPGRADE = "Upgrade this program to read it."
AGAIN = "Remove it, or make it again with 'rosetta run' or 'rosetta merge'."
REQUIRED = ("cell", "run", "status", "schema")
"""Columns that identify a file of ours whose metadata another program has left out."""

Refusal = dict[str, Any]
"""A refused file or row, for people: ``path``, ``what``, ``why``, ``remedy``; ``foreign`` if it never was a result."""


def load(path: Path, columns: Sequence[str] | None = None) -> "pa.Table":
    """Read a file's table, or some columns of it, without checking its values; raises ResultError."""
    try:
        content = content_of(path)
        # The whole file at once and no threads inside: for thousands of small ones that is the fastest way.
        file = pq.ParquetFile(pa.BufferReader(content), pre_buffer=False)
        refuse_foreign(file, path)
        table = file.read(columns=columns and list(columns), use_threads=False)
    except MemoryError:
        raise ResultError(f"{path} takes more memory than a result may.") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        why = "" if NO_PARQUET in str(error) else f"{error}."
        raise ResultError(f"{path} is truncated or damaged.", why, AGAIN) from None
    size = table.get_total_buffer_size()
    if size > min(LARGEST_FILE, ROW * (table.num_rows + 1)):
        raise ResultError(
            f"{path} has {size / 2**20:,.0f} MB in {counted(table.num_rows, 'row')}, too much for a result."
        )
    return table


def content_of(path: Path) -> bytes:
    """Return the bytes of a file that may be a result; raises ResultError."""
    try:
        content = read_regular(path, LARGEST_FILE + 1)
    except FileNotFoundError:
        raise missing(path) from None
    except NotRegularError as error:
        raise ResultError(f"{path} can't be read: {error.strerror}.", remedy="Name the file itself.") from None
    except OSError as error:
        raise ResultError(f"{path} can't be read: {error.strerror}.", remedy="Correct its name or mode.") from None
    if len(content) > LARGEST_FILE:
        raise ResultError(f"{path} is larger than {LARGEST_FILE / 2**20:,.0f} MB, the most for a result.")
    if content and not content.startswith(MAGIC):
        raise ResultError(f"{path} is not a Parquet file.", remedy="Name a results file or folder.")
    return content


def newer(what: object, version: object) -> str:
    """Say that another version of the program wrote a file or a row."""
    known = f"schema version {version}, this one knows {SCHEMA_VERSION}"
    return f"{what} was written by a newer version of Rosetta Matrix: it has {known}."


class ForeignError(ResultError):
    """A Parquet file that never was a result."""


def refuse_foreign(file: Any, path: Path) -> None:
    """Raise ResultError for a file that is not ours, of another schema version, or too large once unpacked.

    One without our metadata, as other programs write it, is ours if it has our columns.
    """
    metadata = file.metadata
    version = (metadata.metadata or {}).get(VERSION_KEY.encode())
    names = set(file.schema_arrow.names)
    if version is None and not names.issuperset(REQUIRED):
        raise ForeignError(f"{path} is a Parquet file, but not a result.", remedy="Move it out of the results folder.")
    if version not in (None, str(SCHEMA_VERSION).encode()):
        raise ResultError(
            newer(path, version.decode(errors="replace")[:20]),
            remedy=UPGRADE,
        )
    size = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    if metadata.num_rows > MOST_ROWS or size > LARGEST_FILE:
        raise ResultError(
            f"{path} unpacks to {metadata.num_rows:,} rows and {size / 2**20:,.0f} MB: more than a result may."
        )


def as_declared(table: "pa.Table", path: Path) -> "pa.Table":
    """A table with the columns of the schema and their types, nulls anywhere; raises ResultError."""
    if table.schema.equals(schema()):  # as we write it: a cast would take as long as reading it
        return pa.Table.from_arrays(table.columns, schema=loose())
    for field in schema():
        if field.name in LATER and field.name not in table.schema.names:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    try:
        return table.select(list(COLUMNS)).cast(loose())
    except KeyError as error:
        raise ResultError(f"{path} lacks a column.", f"{error.args[0]}.", AGAIN) from None
    except (pa.ArrowException, ValueError, MemoryError) as error:
        raise damaged(path, error) from None


def damaged(path: Path, error: Exception) -> ResultError:
    """Return the error for a file whose columns are not what they should be."""
    what = f"{path} is damaged: its types differ from the schema, or its text is not UTF-8."
    return ResultError(what, f"{error}.", AGAIN)


@cache
def loose() -> "pa.Schema":
    """Return the schema with every column nullable; nulls are checked row by row."""
    return pa.schema([field.with_nullable(True) for field in schema()])


def examined(table: "pa.Table") -> "tuple[pa.Table, dict[int, str], int]":
    """Return the valid rows, what is wrong with the others by their places, and how many begin in the future.

    The start of the latter becomes null: a clock was wrong, or somebody wants to be the newest for ever.
    """
    wrong = dict(unfit(table))
    for at, row in enumerate(table.select(list(checking.CHECKED)).to_pylist()):
        if at not in wrong and (said := checking.wrong(row)) is not None:
            wrong[at] = said
    if wrong:
        table = table.filter(pa.array([at not in wrong for at in range(table.num_rows)], pa.bool_()))
    future = pc.greater(table["started"], pa.scalar(datetime.now(UTC) + AHEAD, table["started"].type))
    count = pc.sum(future).as_py() or 0
    if count:
        place = table.schema.get_field_index("started")
        nothing = pa.scalar(None, table["started"].type)
        table = table.set_column(place, table.schema.field(place), pc.if_else(future, nothing, table["started"]))
    return table.cast(schema()), wrong, count


def unfit(table: "pa.Table") -> Iterator[tuple[int, str]]:
    """Yield the rows with a text that is too long or has too many lines, or a null where there must be a value."""
    for name, kind in COLUMNS.items():
        column = table[name]
        if kind.rstrip("?") == "text":
            longest = pc.max(pc.binary_length(column)).as_py() or 0
            if longest > checking.LONGEST_TEXT:
                too_long = pc.greater(pc.binary_length(column), checking.LONGEST_TEXT)
                yield from where(too_long, f"{name}: more than {checking.LONGEST_TEXT:,} characters")
            if name not in checking.SEVERAL_LINES:
                yield from where(pc.match_substring_regex(column, r"[\r\n]"), f"{name}: more than one line")
        if kind[-1] != "?" and column.null_count:
            yield from where(pc.is_null(column), f"{name}: missing")


def where(these: "pa.ChunkedArray", said: str) -> Iterator[tuple[int, str]]:
    """Yield the places of rows, and what is said of each."""
    return ((at, said) for at in pc.indices_nonzero(these).to_pylist())


def read(paths: Sequence[Path], columns: Sequence[str] | None) -> "tuple[pa.Table, list[int], list[Refusal]]":
    """The rows of some files, how many each has, and what was refused; with ``columns`` no row is checked."""
    tables, refused = [], []
    for path in paths:
        try:
            table = load(path, columns)
            tables.append(table if columns else as_declared(table, path))
        except ResultError as error:
            refused.append(refusal(path, error))
            tables.append(loose().empty_table() if columns is None else None)
    if columns is not None:
        return pa.concat_tables([each for each in tables if each is not None] or [pa.table({})]), [], refused
    together = pa.concat_tables(tables).combine_chunks()
    with suppress(pa.ArrowInvalid):  # all together, since looking at each would take as long as reading it
        together.validate(full=True)
        good, wrong, future = examined(together)
        if not wrong and not future:
            return good, [table.num_rows for table in tables], refused
    parts = [one_by_one(path, table, refused) for path, table in zip(paths, tables, strict=True)]
    return pa.concat_tables(parts), [part.num_rows for part in parts], refused


def one_by_one(path: Path, table: "pa.Table", refused: list[Refusal]) -> "pa.Table":
    """Return the valid rows of one file; what is wrong with the others goes to ``refused``."""
    try:
        table.validate(full=True)
    except (pa.ArrowException, ValueError, MemoryError) as error:
        refused.append(refusal(path, damaged(path, error)))
        return schema().empty_table()
    names = table["cell"].to_pylist()
    good, wrong, future = examined(table)
    versions = table["schema"].to_pylist()
    for at, said in list(wrong.items())[:MOST_NAMED]:
        where = f"{path}, row {at + 1} ({str(names[at])[:100]})" if len(names) > 1 else str(path)
        known = (versions[at] or 0) <= SCHEMA_VERSION
        texts = (f"{where} is refused: {said}.", "", AGAIN) if known else (newer(where, versions[at]), "", UPGRADE)
        refused.append(refusal(path, ResultError(*texts)))
    if len(wrong) > MOST_NAMED:
        refused.append(refusal(path, ResultError(f"{path}: {counted(len(wrong) - MOST_NAMED, 'more row')} refused.")))
    if future:
        start, they = ("starts", "it") if future == 1 else ("start", "they")
        note = ResultError(
            f"{path} has {counted(future, 'row')} that {start} in the future: it is unknown when {they} ran.",
            "Check that machine's clock.",
        )
        refused.append(refusal(path, note) | {"kept": True})
    return good


MOST_NAMED = 20
"""Most rows of a file that are named one by one."""


def refusal(path: Path, error: ResultError) -> Refusal:
    """Convert an error to the form in which it goes to the other process."""
    why = re.sub(r"\s+", " ", error.why)[:500]
    foreign = isinstance(error, ForeignError)
    return {"path": str(path), "what": error.what, "why": why, "remedy": error.remedy, "foreign": foreign}


def main() -> None:
    """Answer questions, a line of JSON each, until there are no more."""
    taken = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    checking.model()
    examined(loose().empty_table())  # what Arrow loads only when it is needed: 0.3 s, better before the first question
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        table, counts, refused = read([Path(path) for path in asked["paths"]], asked["columns"])
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        body = sink.getvalue()
        head = json.dumps({"counts": counts, "refused": refused}).encode()
        for part in (HEAD.pack(len(head), body.size), head, body):
            sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
