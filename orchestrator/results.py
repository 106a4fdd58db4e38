"""Results: the declared Parquet schema, one file per cell run, and the merge of many into one table."""

import errno
import json
import multiprocessing
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import contract, quality
from orchestrator.compatibility import gpu_of
from orchestrator.contract import Document, Outcome, Status
from orchestrator.errors import DiskError, ResultError, RosettaError
from orchestrator.images import Image
from orchestrator.matrix import AXES, Cell

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]

SCHEMA_VERSION = 1
VERSION_KEY = "rosetta.schema"
"""The version's name in a file's metadata; it also stands in the column ``schema``."""

MERGED = "merged.parquet"
LARGEST_FILE = 512 * 2**20
"""Bytes that a Parquet file may have, packed and unpacked: results of other machines are not trusted."""

MOST_ROWS = 1_000_000
"""Rows that a file may have: many equal ones take next to no bytes in it."""

MANY = 2000
"""Files from which on it pays to read them in several processes, which take half a second to start."""

LOG_TAIL = 2000
"""Characters of the log that are kept in the row; all of it lies beside the file."""

COLUMNS: Mapping[str, str] = {
    # which cell; parity, a JSON object of errors, where the cell was not measured but compared with the reference
    "cell": "text", "repeat": "whole", "library": "text", "workload": "text", "platform": "text", "gpu": "text",
    "precision": "text", "variant": "text", "data": "text", "parity": "text?",
    # how it ended
    "status": "text", "reason": "text",
    # time (cold, as published, and warm) beside quality
    "seconds": "real?", "seconds_warm": "real?", "metric": "text?", "quality": "real?",
    # how much was processed; of epochs and samples, what was asked where there is no document
    "epochs": "whole?", "samples": "whole?", "steps": "whole?", "samples_tested": "whole?", "shortened": "truth",
    "n_gpus": "whole?", "epoch_seconds": "reals?", "epoch_losses": "reals?",
    # phases; peak_memory in bytes
    "import_seconds": "real?", "data_seconds": "real?", "build_seconds": "real?", "first_step_seconds": "real?",
    "train_seconds": "real?", "warm_up_seconds": "real?", "predict_seconds": "real?", "evaluate_seconds": "real?",
    "wall_seconds": "real?", "peak_memory": "whole?",
    # what ran, in the versions that it reports itself; packages is a JSON object
    "engine": "text", "image": "text", "image_digest": "text", "recipe": "text", "framework": "text",
    "framework_version": "text?", "cuda": "text?", "cudnn": "text?", "packages": "text?", "python": "text?",
    "numpy": "text?",
    # on what; memory in bytes
    "host": "text", "os": "text?", "kernel": "text?", "cpu": "text?", "cores": "whole?", "memory": "whole?",
    "gpu_name": "text?", "driver": "text?",
    # bookkeeping
    "started": "time?", "key": "text", "run": "text", "log_tail": "text", "contract": "whole", "schema": "whole",
}  # fmt: skip
"""The columns of a row and their types; ``?`` may be null. All ``…seconds`` in seconds, ``started`` in UTC, ``run`` is
unique to a run. An ``incompatible`` row has nulls for all that only a run can tell."""

LATER = ("parity", "warm_up_seconds", "predict_seconds")
"""Columns that came without a new version of the schema: files without them are read as well."""

PHASES = ("import", "data", "build", "first_step", "train", "warm_up", "predict", "evaluate")
ORDER = ("workload", "library", "platform", "gpu", "precision", "variant", "data", "repeat")


@cache
def schema() -> "pa.Schema":
    """The declared schema; it is never inferred."""
    import pyarrow as pa

    types = {
        "text": pa.string(),
        "whole": pa.int64(),
        "real": pa.float64(),
        "reals": pa.list_(pa.float64()),
        "truth": pa.bool_(),
        "time": pa.timestamp("us", tz="UTC"),
    }
    fields = [pa.field(name, types[kind.rstrip("?")], nullable=kind[-1] == "?") for name, kind in COLUMNS.items()]
    return pa.schema(fields, metadata={VERSION_KEY: str(SCHEMA_VERSION)})


# --- Rows -----------------------------------------------------------------------------------------------------------
def row(cell: Cell, outcome: Outcome, *, key: str, run: str, engine: str, image: Image, host: str) -> dict[str, Any]:
    """The row of an attempt at a cell, judged: a document of another run or of bad quality is not ok.

    ``key`` is the cell's content hash, ``run`` unique to the attempt, ``host`` the machine's name.
    """
    document, status, reason = outcome.document, outcome.status, outcome.reason
    if status is Status.OK and document is None:
        status, reason = Status.FAILED, "left no result"
    if status is Status.OK and document is not None:
        wrong = quality.mismatch(cell, document)
        status, reason = (Status.FAILED, f"the result is of another run: {wrong}") if wrong else quality.judge(document)
        document = None if wrong else document
    return {
        **empty(cell),
        **(of_document(document) if document else {}),
        "status": str(status),
        "reason": reason,
        "wall_seconds": outcome.wall_seconds,
        "engine": engine,
        "image": image.tag,
        "image_digest": outcome.image_digest,
        "recipe": image.recipe,
        "framework": image.framework.framework,
        "host": host,
        "started": outcome.started,
        "key": key,
        "run": run,
        "log_tail": outcome.log[-LOG_TAIL:],
    }


