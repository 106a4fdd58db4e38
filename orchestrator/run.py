"""Ready cells → results: builds what they need, fetches their data, runs them, writes one file each, merges.

docs/running.md says what users can rely on, docs/architecture.md why every point at which a run can die is safe.
"""

import os
import shutil
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator import datasets, filelocks, history, plan, quality, results, surroundings
from orchestrator.builder import Builder
from orchestrator.claims import EVERYTHING, Claim, Claims
from orchestrator.compatibility import Host
from orchestrator.contract import Outcome, Status
from orchestrator.engines import Engine, Event, Task
from orchestrator.errors import DiskError, EngineError, GpuError, RosettaError, SelectionError
from orchestrator.interruption import Interruption
from orchestrator.matrix import Cell
from orchestrator.plan import Planned, Verdict
from orchestrator.progress import Progress
from orchestrator.slots import Lease, Slots, pretend

LEAST_FREE = 256 * 2**20
"""Bytes that the disk of the results folder must have free before a run starts."""

PAUSES = (1.0, 5.0, 20.0, 60.0, 300.0)
"""Seconds to wait before a cell whose host was lost is tried again; after the last it is left to the next run."""

LOOK_AGAIN = 2.0
"""Seconds between looks at cells that another orchestrator runs: it may have died."""


@dataclass(frozen=True)
class Settings:
    """How to run: the results folder, cells without GPU at a time, seconds for a cell and a build, source of data."""

    results: Path
    jobs: int = 1
    deadline: float = 24 * 3600
    mirror: str | None = None
    build_deadline: float = 3 * 3600


@dataclass
class Tally:
    """What came of a run; ``elsewhere`` counts cells that other orchestrators ran meanwhile."""

    statuses: dict[str, int] = field(default_factory=dict)
    elsewhere: int = 0
    interrupted: bool = False
    error: RosettaError | None = None

    def add(self, status: str) -> None:
        """Count one more cell."""
        self.statuses[status] = self.statuses.get(status, 0) + 1

    @property
    def bad(self) -> int:
        """How many of the cells that ran did not end ok."""
        return sum(count for status, count in self.statuses.items() if status != Status.OK)


@dataclass(frozen=True)
class Shop:
    """What all cells of a run share."""

    engine: Engine
    settings: Settings
    host: Host
    slots: Slots
    claims: Claims
    builder: Builder
    folders: Mapping[str, Path]
    progress: Progress
    expected: history.Expected
    interruption: Interruption
    stopped: threading.Event = field(default_factory=threading.Event)


def run(
    planned: Sequence[Planned],
    engine: Engine,
    settings: Settings,
    host: Host,
    progress: Progress,
    interruption: Interruption | None = None,
) -> Tally:
    """Run every ready cell; whatever happens, what has finished is on disk and merged.

    Raises SelectionError or GpuError if nothing of the plan can ever run here, DiskError, DataError before the first
    cell. Cells whose image can't be built are left for the next run, and the tally has the error. Ctrl-C stops the
    containers it has started and returns a tally marked as interrupted.
    """
    refuse_hopeless(planned, host)
    prepare_folder(settings.results)
    claims = Claims(settings.results)
    impossible = [(p.cell, p.reason) for p in planned if p.verdict is Verdict.INCOMPATIBLE]
    with folder_to_itself(claims):
        results.write_incompatible(settings.results, impossible, engine.name)
    ready = [p for p in planned if p.verdict is Verdict.READY]
    merged, tally = settings.results / results.MERGED, Tally()
    unmerged = claims.forget_the_dead() or bool(ready) or not results.holds(merged, [p.cell for p in planned])
    me = claims.join()
    me.tell(host=engine.host, cells=len(ready), waiting=len(ready))
    try:
        remove_orphans(engine, claims)
        if ready:
            run_ready(ready, engine, settings, host, claims, progress, interruption or Interruption(), tally, me)
    finally:
        if ready:
            with suppress(EngineError):  # whatever it is, the next run removes what is left
                remove_orphans(engine, claims)
        if unmerged:
            with folder_to_itself(claims):
                results.merge([settings.results], merged)
        me.release()
        if unmerged:
            give_to_owner(settings.results)
    return tally


