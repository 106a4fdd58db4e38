"""Who runs what in a results folder: a lock for each cell that runs, and beside it a file that says how far it is.

Several orchestrators, on one host or on several with a common folder, so share the cells of a matrix. What a process
holds is free as soon as it is dead: there is nothing to clean up before others go on.
"""

import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, ValidationError

from orchestrator.results.paths import PARTIAL, ResultsFolder
from orchestrator.system import file_locks
from orchestrator.system.regular_files import read_regular, write_beside

RUN = "run-"
"""Prefix of orchestrators' claims; all others are the keys of cells."""

EVERYTHING = "folder"
"""The lock of whoever reads and writes files about the whole folder."""

SELDOM = 1.0
"""Least seconds between two updates of a claim, unless one is important."""


LARGEST = 64 * 2**10
"""Most bytes of a claim's facts."""

Moment = Annotated[float, Field(ge=0, le=1e11, allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=0, le=10**9)]
Word = Annotated[str, StringConstraints(max_length=500)]


class Told(BaseModel):
    """The facts of a claim; another orchestrator, of another version or machine, may have written them."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    started: Moment
    pid: int = 0
    host: Word = ""


class OfRun(Told):
    """How many cells an orchestrator has, waits for, and runs; and how many images it builds."""

    cells: Whole = 0
    waiting: Whole = 0
    running: Whole = 0
    building: Whole = 0


class OfCell(Told):
    """A cell that runs: where, how far, and the seconds it is likely to take."""

    state: Word = "running"
    cell: Word
    repeat: Whole = 0
    data: Word = ""
    gpus: Annotated[list[Word], Field(max_length=64)] = []
    expected: Moment | None = None
    epoch: Whole = 0
    epochs: Whole = 0
    loss: FiniteFloat | None = None


class Claim:
    """One lock that is held, and what is told of it to others."""

    def __init__(self, lock: file_locks.Lock, path: Path) -> None:
        self._lock, self._path = lock, path
        self._facts: dict[str, Any] = {"started": time.time(), "pid": os.getpid()}
        self._told = 0.0

    @property
    def name(self) -> str:
        """What is claimed."""
        return self._path.stem

    def update_now_and_then(self, **facts: Any) -> None:
        """Like ``update``, but at most every ``SELDOM`` seconds; other facts wait for the next update."""
        self._facts |= facts
        if time.monotonic() - self._told >= SELDOM:
            self.update()

    def update(self, **facts: Any) -> None:
        """Note facts for 'rosetta status'."""
        self._facts |= facts
        self._told = time.monotonic()
        partial = self._path.with_suffix(PARTIAL)
        with suppress(OSError):  # a full disk ends a run elsewhere; this is only a note
            write_beside(self._path, json.dumps(self._facts).encode(), partial)

    def release(self) -> None:
        """Release the claim and remove its files."""
        for path in (self._path, self._path.with_suffix(PARTIAL), Path(self._lock.lock_file)):
            path.unlink(missing_ok=True)
        self._lock.release()


class Claims:
    """The claims of one results folder."""

    def __init__(self, results: Path) -> None:
        self.folder = ResultsFolder(results).claims
        self.folder.mkdir(parents=True, exist_ok=True)
        self.id = identity(self.folder / "id")

    def take(self, name: str) -> Claim | None:
        """Claim a cell's key without waiting; None if another process has it."""
        self.folder.mkdir(parents=True, exist_ok=True)  # somebody may have removed it meanwhile
        lock = file_locks.take(self.folder / f"{name}.lock")
        return Claim(lock, self.folder / f"{name}.json") if lock else None

    def is_there(self) -> bool:
        """Whether the results folder is still the one that it was at the start."""
        try:
            return identity_in(self.folder / "id") == self.id
        except (OSError, UnicodeDecodeError):
            return False

    def join(self) -> Claim:
        """Return the claim of one more orchestrator."""
        while True:  # a process that looks for dead claims may hold a lock that is just being made
            claim = self.take(f"{RUN}{uuid.uuid4().hex}")
            if claim is not None:
                return claim

    def label(self, key: str) -> str:
        """Return the label of a cell of this folder, by which it is found should its orchestrator die."""
        return f"{self.id}/{key}"

    def key_of(self, label: str) -> str | None:
        """The key in such a label; None for cells of other folders."""
        folder, _, key = label.rpartition("/")
        return key if folder == self.id else None

    @contextmanager
    def folder_to_itself(self) -> Iterator[None]:
        """Wait for the lock on files about the whole folder: one orchestrator at a time reads and writes them."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with file_locks.waited_for(self.folder / f"{EVERYTHING}.lock"):
            yield

    def forget_the_dead(self) -> bool:
        """Remove what killed processes have left here; returns whether one of them was an orchestrator."""
        orchestrators = 0
        for path in self.folder.glob("*.lock"):
            claim = self.take(path.stem) if path.stem != EVERYTHING else None
            if claim is not None:
                orchestrators += is_of_orchestrator(path.stem)
                claim.release()
        return bool(orchestrators)


def is_of_orchestrator(name: str) -> bool:
    """Whether a claim is an orchestrator's own; the others are those of cells, under their keys."""
    return name.startswith(RUN)


def living(results: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Name and facts of each claim that somebody holds now; one whose facts make no sense is passed over."""
    for path in sorted(ResultsFolder(results).claims.glob("*.json")):
        if file_locks.is_held(path.with_suffix(".lock")):
            kind = OfRun if is_of_orchestrator(path.stem) else OfCell
            with suppress(OSError, ValidationError):
                yield path.stem, kind.model_validate_json(read_regular(path, LARGEST)).model_dump()


def identity(path: Path) -> str:
    """Return what identifies this folder, also against a copy of it: a random number and its file's inode."""
    partial = path.with_suffix(f".{uuid.uuid4().hex[:8]}")
    if not path.exists():
        partial.write_text(uuid.uuid4().hex, encoding="utf-8")
        with suppress(FileExistsError):  # another orchestrator was faster
            os.link(partial, path)
        partial.unlink()
    return identity_in(path)


def identity_in(path: Path) -> str:
    """Return the identity in a file that exists."""
    return f"{read_regular(path, LARGEST).decode()}.{path.stat().st_ino}"


def of_folder(results: Path) -> str:
    """The identity of a results folder, by which its claims begin; empty before its first run."""
    with suppress(OSError, UnicodeDecodeError):
        return identity_in(ResultsFolder(results).claims / "id")
    return ""
