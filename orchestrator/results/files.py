"""Files of results: written whole or not at all, read with distrust, and set aside."""

import errno
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cell import quality
from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Status
from orchestrator.errors import DiskError, ResultError, RosettaError
from orchestrator.results.paths import ResultsFolder, partial_path, superseded_path
from orchestrator.results.rows import Row, identity, incompatible_row
from orchestrator.results.schema import COLUMNS, LATER, SCHEMA_VERSION, VERSION_KEY, schema
from orchestrator.system.regular_files import NotRegularError, read_regular

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST_FILE = 512 * 2**20
"""Bytes that a Parquet file may have, packed and unpacked: results of other machines are not trusted."""

MOST_ROWS = 1_000_000
"""Rows that a file may have: many equal ones take next to no bytes in it."""


def table_of(rows: Sequence[Row], source: object = "A result") -> "pa.Table":
    """Rows as a table of the declared schema; raises ResultError, naming ``source``, for a value that does not fit."""
    import pyarrow as pa

    try:
        return pa.Table.from_pylist([dict(row) for row in rows], schema=schema())
    except (pa.ArrowException, OverflowError) as error:
        raise ResultError(f"{source} does not fit the schema.", f"{error}.") from None


def write_row(row: Row, path: Path) -> None:
    """Write the file of one cell run, whole or not at all."""
    # What pays for many rows only makes a single one larger and slower to read: see benchmarks/README.md.
    write_results(table_of([row]), path, compression="none", use_dictionary=False, write_statistics=False)


def write_results(table: "pa.Table", path: Path, **options: Any) -> None:
    """Write a table of the declared schema, whole or not at all; raises DiskError or ResultError."""
    import pyarrow.parquet as pq

    partial = partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            # The version goes where it costs a few bytes; Arrow's own copy of the schema would double a cell's file.
            with pq.ParquetWriter(file, schema(), store_schema=False, **{"compression": "zstd", **options}) as writer:
                writer.write_table(table)
                writer.add_key_value_metadata({VERSION_KEY: str(SCHEMA_VERSION)})
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        kind: type[RosettaError] = DiskError if full else ResultError
        raise kind(
            f"{path} can't be written: {error.strerror or error}.", remedy="Make room." if full else ""
        ) from None
    finally:
        partial.unlink(missing_ok=True)


AGAIN = "Remove it, or make it again with 'rosetta run' or 'rosetta merge'."


def read_results(path: Path) -> "pa.Table":
    """Read a cell file or a merged file.

    Raises ResultError if there is none, if it is truncated, oversized, not one of ours, or of another schema version.
    """
    import pyarrow as pa

    try:
        table = with_later_columns(load(path)).select(list(COLUMNS)).cast(schema())
    except KeyError as error:
        raise ResultError(f"{path} lacks a column.", f"{error.args[0]}.", AGAIN) from None
    except (pa.ArrowException, ValueError) as error:
        raise ResultError(f"{path} has other types than the schema.", f"{error}.", AGAIN) from None
    if not is_sound(table):
        raise ResultError(
            f"{path} is damaged: it holds text that is no UTF-8, or rows of another version.", remedy=AGAIN
        )
    return table


def with_later_columns(table: "pa.Table") -> "pa.Table":
    """The table with nulls for columns that this version has added and an older file lacks."""
    import pyarrow as pa

    for field in schema():
        if field.name in LATER and field.name not in table.schema.names:
            table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table


def load(path: Path, columns: Sequence[str] | None = None) -> "pa.Table":
    """A file's table as it is, or some columns of it, its values not yet looked at; raises ResultError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        content = read_regular(path, LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise ResultError(f"{path} is larger than {LARGEST_FILE / 2**20:,.0f} MB, which no result is.")
        # The whole file at once and no threads inside: for thousands of small ones that is the fastest way.
        file = pq.ParquetFile(pa.BufferReader(content), pre_buffer=False)
        refuse_foreign(file.metadata, path)
        return file.read(columns=columns and list(columns), use_threads=False)
    except FileNotFoundError:
        raise ResultError(f"There is no {path}.", remedy="Run 'rosetta run', or name a file or folder.") from None
    except NotRegularError as error:
        raise ResultError(f"{path} is not read: {error.strerror}.", remedy="Name the file itself.") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ResultError(f"{path} is truncated or no Parquet file of a result.", f"{error}.", AGAIN) from None


def refuse_foreign(metadata: Any, path: Path) -> None:
    """Raise ResultError for a file that is not ours, of another schema version, or too large once unpacked."""
    version = (metadata.metadata or {}).get(VERSION_KEY.encode())
    if version is None:
        raise ResultError(f"{path} is a Parquet file, but no result.", remedy="Move it out of the results folder.")
    if version != str(SCHEMA_VERSION).encode():
        raise ResultError(
            f"{path} has schema version {version.decode(errors='replace')}; this program knows {SCHEMA_VERSION}.",
            remedy="Use the release of Rosetta Matrix that wrote it.",
        )
    size = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    if metadata.num_rows > MOST_ROWS or size > LARGEST_FILE:
        raise ResultError(
            f"{path} unpacks to {metadata.num_rows:,} rows and {size / 2**20:,.0f} MB: more than is read."
        )


def is_sound(table: "pa.Table") -> bool:
    """Whether all text is UTF-8, nothing null that must not be, and every row of the declared version."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        table.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return all(field.nullable or not table[field.name].null_count for field in schema()) and not (
        table.num_rows and pc.min_max(table["schema"]).as_py() != {"min": SCHEMA_VERSION, "max": SCHEMA_VERSION}
    )


def holds(path: Path, cells: Iterable[Cell]) -> bool:
    """Whether a merged file is there and has a row for each of the cells, so that a merge would add nothing."""
    names = ("cell", "repeat", "data")
    try:
        table = load(path, names)
        there = set(zip(*(table[name].to_pylist() for name in names), strict=True))
    except (ResultError, KeyError, UnicodeDecodeError):
        return False
    return all((cell.id, cell.repeat, cell.data) in there for cell in cells)


def write_incompatible(folder: Path, cells: Sequence[tuple[Cell, str]], engine: str) -> None:
    """Note the cells that can't run, with their reasons, beside what earlier plans have noted."""
    path = ResultsFolder(folder).incompatible
    rows = {identity(r): r for r in (read_results(path).to_pylist() if path.exists() else [])}
    rows |= {identity(r): r for r in (incompatible_row(cell, reason, engine) for cell, reason in cells)}
    if rows:
        write_results(table_of(list(rows.values())), path)


def forget(folder: Path, cells: Iterable[Cell], what: str) -> None:
    """Set the results of cells aside so that they run again: those that did not end ok (``failed``), or ``all``.

    The files are kept under another name, ending in ``.superseded``. Results of another length, repeat or data source
    of the same cells stay.
    """
    wanted = {(cell.id, cell.repeat, cell.data, *quality.asked(cell)) for cell in cells}
    ids = {cell.id for cell in cells}
    for cell, path in ResultsFolder(folder).results():
        if cell not in ids:
            continue
        try:
            (found,) = read_results(path).to_pylist()
            stays = (*identity(found), found["epochs"], found["samples"]) not in wanted
            stays = stays or (what == "failed" and found["status"] == Status.OK)
        except (ResultError, ValueError):
            stays = False  # a damaged file is no result
        if not stays:
            path.rename(superseded_path(path))