@contextmanager
def folder_to_itself(claims: Claims) -> Iterator[None]:
    """Files about the whole folder are read and written by one orchestrator at a time."""
    with filelocks.waited_for(claims.folder / f"{EVERYTHING}.lock"):
        yield


def refuse_hopeless(planned: Sequence[Planned], host: Host) -> None:
    """Raise if no cell of the selection can run on this machine: a run that does nothing helps nobody."""
    if any(p.verdict is not Verdict.INCOMPATIBLE for p in planned):
        return
    lacks_gpu = any(p.reason == plan.host_reason(p.cell.platform, p.cell.gpu, host) for p in planned)
    kind = GpuError if lacks_gpu else SelectionError
    what = f"None of the {len(planned)} selected cells can run on this machine."
    raise plan.hopeless(what, [p.reason for p in planned], kind)


def prepare_folder(folder: Path) -> None:
    """Make the results folder and see that there is room in it."""
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE:
        raise DiskError(
            f"The disk of {folder} has {free / 2**20:,.0f} MB free; a run needs at least {LEAST_FREE / 2**20:,.0f} MB.",
            remedy="Make room, or choose another folder with --results DIR.",
        )


def run_ready(
    ready: Sequence[Planned],
    engine: Engine,
    settings: Settings,
    host: Host,
    claims: Claims,
    progress: Progress,
    interruption: Interruption,
    tally: Tally,
    me: Claim,
) -> None:
    """Run the cells in rounds, in each the longest first, while images that later ones need are still being built."""
    expected = history.expected(settings.results)
    ordered = history.in_order(ready, expected)
    builder = Builder(engine, dict.fromkeys(p.image for p in ordered if p.image), settings.build_deadline, progress.say)
    try:
        folders = fetch_data(ordered, settings, progress)
        models = sorted({p.cell.gpu for p in ordered} - {"none"})
        slots = Slots(host, models, settings.jobs if any(p.cell.gpu == "none" for p in ordered) else 0)
        shop = Shop(engine, settings, host, slots, claims, builder, folders, progress, expected, interruption)
        shown = progress.running(ordered, expected, slots.count)
        with interruption.patience(), shown, cells_in_threads(shop) as submit:
            work_off(Queue(ordered, shop, tally), shop, submit, me)
    except KeyboardInterrupt:
        tally.interrupted = True
    finally:
        builder.close()


def work_off(queue: "Queue", shop: Shop, submit: Callable[..., "Future[str]"], me: Claim) -> None:
    """Start what can start, wait until something ends, until nothing is left; raises what a cell's thread raised."""
    pending: set[Future[Any]] = set()
    while True:
        shop.interruption.ask()
        for planned, claim, lease in queue.startable():
            pending.add(submit(run_cell, planned, claim, lease, shop))
        me.tell_seldom(waiting=len(queue), running=len(pending), building=len(shop.builder.building))
        if not pending and not queue:
            return
        # a wait with a limit, to see whether Ctrl-C has come, and to look at others' locks again
        done, _ = wait([*pending, *shop.builder.building], timeout=0.5, return_when=FIRST_COMPLETED)
        if not done and not pending:
            shop.stopped.wait(0.1)
        for future in pending & done:
            queue.tally.add(future.result())
        pending -= done


