"""Run cells as Slurm jobs: one job per attempt, which starts its cell on the node as another engine would.

Claims, attempts and rows stay with the orchestrator. A job's output and result come back through its folder on the
file system that all nodes share; if an orchestrator dies, the next one takes over its jobs.
"""

import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Document, Outcome, Status
from orchestrator.engines.output import Output, failure, stopped, success, too_late
from orchestrator.engines.pretended import pretend
from orchestrator.engines.protocol import Leases, OnEvent, Placed, Queued, RemovesAtOnce, Task
from orchestrator.engines.slurm import commands
from orchestrator.engines.slurm.cards import Cards, Share, minutes, share_of
from orchestrator.engines.slurm.folders import Began, Ended, JobFolder, JobFolders, Order
from orchestrator.engines.slurm.inside import Way
from orchestrator.engines.slurm.script import MARK, Wanted, script
from orchestrator.engines.slurm.site import Slurm
from orchestrator.engines.slurm.watch import OFTEN, WAITING, Watch, is_over, status_of
from orchestrator.errors import EngineError, EngineGoneError, ResultError
from orchestrator.images.architectures import Scan
from orchestrator.images.image import Image
from orchestrator.system.host import Host
from orchestrator.system.slots import Lease
from orchestrator.system.terminal import Say

SCRIPT = "job.sh"
VISIBLE = 60.0
"""Seconds until a job's files must be visible here: an NFS client may refresh a folder that seldom."""

COMMENT = re.compile(rf"{MARK}:(?P<claim>[^:]*):(?P<key>[A-Za-z0-9_.-]{{1,64}}):(?P<run>[0-9a-f]{{32}})")
HISTORY = (3, 600)
"""Factor and extra seconds on a cell's earlier time that give its job's limit, so that Slurm finds a gap for it."""

LONGEST = 365 * 86400.0
"""The deadline in seconds of a cell that has none."""

Confirm = Callable[[str], bool]
"""Asks a question; True if the user agrees, or if there is nobody to ask."""


