"""Results: the Parquet schema, one file per cell run, and their merge into one table."""

import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator import contract, plan
from orchestrator.compatibility import gpu_of
from orchestrator.contract import Document, Outcome, Status
from orchestrator.errors import ResultError
from orchestrator.images import Image
from orchestrator.matrix import Cell

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]

SCHEMA_VERSION = 1
LARGEST_FILE = 512 * 2**20
"""Bytes that a Parquet file may have: results of other machines are not trusted."""

LOG_TAIL = 2000
"""Characters of the log that are kept in the row; all of it lies beside the file."""

COLUMNS: Mapping[str, str] = {
    # which cell
    "cell": "string", "repeat": "int32", "library": "string", "workload": "string", "platform": "string",
    "gpu": "string", "precision": "string", "variant": "string", "data": "string",
    # how it ended
    "status": "string", "reason": "string",
    # time (seconds; cold, as published) beside quality
    "seconds": "double", "seconds_warm": "double", "metric": "string", "quality": "double",
    # what was really processed
    "epochs": "int32", "samples": "int64", "steps": "int64", "samples_tested": "int64", "shortened": "bool",
    "n_gpus": "int32", "epoch_seconds": "string", "epoch_losses": "string",
    # phases, in seconds; memory in bytes
    "import_seconds": "double", "data_seconds": "double", "build_seconds": "double", "first_step_seconds": "double",
    "train_seconds": "double", "evaluate_seconds": "double", "wall_seconds": "double", "peak_memory": "int64",
    # what ran
    "engine": "string", "image": "string", "image_digest": "string", "recipe": "string", "framework": "string",
    "framework_version": "string", "cuda": "string", "cudnn": "string", "packages": "string", "python": "string",
    "numpy": "string",
    # on what; memory in bytes
    "host": "string", "os": "string", "kernel": "string", "cpu": "string", "cores": "int32", "memory": "int64",
    "gpu_name": "string", "driver": "string",
    # bookkeeping
    "started": "timestamp", "key": "string", "run": "string", "log_tail": "string", "contract": "int32",
    "schema": "int32",
}  # fmt: skip
"""The columns of a row, by name. ``started`` is UTC, ``run`` unique to a run; ``packages``, ``epoch_seconds`` and
``epoch_losses`` are JSON text: two list columns would cost as much time to read as all others together."""

PHASES = ("import", "data", "build", "first_step", "train", "evaluate")
ORDER = ("workload", "library", "platform", "gpu", "precision", "variant", "data", "repeat", "started")


@cache
def schema() -> "pa.Schema":
    """The declared schema; it is never inferred."""
    import pyarrow as pa

    types = {
        "string": pa.string(),
        "int32": pa.int32(),
        "int64": pa.int64(),
        "double": pa.float64(),
        "bool": pa.bool_(),
        "timestamp": pa.timestamp("us", tz="UTC"),
    }
    fields = [pa.field(name, types[kind]) for name, kind in COLUMNS.items()]
    return pa.schema(fields, metadata={"rosetta.schema": str(SCHEMA_VERSION)})