class Queue:
    """The cells that wait, in their order: a lane for those without GPU and one for each model."""

    def __init__(self, ordered: Sequence[Planned], shop: Shop, tally: Tally) -> None:
        self.shop, self.tally = shop, tally
        self._lanes: dict[str, deque[Planned]] = {}
        for planned in ordered:
            self._lanes.setdefault(planned.cell.gpu, deque()).append(planned)
        self._elsewhere: list[Planned] = []
        self._looked = time.monotonic()

    def __len__(self) -> int:
        return len(self._elsewhere) + sum(map(len, self._lanes.values()))

    def startable(self) -> Iterator[tuple[Planned, Claim, Lease]]:
        """Cells that can start now, each claimed and with what it holds while it runs."""
        self._look_again()
        for model, lane in self._lanes.items():
            while lane and (lease := self.shop.slots.take(model)):
                claimed = self._claimed(lane)
                if claimed is None:
                    self.shop.slots.give_back(lease, model)
                    break
                yield *claimed, lease

    def _claimed(self, lane: deque[Planned]) -> tuple[Planned, Claim] | None:
        """The first cell of a lane that can start and that nobody else runs; passes by those that are done or can't."""
        kept: list[Planned] = []
        try:
            while lane:
                planned = lane.popleft()
                if self._waits(planned):
                    kept.append(planned)
                elif claim := self._claim(planned):
                    return planned, claim
            return None
        finally:
            lane.extendleft(reversed(kept))

    def _waits(self, planned: Planned) -> bool:
        """Whether the cell has to wait for its image, or for the quiet that its clock needs."""
        assert planned.image is not None
        builder = self.shop.builder
        return not builder.error(planned.image) and (
            not builder.is_ready(planned.image) or (needs_quiet(planned.cell) and bool(builder.building))
        )

    def _claim(self, planned: Planned) -> Claim | None:
        """The claim of a cell; None, and the cell out of the way, if somebody else has it or its result is there."""
        assert planned.image is not None
        shop, cell = self.shop, planned.cell
        claim = shop.claims.take(planned.key)
        if claim is None:
            self._elsewhere.append(planned)
            return None
        error = shop.builder.error(planned.image)
        if result_of(planned, shop).is_file():  # since the plan was made
            self.tally.elsewhere += 1
            shop.progress.elsewhere(cell)
        elif error is not None:
            self.tally.error = self.tally.error or error
            outcome = Outcome(Status.FAILED, f"no image: {error}")
            self.tally.add(finish(planned, outcome, uuid.uuid4().hex, shop, lasting=False))
        else:
            return claim
        claim.release()
        return None

    def _look_again(self) -> None:
        """Put back the cells that another orchestrator was running, now and then: they are done, or it is dead."""
        if time.monotonic() - self._looked > LOOK_AGAIN:
            self._looked = time.monotonic()
            for planned in self._elsewhere:
                self._lanes[planned.cell.gpu].append(planned)
            self._elsewhere = []


def needs_quiet(cell: Cell) -> bool:
    """Whether builds beside it would spoil what the cell is about: seconds on a CPU, for the published length."""
    return cell.gpu == "none" and not cell.parity and not quality.is_shorter(cell.workload, quality.asked(cell))


@contextmanager
def cells_in_threads(shop: Shop) -> Iterator[Callable[..., "Future[str]"]]:
    """A pool whose cells are stopped, not waited for, when the run is interrupted."""
    pool = ThreadPoolExecutor(max_workers=max(1, shop.slots.count), thread_name_prefix="cell")
    try:
        yield pool.submit
    except BaseException:
        shop.stopped.set()
        shop.engine.stop()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()


def remove_orphans(engine: Engine, claims: Claims) -> None:
    """End cells of this results folder whose orchestrator is dead, so that nobody holds their claims."""
    for handle, label in engine.cells().items():
        key = claims.key_of(label)
        claim = claims.take(key) if key else None
        if claim is not None:
            engine.remove(handle)
            claim.release()


def fetch_data(ready: Sequence[Planned], settings: Settings, progress: Progress) -> Mapping[str, Path]:
    """The folder of each data set that the cells need, fetched if it is not there."""
    names = sorted(filter(None, {plan.dataset_of(p.cell) for p in ready}))
    return datasets.fetch(names, mirror=settings.mirror, say=progress.say) if names else {}