class SlurmEngine(RemovesAtOnce):
    """The cluster whose commands are on this machine; ``way`` starts cells, ``results`` is on the shared disk."""

    takes_weights, built_by_docker = True, False

    def __init__(
        self, way: Way, site: Slurm, results: Path, say: Say, confirm: Confirm = lambda question: True
    ) -> None:
        self.way, self.site, self.confirm = way, site, confirm
        self.name, self.in_containers = way.images.name, way.images.in_containers
        self._version = commands.version()
        self.host = "Slurm cluster"
        self.watch = Watch()
        self.folders = JobFolders(writable_by_slurm(results))
        self.cards = Cards(self.folders, site, self.watch, say)
        self._say = say
        self.stopping = self._leaving = self._accepted = False
        self._jobs = 1
        self._running: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def version(self) -> str:
        """The versions of Slurm and of what starts the cells."""
        return f"{self._version}, {self.way.images.version}"

    @property
    def image_folder(self) -> Path | None:
        """The folder in which the nodes see the images."""
        return self.way.images.image_folder

    def machine(self) -> Host:
        """Return the hardware of all nodes as one host."""
        return self.cards.host

    def slots(self, host: Host, models: Collection[str], cpu_cells: int) -> Leases:
        """Return slots for as many jobs as may be queued; Slurm decides which of them run."""
        self._jobs = max(1, cpu_cells)
        kinds = self.cards.kinds
        at_a_time = sum(kind.count * (sum(kind.gpus.values()) if models else 0) for kind in kinds)
        at_a_time += cpu_cells * sum(kind.count for kind in kinds)
        return JobSlots(self.site.most_jobs, len(models) + bool(cpu_cells), at_a_time)

    def unavailable(self, image: Image) -> str | None:
        """Return why cells of an image can't be started, or None."""
        return self.way.images.unavailable(image)

    def machine_code(self, image: Image) -> Scan | None:
        """Return the GPUs that an image has code for."""
        return self.way.images.machine_code(image)

    def built_on(self, image: Image) -> str:
        """Return the bases of an image."""
        return self.way.images.built_on(image)

    def prepare(self, images: Sequence[Image], say: Say) -> Mapping[str, str]:
        """Build missing images here, where the nodes see them."""
        return self.way.images.prepare(images, say)

    def run(self, task: Task, on_event: OnEvent) -> Outcome:
        """Run the cell in a job, follow it, and remove all traces of it.

        A job that hits a limit estimated from the cell's earlier time is tried again with the full deadline.
        """
        if self.stopping:
            return stopped()
        whole = min(task.deadline, LONGEST)
        seconds = whole if task.expected is None else min(whole, HISTORY[0] * task.expected + HISTORY[1])
        try:
            outcome = self._attempt(task, seconds, on_event)
            if outcome.status is Status.TIMEOUT and seconds < whole and not self.stopping:
                outcome = self._attempt(replace(task, run=uuid.uuid4().hex), whole, on_event)
        except EngineGoneError as error:
            return Outcome(Status.HOST_LOST, error.what)
        return outcome

    def cells(self) -> Mapping[str, str]:
        """Return the claims, by job number, of jobs that nobody can take over because their folder is gone."""
        found = {}
        for job in commands.jobs():
            known = COMMENT.fullmatch(job.comment)
            if known is None or not known["claim"] or is_over(job):
                continue
            if self.folders.of(known["key"], known["run"]).order is None:
                found[job.id] = known["claim"]
        return found

    def remove(self, handle: str) -> None:
        """Cancel a job."""
        self.watch.cancel([handle])

    def stop(self) -> None:
        """Ask whether to cancel the queued jobs; the next run takes over those that are left.

        Those are also all jobs of a cluster that does not answer: else their followers would wait for it for ever.
        """
        with self._lock:
            self.stopping = True
            jobs = list(self._running.values())
        if jobs and not self.confirm(question(len(jobs))):
            self._leaving = True
            return
        try:
            self.watch.cancel(jobs)
        except EngineError as error:
            self._leaving = True
            self._say(f"{error.what} The next run takes over what is left.")

    def _attempt(self, task: Task, seconds: float, on_event: OnEvent) -> Outcome:
        """Follow one job to its end: one left by an earlier orchestrator, else a new one."""
        order = self._left(task) or self._ordered(task, seconds)
        folder = self.folders.of(order.key, order.run)
        try:
            with self._lock:
                late = self.stopping  # stop() came while it was being submitted, and knows nothing of it
                if not late:
                    self._running[order.run] = order.job
            if late:
                self.watch.cancel([order.job])
                return stopped()
            return self._follow(order, folder, task, on_event)
        finally:
            with self._lock:
                self._running.pop(order.run, None)
            if not self._leaving:
                folder.remove()

    def _left(self, task: Task) -> Order | None:
        """Return an earlier orchestrator's job for this cell if it can be taken over; cancel all others of the cell."""
        chosen: Order | None = None
        orders = self.folders.orders(task.key)
        if not orders:
            return None
        jobs = self.watch.jobs(since=time.monotonic())
        if jobs is None:
            raise EngineGoneError("Slurm does not say what became of earlier jobs.")
        runs = {found["run"]: job for job in jobs.values() if (found := COMMENT.fullmatch(job.comment))}
        for order in orders:
            folder, job = self.folders.of(order.key, order.run), runs.get(order.run) or jobs.get(order.job)
            alive = job is not None and not is_over(job)
            if chosen is None and order.claim == task.claim and (alive or folder.ended):
                chosen = order.model_copy(update={"job": job.id if job else order.job or "0"})
                continue
            folder.remove()
            if job is not None and alive:
                self.watch.cancel([job.id])
        return chosen

    def _ordered(self, task: Task, seconds: float) -> Order:
        """Submit a job; raises EngineError if Slurm refuses it for good, EngineGoneError if only for now."""
        order = Order(
            run=task.run, key=task.key, claim=task.claim, cell=task.cell.id, deadline=seconds, submitted=time.time()
        )
        folder = self.folders.made(order)
        try:
            text = script(self.wanted(task, seconds), self.site, folder.path, self.way.inside(task, folder.path))
            (folder.path / SCRIPT).write_text(text, encoding="utf-8")
            order = order.model_copy(update={"job": commands.submitted(text)})
            self._accepted = True
            folder.note(order)
        except EngineGoneError:
            folder.remove()
            raise
        except EngineError as error:
            folder.remove()
            if self._accepted:
                raise EngineGoneError(error.what) from None
            raise
        return order

    def wanted(self, task: Task, seconds: float) -> Wanted:
        """Return what a cell's job requests; raises EngineGoneError if no node has it now, EngineError if none will."""
        share = self.share(task.cell)
        if share is None:
            raise EngineGoneError(f"no node has {task.cell.n_gpus} × {task.cell.gpu}")
        refuse_endless(self.site.time, share)
        cpus = len(task.cores) or share.cpus
        comment = f"{MARK}:{task.claim}:{task.key}:{task.run}"
        name = f"{MARK}:{task.cell.id}"
        return Wanted(name, comment, share.partitions, share.gres, cpus, share.memory, seconds, share.limit)

    def share(self, cell: Cell) -> Share | None:
        """Return where a cell can run, and its share of a node there."""
        kinds = self.cards.look() if cell.gpu != "none" else self.cards.kinds
        return share_of(cell, kinds, self.site, self._jobs)

    def _follow(self, order: Order, folder: JobFolder, task: Task, on_event: OnEvent) -> Outcome:
        """Forward a job's output until it is over, and return its outcome."""
        output, told, since = Output(on_event), "", time.monotonic()
        began: Began | None = None
        while True:
            jobs = self.watch.jobs(since)
            for chunk in iter(folder.output, b""):
                output.feed(chunk)
            if self._leaving:
                return Outcome(Status.FAILED, "left to the cluster")
            if began is None and (began := folder.began):
                on_event(Placed(began.host, began.gpus))
            job = jobs.get(order.job) if jobs is not None else None
            if job is not None and job.state in WAITING and told != job.reason:
                told = job.reason
                on_event(Queued(f"queued as job {order.job}{'' if told == 'None' else f' ({told})'}"))
            if (jobs is not None and (job is None or is_over(job))) or folder.ended:
                break
            time.sleep(OFTEN)
        state = job.state if job is not None else ""
        ended = folder.appear(VISIBLE if state in ("COMPLETED", "") else 0.0, lambda: self.stopping)
        for chunk in iter(folder.output, b""):
            output.feed(chunk)
        return self._judged(order, folder, task, state, ended, output.close())

    def _judged(
        self, order: Order, folder: JobFolder, task: Task, state: str, ended: Ended | None, log: str
    ) -> Outcome:
        """Return the outcome of a finished job, with where and when its cell ran."""
        began = folder.began
        try:
            found: Document | None = folder.document(f"the result of {task.cell.id}") if ended else None
            outcome = judged(state, began, ended, found, log, order)
        except ResultError as error:
            outcome = Outcome(Status.FAILED, str(error), log=log)
        if outcome.document is not None and task.cell.gpu != "none" and self.machine().pretended:
            devices = self.machine().alike(task.cell.gpu, task.cell.n_gpus)
            outcome = replace(outcome, document=pretend(outcome.document, Lease(devices, (), 0)))
        outcome = replace(outcome, image_digest=self.way.digest(task.image), limits=f"those of Slurm's job {order.job}")
        if began is None:
            return outcome
        seconds = max(0.0, ended.at - began.at) if ended else 0.0
        started = datetime.fromtimestamp(began.at, UTC)
        return replace(outcome, started=started, wall_seconds=seconds, host=began.host)


