"""Many files of results → one, of one machine or of several."""

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cell.contract import Status
from orchestrator.errors import ResultError
from orchestrator.results.files import is_sound, load, read_results, table_of, write_results
from orchestrator.results.paths import MERGED, REPORTS, ResultsFolder
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
    write_results(merged, output)
    return int(merged.num_rows)


def gather(paths: Iterable[Path], output: Path = Path(MERGED)) -> "pa.Table":
    """Results as one sorted table; raises ResultError, which names the file.

    ``paths`` are files or folders: cell files, merged files, JSON documents of containers run by hand, of this machine
    or others. A run that is found twice counts once; an incompatible cell gives way to any run of the same cell.
    """
    return as_one_table(read_files(result_files(paths, output)))


class Folder:
    """A results folder that is looked at again and again: read as ``merge`` does, but each file only once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: dict[Path, int] = {}
        self._rows = as_one_table([])

    def read(self) -> "pa.Table":
        """The rows that are there now; the same object as before if no file has changed.

        Where nothing but a merged file is left of a folder, its rows. Raises ResultError.
        """
        merged = ResultsFolder(self.path).merged
        files = list(result_files([self.path], merged)) or [path for path in [merged] if path.exists()]
        there = {path: path.stat().st_mtime_ns for path in files}
        if there != self._seen:
            kept = self._seen.items() <= there.items()
            new = read_files(path for path in there if not kept or path not in self._seen)
            self._rows, self._seen = as_one_table([self._rows, *new] if kept else new), there
        return self._rows


def as_one_table(tables: "Iterable[pa.Table]") -> "pa.Table":
    """Some tables as one: sorted, the newest run of a cell first, and without duplicates."""
    import pyarrow as pa

    newest_first = [*((name, "ascending") for name in ORDER), ("started", "descending"), ("run", "ascending")]
    return unique(pa.concat_tables([schema().empty_table(), *tables]).sort_by(newest_first))


def read_files(files: Iterable[Path]) -> "list[pa.Table]":
    """The tables of result files and of documents; raises ResultError, which names the file."""
    files = sorted(set(files), key=os.fspath)
    documents = [path for path in files if path.suffix == ".json"]
    parquet = [path for path in files if path.suffix != ".json"]
    return [*read_side_by_side(parquet), *(table_of([row_by_hand(path)], path) for path in documents)]


def result_files(paths: Iterable[Path], output: Path) -> Iterator[Path]:
    """The result files in some paths. In folders, hidden files, reports, merged ones and ``output`` are none."""

    def unreadable(error: OSError) -> None:
        raise ResultError(f"{error.filename} can't be read: {error.strerror}.")

    for path in paths:
        if path.is_file():
            yield path.resolve()  # a link that somebody names is meant
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
    return pa.concat_tables([read_results(path) for path in paths])


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
