"""Files of results: written whole or not at all, never trusted when read, and set aside."""

import errno
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from orchestrator.cell import quality
from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Status
from orchestrator.errors import DiskError, ResultError, RosettaError
from orchestrator.results import decoding
from orchestrator.results.paths import ResultsFolder, log_path, partial_path, superseded_path
from orchestrator.results.rows import Row, identity, incompatible_row
from orchestrator.results.schema import SCHEMA_VERSION, VERSION_KEY, schema
from orchestrator.system.regular_files import write_beside
from orchestrator.system.text_files import disk_errors

if TYPE_CHECKING:
    import pyarrow as pa


def preload() -> None:
    """Import what rows are written with, which takes half a second: better while a cell starts than after it."""
    import_module("pandas")  # which pyarrow imports with its first values


def table_of(rows: Sequence[Row], source: object = "A result") -> "pa.Table":
    """Rows as a table of the declared schema; raises ResultError, naming ``source``, for a value that does not fit."""
    import pyarrow as pa

    try:
        return pa.Table.from_pylist([dict(row) for row in rows], schema=schema())
    except (pa.ArrowException, OverflowError) as error:
        raise ResultError(f"{source} does not fit the schema.", f"{error}.") from None


def read_results(path: Path) -> "pa.Table":
    """Read a cell file or a merged file.

    Raises ResultError if there is none, if it is truncated, oversized, not one of ours, of another schema version, or
    has a row that can't be.
    """
    try:
        path.lstat()
    except FileNotFoundError:
        raise decoding.missing(path) from None
    except (OSError, ValueError):  # the decoder says why
        pass
    found = decoding.read([path])
    for refusal in found.refused:
        raise refusal.error
    return found.table


def write_row(row: Row, path: Path) -> None:
    """Write the file of one cell run, whole or not at all."""
    # Options that pay for many rows only make a single one larger and slower to read: see benchmarks/README.md.
    write_results(table_of([row]), path, compression="none", use_dictionary=False, write_statistics=False)


def write_log(log: str, path: Path) -> None:
    """Write what a cell printed beside its row at ``path``; raises DiskError or StorageError."""
    with disk_errors(log_path(path)):
        write_beside(log_path(path), log.encode(errors="replace"))


def write_results(table: "pa.Table", path: Path, **options: Any) -> None:
    """Write a table of the declared schema, whole or not at all; raises DiskError or ResultError."""
    partial = partial_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            write_parquet(table, file, **options)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        kind: type[RosettaError] = DiskError if full else ResultError
        raise kind(
            f"{path} can't be written: {error.strerror or error}.", remedy="Free some space." if full else ""
        ) from None
    finally:
        with suppress(OSError):
            partial.unlink()


def write_parquet(table: "pa.Table", file: IO[bytes], **options: Any) -> None:
    """Write a table of the declared schema into an open file."""
    import pyarrow.parquet as pq

    # The version goes where it costs a few bytes; Arrow's own copy of the schema would double a cell's file.
    with pq.ParquetWriter(file, schema(), store_schema=False, **{"compression": "zstd", **options}) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({VERSION_KEY: str(SCHEMA_VERSION)})


def holds(path: Path, cells: Iterable[Cell]) -> bool:
    """Whether a merged file is there and has a row for each of the cells, so that a merge would add nothing."""
    names = ("cell", "repeat", "data")
    found = decoding.read([path], names)
    if found.refused:
        return False
    try:
        there = set(zip(*(found.table[name].to_pylist() for name in names), strict=True))
    except (KeyError, UnicodeDecodeError):
        return False
    return all((cell.id, cell.repeat, cell.data) in there for cell in cells)


def write_incompatible(folder: Path, cells: Sequence[tuple[Cell, str]], engine: str) -> None:
    """Add the cells that can't run, with their reasons, to those of earlier plans."""
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