def refuse_endless(time: str | None, share: Share) -> None:
    """Raise EngineError for a time limit that no partition gives: such a job would be queued for ever."""
    asked = minutes(time) if time else 0
    if share.limit is not None and (asked is None or asked > share.limit):
        where = ", ".join(share.partitions)
        what = f"Jobs would never start: partition {where} gives them {share.limit:,} minutes at most."
        raise EngineError(what, f"site.yaml asks for {time}.", "Leave out time, or name another partition.")


def writable_by_slurm(results: Path) -> Path:
    """Return the results folder; raises EngineError where Slurm would write a job's output to another place."""
    if not set(str(results.absolute())).isdisjoint("\\\n"):
        remedy = "Name another with --results."
        raise EngineError(f"Slurm can't write below {str(results)!r}: backslash or line break.", remedy=remedy)
    return results


def question(jobs: int) -> str:
    """Return the question to the user before jobs are cancelled."""
    return f"Cancel {jobs:,} job{'' if jobs == 1 else 's'} of this run? The next run takes over what is left."


def judged(
    state: str, began: Began | None, ended: Ended | None, document: Document | None, log: str, order: Order
) -> Outcome:
    """Return a job's outcome from its cell's files, else from Slurm's state, empty for a job that Slurm forgot."""
    if document is not None:
        return success(document, log)
    if began and ended and ended.code == 137 and ended.at - began.at >= order.deadline - 1:
        return too_late(order.deadline, log)
    status = status_of(state)
    if ended and status is Status.FAILED:
        return failure(log, ended.code)
    said = f"job {order.job}: {state}" if state else f"Slurm no longer knows job {order.job}"
    if status is Status.TIMEOUT:
        return Outcome(status, f"{said}, at its job's time limit", log=log)
    if status is Status.OOM:
        return Outcome(status, f"{said}, over its job's memory limit", log=log)
    if status is Status.FAILED and state == "FAILED":
        reason = failure(log, 1).reason.partition(": ")[2]
        return Outcome(status, f"{said}: {reason}" if reason else f"{said}, before its cell began", log=log)
    if state == "COMPLETED":
        said += ", but left no result" if began else ", but found no order: does its node see the results folder?"
    return Outcome(Status.HOST_LOST, said, log=log)


class JobSlots:
    """Slots for the jobs that a site allows in the queue, shared equally by ``kinds`` of cells; ``count`` can run."""

    def __init__(self, most: int, kinds: int, at_a_time: int) -> None:
        self.count = max(1, min(most, at_a_time))
        self._most = max(1, most // max(1, kinds))
        self._used: Counter[str] = Counter()
        self._changing = threading.Lock()

    def take(self, model: str, n_gpus: int = 1) -> Lease | None:
        """Return a lease to submit a job; None if the cell has to wait."""
        with self._changing:
            if self._used[model] >= self._most:
                return None
            self._used[model] += 1
            return Lease((), (), 0)

    def give_back(self, lease: Lease, model: str) -> None:
        """End a lease."""
        with self._changing:
            self._used[model] -= 1