def incompatible_row(cell: Cell, reason: str, engine: str) -> dict[str, Any]:
    """The row of a cell that can't run; all machines give it the same ``run``, so a merge keeps one."""
    run = uuid.uuid5(uuid.NAMESPACE_OID, f"{cell.id} {cell.repeat} {cell.data}").hex
    return {**empty(cell), "status": str(Status.INCOMPATIBLE), "reason": reason, "engine": engine, "run": run}


def row_by_hand(path: Path) -> dict[str, Any]:
    """The row of a document that a container run by hand has left; raises ResultError."""
    try:
        with path.open("rb") as file:
            raw = file.read(contract.LARGEST_DOCUMENT + 1)
            written = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
    except OSError as error:
        raise ResultError(f"{path} can't be read: {error.strerror}.") from None
    document = contract.parse(raw, str(path))
    status, reason = quality.judge(document)
    return {
        **empty(cell_of(document)),
        **of_document(document),
        "status": str(status),
        "reason": reason,
        "engine": "by hand",
        "started": written,  # its end, in truth: a document has no clock
        "run": uuid.uuid5(uuid.NAMESPACE_OID, document.model_dump_json()).hex,
    }


def cell_of(document: Document) -> Cell:
    """The cell that a document answers; its GPU by the name that the driver gives it."""
    gpus = document.environment.gpus if document.n_gpus else []
    axes = {axis: getattr(document, axis) for axis in AXES if axis in Document.model_fields}
    return Cell(**axes, gpu=gpu_of(gpus[0].name) if gpus else "none", repeat=document.seed)


def empty(cell: Cell) -> dict[str, Any]:
    """A row that says which cell it is about and how long it was to run, and nothing else."""
    length = quality.asked(cell)
    return {
        **{name: None if kind[-1] == "?" else "" for name, kind in COLUMNS.items()},
        **{axis: getattr(cell, axis) for axis in AXES},
        "cell": cell.id,
        "parity": "{}" if cell.parity else None,
        **dict(zip(("epochs", "samples"), length, strict=True)),
        "shortened": quality.is_shorter(cell.workload, length),
        "contract": contract.CONTRACT,
        "schema": SCHEMA_VERSION,
    }


def of_document(document: Document) -> dict[str, Any]:
    """The columns that a document fills, the axes aside."""
    environment, versions = document.environment, document.versions
    gpu = environment.gpus[0] if environment.gpus and document.n_gpus else None
    same = [name for name in COLUMNS if name in Document.model_fields and name not in AXES]
    return {
        **{name: getattr(document, name) for name in same},
        "parity": json.dumps(document.parity, sort_keys=True) if document.parity is not None else None,
        "shortened": document.shortened or quality.is_shorter(document.workload, (document.epochs, document.samples)),
        **{f"{phase}_seconds": document.phases.get(phase) for phase in PHASES},
        **{name: getattr(environment, name) for name in ("os", "kernel", "python", "numpy", "cpu", "cores", "memory")},
        "framework_version": versions.framework,
        "cuda": versions.cuda,
        "cudnn": versions.cudnn,
        "packages": json.dumps(versions.packages, sort_keys=True),
        "gpu_name": gpu.name if gpu else None,
        "driver": gpu.driver if gpu else None,
    }


def identity(row: Row) -> tuple[Any, ...]:
    """What makes two rows be about the same cell."""
    return row["cell"], row["repeat"], row["data"]


# --- Files ----------------------------------------------------------------------------------------------------------
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
    write(table_of([row]), path, compression="none", use_dictionary=False, write_statistics=False)


def write(table: "pa.Table", path: Path, **options: Any) -> None:
    """Write a table of the declared schema, whole or not at all; raises DiskError or ResultError."""
    import pyarrow.parquet as pq

    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
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


def read(path: Path) -> "pa.Table":
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
        if path.stat().st_size > LARGEST_FILE:
            raise ResultError(f"{path} is larger than {LARGEST_FILE / 2**20:,.0f} MB, which no result is.")
        # The whole file at once and no threads inside: for thousands of small ones that is the fastest way.
        file = pq.ParquetFile(pa.BufferReader(path.read_bytes()), pre_buffer=False)
        refuse_foreign(file.metadata, path)
        return file.read(columns=columns and list(columns), use_threads=False)
    except FileNotFoundError:
        raise ResultError(f"There is no {path}.", remedy="Run 'rosetta run', or name a file or folder.") from None
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
    path = folder / "incompatible.parquet"
    rows = {identity(r): r for r in (read(path).to_pylist() if path.exists() else [])}
    rows |= {identity(r): r for r in (incompatible_row(cell, reason, engine) for cell, reason in cells)}
    if rows:
        write(table_of(list(rows.values())), path)


