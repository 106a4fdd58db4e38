"""The layout of a results folder: the one module that knows what lies where in it and how it is called.

cells/<key>/pytorch/rnn/cpu.parquet     the result of a cell, beside it its log; <key> is the cell's content hash
incompatible.parquet                    the cells of the last plans that can't run
merged.parquet                          everything merged
parity/                                 the same again, of comparisons with the reference
own/nightly/                            the same again, of an installation that is not ours, by the name its user gave
compare/<key>/a/, …/b/                  the same again, of the two sides of a comparison by interleaved rounds
profiles/pytorch/rnn/cpu.profile.json    where a step of a cell goes, beside it its trace; no result
reports/                                what is made to be read
.claims/                                who runs what now
.jobs/<key>/<attempt>/                  what jobs of a cluster's scheduler leave until their orchestrator has read it
"""

import errno
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import ResultError
from orchestrator.system.terminal import quoted

CELLS, PARITY, OWN, REPORTS, CLAIMS, COMPARE = "cells", "parity", "own", "reports", ".claims", "compare"
JOBS, PROFILES = ".jobs", "profiles"
LEFT_ALONE = (REPORTS, COMPARE, PROFILES)
"""Folders in which a merge looks for no results; it also ignores everything hidden."""

INCOMPATIBLE, MERGED = "incompatible.parquet", "merged.parquet"
LOG, PASSING, SUPERSEDED, PARTIAL = ".log", ".passing.parquet", ".superseded", ".partial"
"""Suffixes of files that lie beside a result, or become one."""

PROFILE, TRACE = ".profile.json", ".trace.json.gz"
"""Suffixes of the two files of a profile."""


@dataclass(frozen=True)
class ResultsFolder:
    """A results folder by its path; nothing of it need be there."""

    path: Path

    @property
    def merged(self) -> Path:
        """Everything merged."""
        return self.path / MERGED

    @property
    def incompatible(self) -> Path:
        """The cells of the last plans that can't run."""
        return self.path / INCOMPATIBLE

    @property
    def cells(self) -> Path:
        """The folder with a folder for each key."""
        return self.path / CELLS

    @property
    def claims(self) -> Path:
        """The folder in which orchestrators say what they run."""
        return self.path / CLAIMS

    @property
    def jobs(self) -> Path:
        """The folder in which jobs of a cluster's scheduler leave what their orchestrator fetches."""
        return self.path / JOBS

    @property
    def parity(self) -> "ResultsFolder":
        """The folder within this one for comparisons with the reference."""
        return ResultsFolder(self.path / PARITY)

    @property
    def reports(self) -> Path:
        """The folder of reports for people."""
        return self.path / REPORTS

    def profile(self, cell: str) -> Path:
        """Return the path of the profile of a cell, named by its id."""
        return self.path / PROFILES / f"{cell}{PROFILE}"

    def own(self, name: str) -> "ResultsFolder":
        """The folder within this one of an installation that is not ours, by the name that its user gave."""
        return ResultsFolder(self.path / OWN / name)

    def comparison(self, key: str) -> Path:
        """The folder within this one of a comparison: its rows are of two sides that may have the same cell."""
        return self.path / COMPARE / key

    def result(self, key: str, cell: str) -> Path:
        """The result of a cell, named by its id, once it is there."""
        return self.cells / key / f"{cell}.parquet"

    def results(self) -> Iterator[tuple[str, Path]]:
        """The results that are there, each with the id of its cell, in a fixed order."""
        for path in sorted(self.cells.glob("*/**/*.parquet")):
            yield path.relative_to(self.cells).with_suffix("").as_posix().partition("/")[2], path


def listed(folder: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yield what ``os.walk`` yields for a folder, top down; raises ResultError for one in it that can't be read."""

    def refuse(error: OSError) -> None:
        raise ResultError(
            f"{error.filename} can't be read: {error.strerror}.",
            f"This process runs as user {os.getuid()}." if error.errno in (errno.EACCES, errno.EPERM) else "",
            f"Let others read it ({quoted('chmod', '-R', 'o+rX', folder)}), or run as its owner; with docker compose: "
            "ROSETTA_USER=$(id -u) docker compose up."
            if error.errno in (errno.EACCES, errno.EPERM)
            else "",
        )

    for place, folders, names in os.walk(folder, onerror=refuse):
        yield Path(place), folders, names


def trace_path(profile: Path) -> Path:
    """The trace that belongs to a profile."""
    return profile.with_name(profile.name.removesuffix(PROFILE) + TRACE)


def log_path(result: Path) -> Path:
    """The log of the cell that has, or would have, this result."""
    return result.with_suffix(LOG)


def passing_path(result: Path) -> Path:
    """Return the path beside a result for a row that is none: the cell stays ready, as the fault was not its own."""
    return result.with_suffix(PASSING)


def superseded_path(result: Path) -> Path:
    """A free name under which a result is kept that no longer counts."""
    return result.with_suffix(f".{uuid.uuid4().hex[:8]}{SUPERSEDED}")


def partial_path(path: Path) -> Path:
    """A free name, hidden from merges, for a file that is still being written."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{PARTIAL}")


def partials_of(result: Path) -> Iterator[Path]:
    """Yield the unfinished files of a result and of what lies beside it."""
    return result.parent.glob(f".{result.stem}.*{PARTIAL}")


def incompatible_as(digest: str) -> str:
    """Return the name for sharing a list of cells that can't run, by the SHA-256 of its content."""
    return f"{Path(INCOMPATIBLE).stem}-{digest[:12]}.parquet"
