"""The folders of jobs: each submission has its own in the results folder, on the file system that all nodes share.

A job's files are untrusted until parsed into a model, and no more is read than a cell may leave.
"""

import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, ValidationError

from orchestrator.cell import contract
from orchestrator.cell.contract import Document
from orchestrator.cell.strict import Strict
from orchestrator.engines.slurm.commands import MARKED, Job
from orchestrator.engines.slurm.script import BEGAN, ENDED, ORDER, OUTPUT
from orchestrator.errors import ResultError
from orchestrator.results.paths import ResultsFolder
from orchestrator.system import file_locks
from orchestrator.system.regular_files import open_regular, read_regular, write_beside
from orchestrator.system.scratch import remove_tree

RUN = re.compile(r"[0-9a-f]{32}")
"""The name of a job's folder: the id of the attempt."""

VISIBLE = 150.0
"""Seconds until a job's files must be visible here: NFS may show a folder as it was 60 s ago, some sites set 120."""

ABANDONED = 3600.0
"""Seconds after which a folder without order is none that is just being made."""

LARGEST_NOTE = 64 * 2**10
MOST_AT_A_TIME = 4 * 2**20
"""Most bytes of output that are read at once: a cell may print faster than anybody reads."""

Text = Annotated[str, StringConstraints(max_length=500)]


class Order(Strict):
    """What a job was submitted for, so that others can take it over. ``job`` is empty until it is known.

    ``image`` is the digest of the image that it starts, which may have become another's by its end.
    """

    run: Annotated[str, StringConstraints(pattern=RUN.pattern, max_length=32)]
    key: Text
    claim: Text
    cell: Text
    deadline: Annotated[float, Field(gt=0)]
    submitted: Annotated[float, Field(ge=0, le=1e11)]
    job: Annotated[str, StringConstraints(pattern=r"^[0-9]{0,18}$")] = ""
    image: Text = ""


def job_of(order: Order, jobs: Mapping[str, Job]) -> Job | None:
    """Return an order's job by its comment; by its number only where the site has changed our comment.

    Numbers are given again once a cluster has begun to count anew.
    """
    numbered = jobs.get(order.job)
    is_ours = numbered and numbered.name.startswith(MARKED) and MARKED not in numbered.comment
    return next((job for job in jobs.values() if order.run in job.comment), numbered if is_ours else None)


@dataclass(frozen=True)
class Began:
    """When a cell began, by its node's clock, on which host, and on which GPUs (UUIDs), if the node can tell."""

    at: float
    host: str
    gpus: tuple[str, ...]


@dataclass(frozen=True)
class Ended:
    """When a cell ended, by its node's clock, and its exit code."""

    at: float
    code: int


