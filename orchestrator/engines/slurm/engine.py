"""Run cells as Slurm jobs: one job per attempt, which starts its cell on the node as another engine would.

Claims, attempts and rows stay with the orchestrator. A job's output and result come back through its folder on the
file system that all nodes share; if an orchestrator dies, the next one takes over its jobs.
"""

import math
import os
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Document, Outcome, Status
from orchestrator.engines.output import Output, stopped
from orchestrator.engines.pretended import pretend
from orchestrator.engines.protocol import Leases, OnEvent, Placed, Queued, RemovesAtOnce, Task
from orchestrator.engines.slurm import commands
from orchestrator.engines.slurm.cards import Cards, Share, minutes, share_of
from orchestrator.engines.slurm.commands import Job
from orchestrator.engines.slurm.folders import VISIBLE, Began, Ended, JobFolder, JobFolders, Order, job_of
from orchestrator.engines.slurm.inside import Way
from orchestrator.engines.slurm.judging import judged, never_began
from orchestrator.engines.slurm.remedies import remedy_of_waiting
from orchestrator.engines.slurm.script import MARK, Wanted, script
from orchestrator.engines.slurm.site import Slurm
from orchestrator.engines.slurm.slots import JobSlots, Room
from orchestrator.engines.slurm.watch import OFTEN, WAITING, Watch, is_over, may_have_ended, may_run
from orchestrator.errors import BuildError, EngineError, EngineGoneError, ResultError, RosettaError
from orchestrator.images.architectures import Scan
from orchestrator.images.image import Image
from orchestrator.system.host import Host
from orchestrator.system.slots import Lease
from orchestrator.system.terminal import Say
from orchestrator.system.words import counted

SCRIPT = "job.sh"
UNFIT = 3
"""Cells that a node could not start, with none between that it could, until it is given no more."""

COMMENT = re.compile(rf"{MARK}:(?P<claim>[^:]*):(?P<key>[A-Za-z0-9_.-]{{1,64}}):(?P<run>[0-9a-f]{{32}})")
HISTORY = (3, 600)
"""Factor and extra seconds on a cell's earlier time that give its job's limit, so that Slurm finds a gap for it."""