def run_cell(planned: Planned, claim: Claim, lease: Lease, shop: Shop) -> str:
    """Run one cell and write its row and its log; return its status."""
    assert planned.image is not None
    cell, folders = planned.cell, shop.folders
    gpus = tuple(gpu.uuid for gpu in lease.gpus)
    try:
        task = Task(
            cell,
            planned.image,
            planned.key,
            run="",
            gpus=gpus,
            data=folders.get(plan.dataset_of(cell) or ""),
            cores=lease.cores,
            deadline=shop.settings.deadline,
            memory=lease.memory,
            claim=shop.claims.label(planned.key),
        )
        facts = {"cell": cell.id, "repeat": cell.repeat, "data": cell.data, "host": shop.engine.host, "gpus": gpus}
        claim.tell(state="running", expected=shop.expected(cell), **facts)
        shop.progress.started(cell, lease)
        outcome, run = attempts(task, claim, shop)
        if shop.host.pretended and outcome.document is not None:
            outcome = replace(outcome, document=pretend(outcome.document, lease))
        if shop.engine.stopping and outcome.document is None:
            return "stopped"  # no result: it will be run again
        return finish(planned, outcome, run, shop, lasting=outcome.status is not Status.HOST_LOST)
    finally:
        claim.release()
        shop.slots.give_back(lease, cell.gpu)


def attempts(task: Task, claim: Claim, shop: Shop) -> tuple[Outcome, str]:
    """The outcome of a cell and the id of the attempt that had it: one, unless its host was lost meanwhile."""

    def on_event(event: Event) -> None:
        shop.progress.event(task.cell, event)
        claim.tell_seldom(**{name: event[name] for name in ("epoch", "epochs", "loss") if name in event})

    for pause in (*PAUSES, None):
        task = replace(task, run=uuid.uuid4().hex)
        claim.tell_seldom(state="running")
        before = surroundings.states(task.gpus)
        outcome = shop.engine.run(task, on_event)
        outcome = replace(outcome, gpus_before=before, gpus_after=surroundings.states(task.gpus))
        if outcome.status is not Status.HOST_LOST or pause is None or shop.engine.stopping:
            break
        shop.progress.again(task.cell, outcome.reason, pause)
        claim.tell(state="waiting for its host")
        if shop.stopped.wait(pause):
            break
        with suppress(RosettaError):  # the image may be what was lost; if it can't be had, the attempt says why
            shop.builder.once(task.image)
    return outcome, task.run


def finish(planned: Planned, outcome: Outcome, run: str, shop: Shop, *, lasting: bool) -> str:
    """Write the row of a cell and its log, whoever holds its claim; return its status.

    Not ``lasting`` is what was not the cell's own doing: it has a row, and is run again next time.
    """
    assert planned.image is not None
    engine, cell = shop.engine, planned.cell
    host = f"{engine.host} (pretended GPUs)" if shop.host.pretended and cell.gpu != "none" else engine.host
    row = results.row(cell, outcome, key=planned.key, run=run, engine=engine.name, image=planned.image, host=host)
    path = result_of(planned, shop)
    path.parent.mkdir(parents=True, exist_ok=True)
    for partial in path.parent.glob(f".{path.stem}.*.partial"):  # of an orchestrator that was killed
        partial.unlink(missing_ok=True)
    path.with_suffix(".log").write_text(outcome.log)
    # First the row of an earlier run that did not count goes: dying in between, the cell has none and is still ready.
    plan.passing_path(path).unlink(missing_ok=True)
    results.write_row(row, path if lasting else plan.passing_path(path))
    shop.progress.finished(cell, row)
    return str(row["status"])


def result_of(planned: Planned, shop: Shop) -> Path:
    """Where the result of a cell lies, once it is there."""
    return plan.result_path(shop.settings.results / "cells", planned.key, planned.cell.id)


def give_to_owner(folder: Path) -> None:
    """Hand everything below the results folder to the folder's owner, when root writes for somebody else."""
    owner = folder.stat()
    if os.getuid() != 0 or owner.st_uid == 0:
        return
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with suppress(FileNotFoundError):
                os.chown(Path(parent, name), owner.st_uid, owner.st_gid, follow_symlinks=False)