class JobFolder:
    """The folder of one submission."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0

    @property
    def order(self) -> Order | None:
        """What the job was submitted for; None if that can't be read any more."""
        with suppress(OSError, ValidationError):
            return Order.model_validate_json(read_regular(self.path / ORDER, LARGEST_NOTE))
        return None

    def note(self, order: Order) -> None:
        """Write down what the job was submitted for."""
        write_beside(self.path / ORDER, order.model_dump_json().encode())

    @property
    def began(self) -> Began | None:
        """The job's note on its cell's start; None before, or if invalid."""
        at, host, *gpus = [*self._lines(BEGAN), "", ""][: 2 + 64]
        names = tuple(gpu for gpu in gpus if re.fullmatch(r"(GPU|MIG)-[A-Za-z0-9/-]{1,120}", gpu))
        seconds = moment(at)
        return Began(seconds, host[:200], names) if seconds is not None and host.isprintable() and host else None

    @property
    def ended(self) -> Ended | None:
        """The job's note on its cell's end; None before, or if invalid."""
        at, code = [*self._lines(ENDED), "", ""][:2]
        seconds = moment(at)
        return Ended(seconds, int(code)) if seconds is not None and re.fullmatch(r"[0-9]{1,3}", code) else None

    def output(self) -> bytes:
        """Return output printed since the last call, ``MOST_AT_A_TIME`` at most: first its beginning, then its end."""
        try:
            with open_regular(self.path / OUTPUT) as file:
                behind = file.seek(0, os.SEEK_END) - self._read
                skipped = max(0, behind - MOST_AT_A_TIME) if self._read else 0
                file.seek(self._read + skipped)
                chunk = file.read(MOST_AT_A_TIME)
        except OSError:
            return b""
        self._read += skipped + len(chunk)
        return b"\n[... cut ...]\n" + chunk if skipped else chunk

    @property
    def documents(self) -> list[Path]:
        """What may be the job's result; one, if all is well."""
        with suppress(OSError):
            return [path for path in (self.path / "results").iterdir() if path.suffix == ".json"]
        return []

    def document(self, source: str) -> Document | None:
        """Return the job's result; None if there is none. Raises ResultError for an invalid one."""
        names = self.documents
        if len(names) > 1:
            raise ResultError(f"{source} has {len(names)} documents.")
        with suppress(OSError):
            return contract.parse(read_regular(names[0], contract.LARGEST_DOCUMENT + 1), source) if names else None
        return None

    def appear(self, patience: float, stopped: Callable[[], bool] = lambda: False) -> Ended | None:
        """Wait for the note on the cell's end, which a shared file system may show late.

        For up to ``patience`` seconds, or until ``stopped()``.
        """
        until = time.monotonic() + patience
        while (ended := self.ended) is None and time.monotonic() < until and not stopped():
            with suppress(OSError):
                list(self.path.iterdir())  # makes an NFS client refresh
            time.sleep(0.5)
        return ended

    def remove(self) -> None:
        """Remove the folder, the order first: a job that starts later finds none and ends."""
        (self.path / ORDER).unlink(missing_ok=True)
        for _ in range(3):  # a process that is being killed may still write
            remove_tree(self.path)
            if not os.path.lexists(self.path):
                break
            time.sleep(0.2)
        with suppress(OSError):
            self.path.parent.rmdir()

    def _lines(self, name: str) -> list[str]:
        with suppress(OSError):
            return read_regular(self.path / name, LARGEST_NOTE).decode(errors="replace").splitlines()
        return []


class JobFolders:
    """All job folders of a results folder."""

    def __init__(self, results: Path) -> None:
        self._results = ResultsFolder(results.absolute())
        self.path = self._results.jobs

    def of(self, key: str, run: str) -> JobFolder:
        """The folder of an attempt."""
        return JobFolder(self.path / key / run)

    def made(self, order: Order) -> JobFolder:
        """A new folder for an attempt."""
        folder = self.of(order.key, order.run)
        folder.path.mkdir(parents=True)
        folder.note(order)
        return folder

    def orders(self, key: str) -> list[Order]:
        """Return the orders submitted for a key, newest first."""
        place = self.path / key
        names = [path for path in place.iterdir() if RUN.fullmatch(path.name)] if place.is_dir() else []
        found = [order for path in names if (order := JobFolder(path).order)]
        return sorted((order for order in found if order.key == key), key=lambda order: -order.submitted)

    def is_claimed(self, claim: str) -> bool:
        """Whether a living orchestrator holds the claim of an order."""
        return file_locks.is_held(self._results.claims / f"{claim.rpartition('/')[2]}.lock")

    def sweep(self) -> None:
        """Remove what killed orchestrators have left: of cells that have their row, and what they were removing."""
        for path in self.path.glob("*/*"):
            if RUN.fullmatch(path.name) and self._is_useless(path):
                JobFolder(path).remove()

    def _is_proved(self, order: Order) -> bool:
        """Whether a job was for a cell's proof, and one was made since: its row has another key than its job."""
        if order.claim.rpartition("/")[2] == order.key or self.is_claimed(order.claim):
            return False
        proofs = self._results.parity
        with suppress(OSError):
            rows = [proofs.result(each.name, order.cell) for each in proofs.cells.iterdir()]
            return any(row.stat().st_mtime > order.submitted for row in rows if row.is_file())
        return False

    def _is_useless(self, path: Path) -> bool:
        order = JobFolder(path).order
        if order is not None:
            has_row = self._results.result(order.key, order.cell).is_file() or self._is_proved(order)
            return order.key == path.parent.name and has_row
        with suppress(OSError):
            return not os.path.lexists(path / ORDER) and time.time() - path.stat().st_mtime > ABANDONED
        return False


def moment(text: str) -> float | None:
    """Parse a number of seconds since 1970; None if it is no such number."""
    return float(text) if re.fullmatch(r"[0-9]{1,11}(\.[0-9]{1,9})?", text) else None
