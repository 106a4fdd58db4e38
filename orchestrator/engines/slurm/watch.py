"""The state of all our jobs, from one query to Slurm."""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress

from orchestrator.cell.contract import Status
from orchestrator.engines.slurm import commands
from orchestrator.engines.slurm.commands import Job
from orchestrator.errors import EngineError, EngineGoneError
from orchestrator.system.terminal import Say, silent

OFTEN = 1.0
"""Minimum seconds between two queries; a slow controller is asked less often."""

SELDOM = 60.0
"""Most seconds between two queries: a controller that was slow or did not answer may be well again."""

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
"""The status of a job without a document by its state. Any other state says nothing of how its cell ended."""


def has_ended(state: str) -> bool:
    """Whether a job is over."""
    return state not in WAITING and state not in RUNNING


class Watch:
    """The latest known state of all jobs, shared by all threads: the first to ask after a while queries Slurm."""

    def __init__(self, say: Say = silent) -> None:
        self._asking = threading.Lock()
        self._say = say
        self._said: set[str] = set()
        self._jobs: dict[str, Job] = {}
        self._answered = self._tried = float("-inf")
        self._pause = 0.0
        self._error: EngineError | None = None

    def jobs(self, since: float = float("-inf")) -> Mapping[str, Job] | None:
        """Return the jobs by number, as of a moment ago but not before ``since``; None while Slurm does not answer.

        Raises EngineError for a refusal before the first answer; later ones pass as a silence does.
        """
        with self._asking:
            is_known = self._error is not None or self._answered >= since
            if not is_known or time.monotonic() - self._tried > self._pause:
                self._ask(time.monotonic())
            return self._jobs if self._error is None else None

    def now(self) -> Mapping[str, Job]:
        """Return the jobs as of now; raises EngineError if Slurm does not say."""
        jobs = self.jobs(since=time.monotonic())
        if jobs is None:
            raise EngineGoneError(self._error.what if self._error else "Slurm does not answer.")
        return jobs

    def _ask(self, began: float) -> None:
        try:
            self._jobs = {job.id: job for job in commands.jobs()}
            self._answered, self._error = began, None
        except EngineError as error:  # a restarted controller still knows its jobs
            if self._answered < 0 and not isinstance(error, EngineGoneError):
                raise
            self._error = error
            if error.what not in self._said:
                self._said.add(error.what)
                self._say(f"{error.what.rstrip('.')}; it is asked again")
        took = time.monotonic() - began
        self._tried, self._pause = began, min(max(OFTEN, took / SHARE), took + SELDOM)

    def cancel(self, jobs: list[str]) -> None:
        """Cancel jobs and wait until they have ended, so that their resources are free.

        Raises EngineGoneError if that takes too long, or Slurm does not answer.
        """
        known: Mapping[str, Job] | None = {}
        until = time.monotonic() + commands.PATIENCE
        while jobs and time.monotonic() < until:
            with suppress(EngineError):
                commands.cancel(jobs)
            known = self.jobs(since=time.monotonic())
            if known is not None:  # without an answer they may go on
                jobs = [job for job in jobs if job in known and not is_over(known[job])]
            if jobs:
                time.sleep(0.3)
        if jobs:
            raise EngineGoneError(f"Slurm did not end the jobs {', '.join(jobs)}.", remedy="Check them with 'squeue'.")


def is_over(job: Job) -> bool:
    """Return whether no part of a job is running any more."""
    return has_ended(job.state)


def may_run(job: Job) -> bool:
    """Return whether a job may be running: it is not over, or in a state that nobody knows."""
    return not is_over(job) or job.state not in STATUSES


def may_have_ended(job: Job | None) -> bool:
    """Return whether a job that is over, or that Slurm has forgotten, may have come to the end of its script."""
    return job is None or job.state == "COMPLETED"
