"""The state of all our jobs, from one query to Slurm."""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress

from orchestrator.cell.contract import Status
from orchestrator.engines.slurm import commands
from orchestrator.engines.slurm.commands import Job
from orchestrator.errors import EngineError, EngineGoneError

OFTEN = 1.0
"""Minimum seconds between two queries; a slow controller is asked less often."""

SHARE = 0.1
"""The largest part of our time that queries to the controller may take."""

WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "RESV_DEL_HOLD", "SPECIAL_EXIT"}
RUNNING = {"RUNNING", "COMPLETING", "SUSPENDED", "RESIZING", "SIGNALING", "STAGE_OUT", "STOPPED", "EXPEDITING"}
"""States of a job that has not ended; in all other states it has."""

STATUSES: Mapping[str, Status] = {
    "COMPLETED": Status.FAILED,
    "FAILED": Status.FAILED,
    "TIMEOUT": Status.TIMEOUT,
    "OUT_OF_MEMORY": Status.OOM,
    "CANCELLED": Status.HOST_LOST,
    "PREEMPTED": Status.HOST_LOST,
    "NODE_FAIL": Status.HOST_LOST,
    "BOOT_FAIL": Status.HOST_LOST,
    "LAUNCH_FAILED": Status.HOST_LOST,
    "DEADLINE": Status.HOST_LOST,
    "REVOKED": Status.HOST_LOST,
}
"""The status of a job without a document by its state; an end in any other state was not the cell's doing."""


def status_of(state: str) -> Status:
    """Return the status of a cell that left no document, from its job's final state."""
    return STATUSES.get(state, Status.HOST_LOST)


def has_ended(state: str) -> bool:
    """Whether a job is over."""
    return state not in WAITING and state not in RUNNING


class Watch:
    """The latest known state of all jobs, shared by all threads: the first to ask after a while queries Slurm."""

    def __init__(self) -> None:
        self._asking = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._asked = self._took = float("-inf")
        self.answers = True

    def jobs(self, since: float = float("-inf")) -> Mapping[str, Job] | None:
        """Return the jobs by number, as of a moment ago but not before ``since``; None if Slurm does not answer."""
        with self._asking:
            began = time.monotonic()
            pause = max(OFTEN, (self._took if self._took > 0 else 0.0) / SHARE)
            if self._asked < since or began - self._asked > pause:
                with suppress(EngineGoneError):  # a restarted controller still knows its jobs
                    self._jobs = {job.id: job for job in commands.jobs()}
                    self._asked, self._took = began, time.monotonic() - began
                    return self._jobs
                self._took = time.monotonic() - began
                return None
            return self._jobs

    def cancel(self, jobs: list[str]) -> None:
        """Cancel jobs and wait until they have ended, so that their resources are free.

        Raises EngineError if that takes too long, EngineGoneError if Slurm does not answer.
        """
        known: Mapping[str, Job] | None = {}
        until = time.monotonic() + commands.PATIENCE
        while jobs and time.monotonic() < until:
            with suppress(EngineGoneError):
                commands.cancel(jobs)
            known = self.jobs(since=time.monotonic())
            if known is not None:  # without an answer they may go on
                jobs = [job for job in jobs if job in known and not is_over(known[job])]
            if jobs:
                time.sleep(0.3)
        if jobs:
            kind = EngineGoneError if known is None else EngineError
            raise kind(f"Slurm did not end the jobs {', '.join(jobs)}.", remedy="Check them with 'squeue'.")


def is_over(job: Job) -> bool:
    """Return whether no part of a job is running any more."""
    return has_ended(job.state)
