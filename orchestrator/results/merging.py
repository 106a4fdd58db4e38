"""Many files of results → one, of one machine or of several."""

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.contract import Status
from orchestrator.errors import ResultError
from orchestrator.results.files import MERGED, REPORTS, is_sound, load, read, table_of, write
from orchestrator.results.rows import row_by_hand
from orchestrator.results.schema import schema

if TYPE_CHECKING:
    import pyarrow as pa

MANY = 2000
"""Files from which on it pays to read them in several processes, which take half a second to start."""

ORDER = ("workload", "library", "platform", "gpu", "precision", "variant", "data", "repeat")


def merge(paths: Iterable[Path], output: Path) -> int:
    """Merge results into one sorted file and return its number of rows.

    Raises ResultError, which names the file, and then leaves ``output`` as it was.
    """
    merged = gather(paths, output)
    write(merged, output)
    return int(merged.num_rows)


def gather(paths: Iterable[Path], output: Path = Path(MERGED)) -> "pa.Table":
    """Results as one sorted table; raises ResultError, which names the file.

    ``paths`` are files or folders: cell files, merged files, JSON documents of containers run by hand, of this machine
    or others. A run that is found twice counts once; an incompatible cell gives way to any run of the same cell.
    """
    import pyarrow as pa

    files = sorted(set(found(paths, output)), key=os.fspath)
    documents = [path for path in files if path.suffix == ".json"]
    parquet = [path for path in files if path.suffix != ".json"]
    tables = list(read_side_by_side(parquet))
    tables += [schema().empty_table(), *(table_of([row_by_hand(path)], path) for path in documents)]
    newest_first = [*((name, "ascending") for name in ORDER), ("started", "descending"), ("run", "ascending")]
    return unique(pa.concat_tables(tables).sort_by(newest_first))


def found(paths: Iterable[Path], output: Path) -> Iterator[Path]:
    """The result files in some paths. In folders, hidden files, reports, merged ones and ``output`` are none."""

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
            folders[:] = [name for name in folders if not name.startswith(".") and name != REPORTS]
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