NUMBERLESS = "0"
"""Stands for the number of a job that has ended, of an orchestrator that died before it knew it."""

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
        self.watch = Watch(say)
        self.folders = JobFolders(writable_by_slurm(results))
        self.cards = Cards(self.folders, site, self.watch, say)
        self._say = say
        self.stopping = self._leaving = self._accepted = False
        self._jobs = 1
        self._slots = JobSlots(site.most_jobs, 1, 1)
        self._running: dict[str, str] = {}
        self._cancelled: set[str] = set()
        self._unfit: Counter[str] = Counter()
        self._told: set[str] = set()
        self._lock = threading.Lock()
        self._room = Room(lambda: len(self._running), lambda: self.stopping, self._say_once)

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
        self._slots = JobSlots(self.site.most_jobs, len(models) + bool(cpu_cells), at_a_time)
        return self._slots

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
        """Run the cell in a job and follow it; of what it leaves, only what has no result is removed at once.

        A job that hits a limit estimated from the cell's earlier time is tried again with the full deadline.
        """
        if self.stopping:
            return stopped()
        whole = min(task.deadline, LONGEST)
        seconds = whole if task.expected is None else min(whole, HISTORY[0] * task.expected + HISTORY[1])
        try:
            outcome = self._attempt(task, seconds, on_event)
            if outcome.status is Status.TIMEOUT and seconds < whole and not self.stopping:
                outcome.settled()
                outcome = self._attempt(replace(task, run=uuid.uuid4().hex), whole, on_event)
        except (EngineGoneError, BuildError) as error:  # a BuildError: the SIF file is gone
            return Outcome(Status.HOST_LOST, error.what)
        return outcome

    def cells(self) -> Mapping[str, str]:
        """Return the claims, by job number, of jobs that nobody can take over because their folder is gone."""
        self.folders.sweep()
        found = {}
        for job in self.watch.now().values():
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
            self._cancel(jobs)
        except EngineError as error:
            self._leaving = True
            self._say(f"{error.what} The next run takes over what is left.")

    def _cancel(self, jobs: Sequence[str]) -> None:
        """Cancel jobs of this run for good; raises EngineError if they may go on."""
        self._cancelled.update(jobs)
        try:
            self.watch.cancel(list(jobs))
        except EngineError:
            self._cancelled.difference_update(jobs)
            raise

    def leave(self) -> None:
        """Leave all jobs to the next run."""
        with self._lock:
            self.stopping = self._leaving = True
            jobs = len(self._running)
        if jobs:
            self._say(f"{counted(jobs, 'job')} left to the next run, which takes over what goes on")

    def _attempt(self, task: Task, seconds: float, on_event: OnEvent) -> Outcome:
        """Follow one job to its end: one left by an earlier orchestrator, else a new one.

        Its folder is the only copy of what it did until that is written down; if we die before, the next run reads it.
        """
        order = self._left(task) or self._ordered(task, seconds, on_event)
        folder = self.folders.of(order.key, order.run)
        try:
            with self._lock:
                late = self.stopping  # stop() came while it was being submitted, and knows nothing of it
                if not late:
                    self._running[order.run] = order.job
            job, outcome = self._late(order, task) if late else self._follow(order, folder, task, on_event)
        finally:
            with self._lock:
                self._running.pop(order.run, None)
        # Some clusters forget a cancelled job at once.
        was_cancelled = job.state == "CANCELLED" if job else order.job in self._cancelled and not folder.ended
        has_nothing = was_cancelled if self.stopping else outcome.status is Status.HOST_LOST
        if has_nothing:
            folder.remove()
            return outcome
        return replace(outcome, settled=folder.remove)

    def _late(self, order: Order, task: Task) -> tuple[Job | None, Outcome]:
        """Cancel a job that was submitted while the run was being stopped; one taken over goes on as it did."""
        if not self._leaving and order.run == task.run:
            self._cancel([order.job])
        return (self.watch.jobs() or {}).get(order.job), stopped()

    def _left(self, task: Task) -> Order | None:
        """Return a dead orchestrator's job under this key if it can be taken over; cancel all others of dead ones.

        Under the key of a proof are jobs of several cells' claims, and a living orchestrator looks after its own.
        """
        chosen: Order | None = None
        orders = [order for order in self.folders.orders(task.key) if not self._is_anothers(order, task)]
        jobs = self.watch.now() if orders else {}
        for order in orders:
            folder, job = self.folders.of(order.key, order.run), job_of(order, jobs)
            is_copy = place_of(order.claim) != place_of(task.claim)
            if chosen is None and not is_copy and self._can_be_followed(order, job, folder):
                chosen = order.model_copy(
                    update={"job": job.id if job else order.job or NUMBERLESS, "claim": task.claim}
                )
                if chosen != order:
                    folder.note(chosen)
                continue
            folder.remove()
            if job is not None and may_run(job) and not is_copy:
                self.watch.cancel([job.id])
        return chosen

    def _is_anothers(self, order: Order, task: Task) -> bool:
        """Whether a living orchestrator follows a job."""
        is_known = order.claim == task.claim or place_of(order.claim) != place_of(task.claim)
        return not is_known and self.folders.is_claimed(order.claim)

    def _can_be_followed(self, order: Order, job: Job | None, folder: JobFolder) -> bool:
        """Whether a job is alive, or has left something; what has just ended may not be visible here yet."""
        if job is not None and not is_over(job):
            return True
        was_submitted = job is not None or order.job
        return bool(folder.appear(VISIBLE if was_submitted and may_have_ended(job) else 0.0, lambda: self.stopping))

    def _ordered(self, task: Task, seconds: float, on_event: OnEvent) -> Order:
        """Submit a job; raises EngineError if Slurm refuses it for good, EngineGoneError if only for now."""
        facts = {"run": task.run, "key": task.key, "claim": task.claim, "cell": task.cell.id}
        image = self.way.digest(task.image)
        order = Order(**facts, deadline=seconds, submitted=time.time(), image=image)
        folder = self.folders.made(order)
        try:
            text = script(self.wanted(task, seconds), self.site, folder.path, self.way.inside(task, folder.path))
            (folder.path / SCRIPT).write_text(text, encoding="utf-8")
            order = order.model_copy(update={"job": self._room.submitted(text, self._slots, on_event)})
        except RosettaError as error:
            folder.remove()
            if self._accepted and isinstance(error, EngineError):
                raise EngineGoneError(error.what) from None
            raise
        self._accepted = True
        folder.note(order)
        return order

    def _say_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._say(text)

    def wanted(self, task: Task, seconds: float) -> Wanted:
        """Return what a cell's job requests; raises EngineGoneError if no node has it now, EngineError if none will."""
        share = self.share(task.cell)
        if share is None:
            gpus = f"has {task.cell.n_gpus} × {task.cell.gpu}" if task.cell.gpu != "none" else "is in these partitions"
            raise EngineGoneError(f"no node {gpus}")
        refuse_endless(self.site.time, share)
        cpus = len(task.cores) or share.cpus
        comment = f"{MARK}:{task.claim}:{task.key}:{task.run}"
        name = f"{MARK}:{task.cell.id}"
        asked = (share.gres, cpus, share.memory, seconds, share.limit)
        return Wanted(name, comment, share.partitions, *asked, self._shunned(share))

    def _shunned(self, share: Share) -> Sequence[str]:
        """Return the nodes that can't start cells, unless there may be no others."""
        nodes: Counter[str] = Counter()
        for kind in self.cards.kinds:
            nodes[kind.partition] += kind.count
        unfit = sorted(node for node, times in self._unfit.items() if times >= UNFIT)
        return unfit if len(unfit) < max(nodes[name] for name in share.partitions) else ()

    def share(self, cell: Cell) -> Share | None:
        """Return where a cell can run, and its share of a node there."""
        kinds = self.cards.look() if cell.gpu != "none" else self.cards.kinds
        return share_of(cell, kinds, self.site, self._jobs)

    def _follow(self, order: Order, folder: JobFolder, task: Task, on_event: OnEvent) -> tuple[Job | None, Outcome]:
        """Forward a job's output until it is over; return the job as Slurm last had it, and its outcome.

        What Slurm says of the end matters only without a result, and is not waited for without end.
        """
        output, told, since, until = Output(on_event), "", time.monotonic(), math.inf
        began: Began | None = None
        while True:
            jobs = self.watch.jobs(since)
            output.feed(folder.output())
            if self._leaving:
                return None, Outcome(Status.FAILED, "left to the cluster")
            if began is None and (began := folder.began):
                on_event(Placed(began.host, began.gpus))
            job = jobs.get(order.job) if jobs is not None else None
            if job is not None and job.state in WAITING and told != job.reason:
                told = job.reason
                self._tell_of_waiting(job, on_event)
            if folder.ended:
                until = min(until, time.monotonic() + (0.0 if folder.documents else VISIBLE))
            if (jobs is not None and (job is None or is_over(job))) or time.monotonic() >= until:
                break
            time.sleep(OFTEN)
        ended = folder.appear(VISIBLE if may_have_ended(job) else 0.0, lambda: self.stopping)
        for _ in range(2):  # what came late has a beginning, too
            output.feed(folder.output())
        if ended is None and (job is None or may_run(job)):  # Slurm may be wrong
            with suppress(EngineError):
                commands.cancel([order.job])
        return job, self._judged(order, folder, task, job, ended, output.close())

    def _tell_of_waiting(self, job: Job, on_event: OnEvent) -> None:
        """Say why a job waits, and what to do if it would wait for ever."""
        on_event(Queued(f"queued as job {job.id}{'' if job.reason == 'None' else f' ({job.reason})'}"))
        if remedy := remedy_of_waiting(job.reason):
            self._say_once(f"Jobs may never start: {job.reason}. {remedy}")

    def _judged(
        self, order: Order, folder: JobFolder, task: Task, job: Job | None, ended: Ended | None, log: str
    ) -> Outcome:
        """Return the outcome of a finished job, with where and when its cell ran."""
        began = folder.began
        if job is not None and job.node and never_began(job, began, ended, log):
            self._unfit[job.node] += 1
        elif job is not None and began is not None:
            self._unfit.pop(job.node, None)
        try:
            found: Document | None = folder.document(f"the result of {task.cell.id}") if ended else None
            outcome = judged(job, began, ended, found, log, order)
        except ResultError as error:
            outcome = Outcome(Status.FAILED, str(error), log=log)
        if outcome.document is not None and task.cell.gpu != "none" and self.machine().pretended:
            devices = self.machine().alike(task.cell.gpu, task.cell.n_gpus)
            outcome = replace(outcome, document=pretend(outcome.document, Lease(devices, (), 0)))
        outcome = replace(outcome, image_digest=order.image, limits=f"those of Slurm's job {order.job}")
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
    path = str(results.absolute())
    if not set(path).isdisjoint("\\\n") or path.encode(errors="replace") != os.fsencode(path):
        what = f"Slurm can't write below {path!r}: backslash, line break, or no UTF-8."
        raise EngineError(what, remedy="Name another with --results.")
    return results


def place_of(claim: str) -> str:
    """Return the results folder of a claim: another one's orders are a copy, and its jobs not ours to end."""
    return claim.rpartition("/")[0]


def question(jobs: int) -> str:
    """Return the question to the user before jobs are cancelled."""
    return f"Cancel {jobs:,} job{'' if jobs == 1 else 's'} of this run? The next run takes over what is left."