def forget(folder: Path, cells: Iterable[Cell], what: str) -> None:
    """Set the results of cells aside so that they run again: those that did not end ok (``failed``), or ``all``.

    The files are kept under another name, ending in ``.superseded``. Results of another length, repeat or data source
    of the same cells stay.
    """
    wanted = {(cell.id, cell.repeat, cell.data, *quality.asked(cell)) for cell in cells}
    ids = {cell.id for cell in cells}
    for path in sorted((folder / "cells").glob("*/**/*.parquet")):
        if path.relative_to(folder / "cells").with_suffix("").as_posix().partition("/")[2] not in ids:
            continue
        try:
            (found,) = read(path).to_pylist()
            stays = (*identity(found), found["epochs"], found["samples"]) not in wanted
            stays = stays or (what == "failed" and found["status"] == Status.OK)
        except (ResultError, ValueError):
            stays = False  # a damaged file is no result
        if not stays:
            path.rename(path.with_suffix(f".{uuid.uuid4().hex[:8]}.superseded"))


# --- Merge ----------------------------------------------------------------------------------------------------------
def merge(paths: Iterable[Path], output: Path) -> int:
    """Merge results into one sorted file and return its number of rows.

    ``paths`` are files or folders: cell files, merged files, JSON documents of containers run by hand, of this machine
    or others. A run that is found twice counts once; an incompatible cell gives way to any run of the same cell.
    Raises ResultError, which names the file, and then leaves ``output`` as it was.
    """
    import pyarrow as pa

    files = sorted(set(found(paths, output)), key=os.fspath)
    documents = [path for path in files if path.suffix == ".json"]
    parquet = [path for path in files if path.suffix != ".json"]
    tables = list(read_side_by_side(parquet))
    tables += [schema().empty_table(), *(table_of([row_by_hand(path)], path) for path in documents)]
    newest_first = [*((name, "ascending") for name in ORDER), ("started", "descending"), ("run", "ascending")]
    merged = unique(pa.concat_tables(tables).sort_by(newest_first))
    write(merged, output)
    return int(merged.num_rows)


def found(paths: Iterable[Path], output: Path) -> Iterator[Path]:
    """The result files in some paths. In folders, hidden and partial files, merged ones and ``output`` are none."""

    def unreadable(error: OSError) -> None:
        raise ResultError(f"{error.filename} can't be read: {error.strerror}.")

    for path in paths:
        if path.is_file():
            yield path
        elif not path.is_dir():
            raise ResultError(
                f"There is no {path}.", remedy="Name a results folder, a Parquet file or a JSON document."
            )
        for folder, folders, names in os.walk(path, onerror=unreadable) if path.is_dir() else ():
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                if not name.endswith((".parquet", ".json")) or name.startswith(".") or name == MERGED:
                    continue
                if name != output.name or Path(folder).resolve() != output.parent.resolve():
                    yield Path(folder, name)


def read_side_by_side(paths: Sequence[Path]) -> "Iterator[pa.Table]":
    """The tables of many files; of thousands by a process per core, since threads would wait for each other."""
    chunks = in_chunks(paths, 256)
    if len(paths) < MANY:
        yield from map(read_together, chunks)
        return
    with ProcessPoolExecutor(min(os.cpu_count() or 1, 8), mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(read_together, chunks)


def in_chunks(paths: Sequence[Path], size: int) -> Iterator[Sequence[Path]]:
    """The paths, ``size`` at a time."""
    return (paths[start : start + size] for start in range(0, len(paths), size))


def read_together(paths: Sequence[Path]) -> "pa.Table":
    """Some files as one table, in one piece: thousands of tiny ones would cost more memory than their content."""
    import pyarrow as pa

    tables = [load(path) for path in paths]
    with suppress(pa.ArrowInvalid):  # they don't all have the same columns
        table = pa.concat_tables(tables)
        # looked at all together, since looking at each would take as long as reading it
        if table.schema.equals(schema()) and is_sound(table := table.combine_chunks()):
            return table
    # something is wrong with one of them: one by one, so that the error names it
    return pa.concat_tables([read(path) for path in paths])


def unique(table: "pa.Table") -> "pa.Table":
    """Each run once, its first row, and no incompatible row for a cell that was run."""
    import pyarrow as pa

    names = ("cell", "repeat", "data", "status", "run")
    keys = list(zip(*(table[name].to_pylist() for name in names), strict=True))
    ran = {key[:3] for key in keys if key[3] != Status.INCOMPATIBLE}
    seen: set[str] = set()
    keep = []
    for *cell, status, run in keys:
        keep.append(run not in seen and (status != Status.INCOMPATIBLE or tuple(cell) not in ran))
        seen.add(run)
    return table.filter(pa.array(keep, pa.bool_()))
