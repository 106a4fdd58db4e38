"""What became of a cell, from the files of its job and from what Slurm says of it."""

from collections.abc import Mapping

from orchestrator.cell import events
from orchestrator.cell.contract import Document, Outcome, Status
from orchestrator.engines.output import failure, success, too_late
from orchestrator.engines.slurm.commands import Job
from orchestrator.engines.slurm.folders import Began, Ended, Order
from orchestrator.engines.slurm.watch import STATUSES

CODES: Mapping[int, tuple[Status, str]] = {
    137: (Status.OOM, "killed by SIGKILL, as the kernel does when memory runs out"),
    143: (Status.HOST_LOST, "ended from outside by SIGTERM"),
}
"""What exit codes say where Slurm says nothing else; all others are failures of the cell."""

NOT_STARTED = (126, 127, 255)
"""Exit codes by which shells and Apptainer say that they could not start a cell."""

SAID: Mapping[str, str] = {
    "TIMEOUT": "at its job's time limit",
    "OUT_OF_MEMORY": "over its job's memory limit",
    "COMPLETED": "but left no result",
}
"""What is added to states."""


def judged(
    job: Job | None, began: Began | None, ended: Ended | None, document: Document | None, log: str, order: Order
) -> Outcome:
    """Return the outcome of a job, None for one that Slurm has forgotten: from its cell's files, else from its state.

    A cell that has ended without being ended from outside has its exit code, whatever its job does meanwhile.
    """
    if document is not None:
        return success(document, log)
    if began and ended and ended.code == 137 and ended.at - began.at >= order.deadline - 1:
        return too_late(order.deadline, log)
    if never_began(job, began, ended, log):
        last = last_line(log) or "does its node see the results folder?"
        return Outcome(Status.HOST_LOST, f"{said_of(job, order)}, before its cell began: {last}", log=log)
    status = status_of(job, ended)
    if ended and status is Status.FAILED:
        status, reason = CODES.get(ended.code, (status, ""))
        return Outcome(status, reason, log=log) if reason else failure(log, ended.code)
    if status is Status.FAILED and job and job.state == "FAILED":
        return Outcome(status, ": ".join(filter(None, (said_of(job, order), last_line(log)))), log=log)
    more = SAID.get(job.state, "") if job else ""
    status = Status.HOST_LOST if status is Status.FAILED else status
    return Outcome(status, f"{said_of(job, order)}{more and f', {more}'}", log=log)


def status_of(job: Job | None, ended: Ended | None) -> Status:
    """Return what Slurm's state alone says of a cell that left no document; while that is nothing, it ended itself."""
    return STATUSES.get(job.state if job else "", Status.FAILED if ended else Status.HOST_LOST)


def never_began(job: Job | None, began: Began | None, ended: Ended | None, log: str) -> bool:
    """Whether a job ended by itself before its cell, for what its node lacks: a module, a disk, Apptainer."""
    if status_of(job, ended) not in (Status.FAILED, Status.TIMEOUT):
        return False
    if ended is None:
        return began is None
    return ended.code in NOT_STARTED and not any(events.parse(line.encode()) for line in log.splitlines())


def said_of(job: Job | None, order: Order) -> str:
    """Return a job's number, node and state in words."""
    if job is None:
        return f"Slurm no longer knows job {order.job}"
    return f"job {order.job}{job.node and f' on {job.node}'}: {job.state}"


def last_line(log: str) -> str:
    """Return the last line of a log that tells something; empty if none does."""
    return failure(log, 1).reason.partition(": ")[2]