# --- Rows -----------------------------------------------------------------------------------------------------------
def row(cell: Cell, outcome: Outcome, *, key: str, run: str, engine: str, image: Image, host: str) -> dict[str, Any]:
    """The row of an attempt at a cell, judged: a valid document of another run or of bad quality is not ok."""
    document = outcome.document
    status, reason = outcome.status, outcome.reason
    if document is not None:
        wrong = contract.mismatch(cell, document)
        status, reason = (Status.FAILED, f"the result is of another run: {wrong}") if wrong else judge(document)
    return {
        **empty(cell),
        **(of_document(document) if document else {}),
        "cell": cell.id,
        "gpu": cell.gpu,
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


def empty(cell: Cell) -> dict[str, Any]:
    """A row that says which cell it is about, and nothing else."""
    known = {
        "cell": cell.id,
        "contract": contract.CONTRACT,
        "schema": SCHEMA_VERSION,
        **{axis: getattr(cell, axis) for axis in (*plan.matrix.AXES, "epochs", "samples")},
    }
    return {**dict.fromkeys(COLUMNS), **known}


def judge(document: Document) -> tuple[Status, str]:
    """Ok, or outside the band that params.json gives for runs of at least this length; shorter ones are not judged."""
    parameters = plan.parameters().get(document.workload, {})
    band = parameters.get("quality", {}).get(document.data)
    if band is None or document.epochs < band["epochs"]:
        return Status.OK, ""
    if document.samples < band["samples"] - parameters["batch_size"]:
        return Status.OK, ""
    if band["low"] <= document.quality <= band["high"]:
        return Status.OK, ""
    return (
        Status.QUALITY,
        f"{document.metric} {document.quality:.3f} lies outside {band['low']:.2f} to {band['high']:.2f}",
    )


def of_document(document: Document) -> dict[str, Any]:
    """The columns that a document fills."""
    same = set(COLUMNS) & set(Document.model_fields)
    environment, versions = document.environment, document.versions
    gpu = environment.gpus[0] if environment.gpus else None
    return {
        **{name: getattr(document, name) for name in same},
        "epoch_seconds": json.dumps(document.epoch_seconds),
        "epoch_losses": json.dumps(document.epoch_losses),
        **{f"{phase}_seconds": document.phases.get(phase) for phase in PHASES},
        **{name: getattr(environment, name) for name in ("os", "kernel", "python", "numpy", "cpu", "cores", "memory")},
        "framework_version": versions.framework,
        "cuda": versions.cuda,
        "cudnn": versions.cudnn,
        "packages": json.dumps(versions.packages, sort_keys=True),
        "gpu_name": gpu.name if gpu else None,
        "driver": gpu.driver if gpu else None,
        "repeat": document.seed,
    }


def row_by_hand(path: Path) -> dict[str, Any]:
    """The row of a document that a container run by hand has left."""
    with path.open("rb") as file:
        document = contract.parse(file.read(contract.LARGEST_DOCUMENT + 1), str(path))
    gpus = document.environment.gpus
    gpu = gpu_of(gpus[0].name) if gpus and document.n_gpus else "none"
    cell = Cell(document.library, document.workload, document.platform, gpu, document.precision, document.variant)
    status, reason = judge(document)
    return {
        **empty(cell),
        **of_document(document),
        "status": str(status),
        "reason": reason,
        "engine": "by hand",
        "started": datetime.fromtimestamp(path.stat().st_mtime, UTC),
        "run": uuid.uuid5(uuid.NAMESPACE_OID, document.model_dump_json()).hex,
    }


def incompatible_row(cell: Cell, reason: str, engine: str) -> dict[str, Any]:
    """The row of a cell that can't run."""
    return {**empty(cell), "status": str(Status.INCOMPATIBLE), "reason": reason, "engine": engine}


# --- Files ----------------------------------------------------------------------------------------------------------
def table_of(rows: Sequence[Row]) -> "pa.Table":
    """Rows as a table of the declared schema."""
    import pyarrow as pa

    return pa.Table.from_pylist([dict(row) for row in rows], schema=schema())


def write_row(row: Row, path: Path) -> None:
    """Write the file of one cell run, by rename."""
    write(table_of([row]), path, small=True)


def write(table: "pa.Table", path: Path, small: bool = False) -> None:
    """Write a table by rename; ``small`` leaves out what only pays for many rows: compression, dictionaries, statistics."""
    import pyarrow.parquet as pq

    options: dict[str, Any] = (
        {"compression": "none", "use_dictionary": False, "write_statistics": False, "store_schema": False} if small else {"compression": "zstd"}
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with partial.open("wb") as file:
            pq.write_table(table, file, **options)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


def read(path: Path) -> "pa.Table":
    """Read a cell file or a merged file; raises ResultError if it is not one of ours or of another schema version."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    again = "Remove it, or make it again with 'rosetta run' or 'rosetta merge'."
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ResultError(f"{path} is larger than {LARGEST_FILE / 2**20:,.0f} MB, which no result is.")
        # the whole file at once: a read, a parse, no thread hand-over
        file = pq.ParquetFile(pa.BufferReader(path.read_bytes()))
        table = file.read(use_threads=False)
    except FileNotFoundError:
        raise ResultError(f"There is no {path}.", remedy="Run 'rosetta run', or name a file or folder.") from None
    except (pa.ArrowException, OSError) as error:
        raise ResultError(f"{path} is truncated or no Parquet file: {error}", remedy=again) from None
    if table.schema.equals(schema()):
        return table
    version = (table.schema.metadata or {}).get(b"rosetta.schema", b"none").decode(errors="replace")
    if version != str(SCHEMA_VERSION):
        raise ResultError(
            f"{path} has schema version {version}; this program knows version {SCHEMA_VERSION}.",
            remedy="Use the release of Rosetta Matrix that wrote it.",
        )
    raise ResultError(f"{path} does not have the columns of schema version {SCHEMA_VERSION}.", remedy=again)


def write_incompatible(folder: Path, cells: Sequence[tuple[Cell, str]], engine: str) -> None:
    """Note the cells that can't run, with their reasons, beside what earlier plans have noted."""
    path = folder / "incompatible.parquet"
    rows = {identity(r): r for r in (read(path).to_pylist() if path.exists() else [])}
    rows |= {identity(r): r for r in (incompatible_row(cell, reason, engine) for cell, reason in cells)}
    if rows:
        write(table_of(list(rows.values())), path)


def forget(folder: Path, cells: Iterable[Cell], what: str) -> None:
    """Set the results of cells aside so that they run again: those that did not end ok (``failed``), or ``all``.

    The files are kept under another name, ending in ``.superseded``.
    """
    ids = {cell.id for cell in cells}
    for path in (folder / "cells").glob("*/**/*.parquet"):
        cell = path.relative_to(folder / "cells").with_suffix("").as_posix().split("/", 1)[1]
        if cell in ids and (what == "all" or read(path)["status"][0].as_py() != Status.OK):
            path.rename(path.with_suffix(f".{uuid.uuid4().hex[:8]}.superseded"))


# --- Merge ----------------------------------------------------------------------------------------------------------
def merge(paths: Sequence[Path], output: Path) -> int:
    """Merge results into one sorted file and return its number of rows.

    ``paths`` are files or folders: cell files, merged files, JSON documents of containers run by hand. A run that is
    found twice counts once; an incompatible cell gives way to any run of the same cell. Raises ResultError.
    """
    import pyarrow as pa

    files = sorted(set(found(paths, output)))
    documents = [path for path in files if path.suffix == ".json"]
    parquet = [path for path in files if path.suffix == ".parquet"]
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        tables = list(pool.map(batch, chunks(parquet, 256)))
    by_hand = table_of([row_by_hand(path) for path in documents])
    merged = unique(pa.concat_tables([schema().empty_table(), *tables, by_hand]))
    merged = merged.sort_by([(name, "ascending") for name in ORDER])
    write(merged, output)
    return int(merged.num_rows)


def chunks(paths: Sequence[Path], size: int) -> Iterator[Sequence[Path]]:
    """The paths, ``size`` at a time."""
    for start in range(0, len(paths), size):
        yield paths[start : start + size]


def batch(paths: Sequence[Path]) -> "pa.Table":
    """Some files as one table, in one piece: thousands of tiny ones would cost more memory than their content."""
    import pyarrow as pa

    return pa.concat_tables([read(path) for path in paths]).combine_chunks()


def found(paths: Sequence[Path], output: Path) -> Iterator[Path]:
    """The result files below some paths: hidden and partial ones are none, and the output is not its own input."""
    for path in paths:
        if path.is_file():
            yield path
        for folder, folders, names in os.walk(path):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in names:
                file = Path(folder, name)
                if name.endswith((".parquet", ".json")) and not name.startswith(".") and file != output:
                    yield file


def unique(table: "pa.Table") -> "pa.Table":
    """Each run once, and no incompatible row for a cell that was run."""
    import pyarrow.compute as pc

    names = ("cell", "repeat", "data", "run", "status")
    columns = [table[name].to_pylist() for name in names]
    ran = {key[:3] for key in zip(*columns, strict=True) if key[4] != Status.INCOMPATIBLE}
    seen: set[Any] = set()
    keep = []
    for index, key in enumerate(zip(*columns, strict=True)):
        run = key[3] or key[:3]
        if run not in seen and not (key[4] == Status.INCOMPATIBLE and key[:3] in ran):
            keep.append(index)
        seen.add(run)
    return table if len(keep) == table.num_rows else table.take(pc.cast(keep, "int64"))


def identity(row: Row) -> tuple[Any, ...]:
    """What makes two rows be about the same cell."""
    return row["cell"], row["repeat"], row["data"]


