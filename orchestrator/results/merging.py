"""Many files of results → one, of one machine or of several."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.cell.contract import LARGEST_DOCUMENT, Status
from orchestrator.errors import ResultError
from orchestrator.results import checking, decoding
from orchestrator.results.decoding import Found, Refusal
from orchestrator.results.files import table_of, write_results
from orchestrator.results.paths import LEFT_ALONE, MERGED, ResultsFolder, listed
from orchestrator.results.rows import row_by_hand
from orchestrator.results.schema import schema
from orchestrator.system.regular_files import read_regular
from orchestrator.system.terminal import Say, silent

if TYPE_CHECKING:
    import pyarrow as pa

NAMED = 20
"""Most refusals that are reported one by one."""

FIGURES = (
    *("seconds", "seconds_warm", "quality", "epochs", "samples", "steps", "parity", "epoch_seconds", "epoch_losses"),
    *("shortened", "start", "pretrained", "framework_version", "threads", "cpu", "cores", "gpu_name"),
    *("load_before", "load_after", "cpu_used", "gpus_before", "gpus_during", "gpus_after", "gpu_others", "checks"),
)
"""What two rows of one run must have in common: the figures, and all that decides a column or a mark.

The image's name may differ, since publishing renames it, and a proof may have come later.
"""

ORDER = ("workload", "library", "platform", "gpu", "precision", "variant", "data", "repeat")


@dataclass(frozen=True)
class Gathered:
    """The rows of some files, sorted, and what was not taken; ``lost`` of that was, or claims to be, a result."""

    table: "pa.Table"
    refused: Sequence[Refusal] = ()

    @property
    def lost(self) -> list[Refusal]:
        """The refusals by which rows were lost."""
        return [refusal for refusal in self.refused if not refusal.is_note]

    def tell(self, say: Say) -> "pa.Table":
        """Say what was not taken, a line each, and return the rest; raises ResultError where there is no rest."""
        if self.lost and not self.table.num_rows:
            raise self.lost[0].error
        for refusal in self.refused[:NAMED]:
            left = "left alone: " if refusal.foreign else ""
            say(f"note: {left}{' '.join(filter(None, (refusal.error.what, refusal.error.why)))}")
        if len(self.refused) > NAMED:
            say(f"note: and {len(self.refused) - NAMED:,} more")
        return self.table


def merge(paths: Iterable[Path], output: Path, say: Say = silent) -> Gathered:
    """Merge results into one sorted file, and say what was refused; the rest is in the file all the same.

    Raises ResultError where there is nothing else, and then leaves ``output`` as it was.
    """
    gathered = collect(paths, output)
    write_results(gathered.tell(say), output)
    return gathered


def gather(paths: Iterable[Path], say: Say = silent) -> "pa.Table":
    """Return results as one sorted table; ``say`` is told what is refused. Raises ResultError if that is all."""
    return collect(paths).tell(say)


def collect(paths: Iterable[Path], output: Path = Path(MERGED)) -> Gathered:
    """Results as one sorted table, and what was refused; raises ResultError for a path that is not there, or no result.

    ``paths`` are files or folders: cell files, merged files, JSON documents of containers run by hand, of this machine
    or others. A run that is found twice counts once, and not at all where both say something else; an incompatible
    cell gives way to any run of the same cell.
    """
    paths = list(paths)
    found = read_files(result_files(paths, output))
    table, conflicts = as_one_table([found.table])
    gathered = Gathered(table, [*found.refused, *conflicts])
    refuse_nothing(gathered, paths)
    return gathered


def refuse_nothing(gathered: Gathered, paths: Sequence[Path]) -> None:
    """Raise ResultError where files were named, and none of them is a result: in a folder they would be left alone."""
    foreign = [refusal.error for refusal in gathered.refused if refusal.foreign]
    if foreign and not gathered.table.num_rows and all(path.is_file() for path in paths):
        raise ResultError(foreign[0].what, foreign[0].why, "Name a results file or folder.")


class Folder:
    """A results folder that is read repeatedly: as ``merge`` reads it, but each file only once."""

    def __init__(self, path: Path, say: Say = silent) -> None:
        self.path, self.say = path, say
        self._seen: dict[Path, int] = {}
        self._rows, _ = as_one_table([])
        self.refused: Sequence[Refusal] = ()

    def read(self) -> "pa.Table":
        """The rows that are there now; the same object as before if no file has changed.

        If nothing but a merged file is left of a folder, it returns its rows. Raises ResultError.
        """
        merged = ResultsFolder(self.path).merged
        files = list(result_files([self.path], merged)) or [path for path in [merged] if path.exists()]
        there = {path: path.stat().st_mtime_ns for path in files}
        if there != self._seen:
            kept = self._seen.items() <= there.items()
            found = read_files(path for path in there if not kept or path not in self._seen)
            rows, conflicts = as_one_table([self._rows, found.table] if kept else [found.table])
            self._seen = there
            news = [*found.refused, *conflicts]
            self.refused = [*self.refused, *news] if kept else news
            self._rows = Gathered(rows, news).tell(self.say)
        return self._rows


def as_one_table(tables: "Iterable[pa.Table]") -> "tuple[pa.Table, list[Refusal]]":
    """Some tables as one: sorted, the newest run of a cell first, without duplicates; and runs that contradict."""
    import pyarrow as pa

    newest_first = [*((name, "ascending") for name in ORDER), ("started", "descending"), ("run", "ascending")]
    return unique(pa.concat_tables([schema().empty_table(), *tables]).sort_by(newest_first))


def read_files(files: Iterable[Path]) -> Found:
    """The rows of result files and of documents, and what was refused."""
    files = sorted(set(files), key=os.fspath)
    parquet = decoding.read([path for path in files if path.suffix != ".json"])
    rows, refused = [], list(parquet.refused)
    for path in (path for path in files if path.suffix == ".json"):
        try:
            row = row_by_hand(path)
            if said := checking.wrong(row):
                raise ResultError(f"{path} is refused: {said}.")
            rows.append(row)
        except ResultError as error:
            refused.append(Refusal(path, error, foreign=is_foreign(path)))
    tables = [parquet.table, *([table_of(rows)] if rows else [])]
    return decoding.together([Found(table) for table in tables[:-1]] + [Found(tables[-1], refused=refused)])


def is_foreign(path: Path) -> bool:
    """Whether a JSON file is somebody's notes, and no document: whole, but without the contract's version."""
    try:
        content = json.loads(read_regular(path, LARGEST_DOCUMENT))
    except (OSError, ValueError, RecursionError):
        return False
    return not (isinstance(content, dict) and "contract" in content)


def result_files(paths: Iterable[Path], output: Path) -> Iterator[Path]:
    """Yield the result files in some paths; in folders, skip hidden, left alone and merged files, and ``output``."""
    for path in paths:
        if path.is_file():
            yield path.resolve()  # a link that the user names is followed
        elif not path.is_dir():
            raise ResultError(
                f"There is no {path}.", remedy="Name a results folder, a Parquet file or a JSON document."
            )
        for folder, folders, names in listed(path) if path.is_dir() else ():
            folders[:] = [name for name in folders if not name.startswith(".") and name not in LEFT_ALONE]
            for name in names:
                if not name.endswith((".parquet", ".json")) or name.startswith(".") or name == MERGED:
                    continue
                if name != output.name or folder.resolve() != output.parent.resolve():
                    yield folder / name


def unique(table: "pa.Table") -> "tuple[pa.Table, list[Refusal]]":
    """Each run once, its first row, and no incompatible row for a cell that was run.

    Runs of one id that were measured differently contradict each other: none of them counts.
    """
    import pyarrow as pa

    keys = list(zip(*(table[name].to_pylist() for name in ("run", "cell", "repeat", "data", "status")), strict=True))
    ran = {key[1:4] for key in keys if key[4] != Status.INCOMPATIBLE}
    said: dict[str, Any] = {}
    contradicted: set[str] = set()
    if len({key[0] for key in keys}) < len(keys):  # else the figures need not be looked at
        figures = zip(*(table[name].to_pylist() for name in FIGURES), strict=True)
        for (run, *cell, status), measured in zip(keys, figures, strict=True):
            same = said.setdefault(run, (cell, status, measured)) == (cell, status, measured)
            if not same and status != Status.INCOMPATIBLE:
                contradicted.add(run)
    seen: set[str] = set()
    keep = []
    for run, *cell, status in keys:
        given_way = status == Status.INCOMPATIBLE and tuple(cell) in ran
        keep.append(run not in seen and run not in contradicted and not given_way)
        seen.add(run)
    return table.filter(pa.array(keep, pa.bool_())), [contradiction(run, said[run][0]) for run in sorted(contradicted)]


def contradiction(run: str, cell: Sequence[Any]) -> Refusal:
    """Return the refusal of a run for which two files have different figures."""
    what = f"Run {run[:40]} of {cell[0]} is there twice with different figures: neither counts."
    return Refusal(Path(MERGED), ResultError(what, remedy="Remove the wrong one."))
