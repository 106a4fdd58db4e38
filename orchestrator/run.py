"""Ready cells → results: builds what they need, fetches their data, runs them, writes one file each, merges."""

import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator import datasets, plan, results
from orchestrator.compatibility import Host
from orchestrator.contract import Status
from orchestrator.engines import Engine, Task
from orchestrator.errors import DiskError, GpuError, SelectionError
from orchestrator.plan import Planned, Verdict
from orchestrator.progress import Progress

LEAST_FREE = 256 * 2**20
"""Bytes that the disk of the results folder must have free before a run starts."""


@dataclass(frozen=True)
class Settings:
    """How to run: the results folder, cells at a time, seconds a cell may take, where data comes from."""

    results: Path
    jobs: int = 1
    deadline: float = 24 * 3600
    mirror: str | None = None


@dataclass
class Tally:
    """What came of a run."""

    statuses: dict[str, int] = field(default_factory=dict)
    interrupted: bool = False

    def add(self, status: str) -> None:
        """Count one more cell."""
        self.statuses[status] = self.statuses.get(status, 0) + 1

    @property
    def bad(self) -> int:
        """How many of the cells that ran did not end ok."""
        return sum(count for status, count in self.statuses.items() if status != Status.OK)


def run(planned: Sequence[Planned], engine: Engine, settings: Settings, host: Host, progress: Progress) -> Tally:
    """Run every ready cell; whatever happens, what has finished is on disk and merged.

    Raises SelectionError or GpuError if nothing of the plan can ever run here, DiskError, BuildError, DataError before
    the first cell. Ctrl-C stops the containers it has started and returns a tally marked as interrupted.
    """
    refuse_hopeless(planned, host)
    prepare_folder(settings.results)
    results.write_incompatible(
        settings.results, [(p.cell, p.reason) for p in planned if p.verdict is Verdict.INCOMPATIBLE], engine.name
    )
    ready = [p for p in planned if p.verdict is Verdict.READY]
    tally = Tally()
    try:
        if ready:
            run_ready(ready, engine, settings, host, progress, tally)
    finally:
        results.merge([settings.results], settings.results / "merged.parquet")
        give_to_owner(settings.results)
    return tally


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
    ready: Sequence[Planned], engine: Engine, settings: Settings, host: Host, progress: Progress, tally: Tally
) -> None:
    """Prepare images and data, then run the cells, ``jobs`` at a time and in the order of the plan."""
    try:
        engine.prepare(list(dict.fromkeys(p.image for p in ready if p.image)), progress.say)
        folders = fetch_data(ready, settings, progress)
        slots = Slots(host, settings.jobs)
        with progress.running(len(ready)), cells_in_threads(engine, settings.jobs) as submit:
            waiting = iter(ready)
            pending: set[Future[str]] = set()
            while True:
                for p in next_cells(waiting, settings.jobs - len(pending)):
                    pending.add(submit(run_cell, p, engine, settings, slots, folders, progress))
                if not pending:
                    break
                # a wait with a limit, since one without would not let Ctrl-C through
                finished, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
                for future in finished:
                    tally.add(future.result())
    except KeyboardInterrupt:
        tally.interrupted = True


def next_cells(waiting: Iterator[Planned], count: int) -> list[Planned]:
    """The next cells, at most ``count``."""
    return [p for _, p in zip(range(count), waiting, strict=False)]


@contextmanager
def cells_in_threads(engine: Engine, jobs: int) -> Iterator[Callable[..., "Future[str]"]]:
    """A pool whose cells are stopped, not waited for, when the run is interrupted."""
    pool = ThreadPoolExecutor(max_workers=jobs, thread_name_prefix="cell")
    try:
        yield pool.submit
    except BaseException:
        engine.stop()
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown()


def fetch_data(ready: Sequence[Planned], settings: Settings, progress: Progress) -> Mapping[str, Path]:
    """The folder of each data set that the cells need, fetched if it is not there."""
    names = sorted(filter(None, {plan.dataset_of(p.cell) for p in ready}))
    return datasets.fetch(names, mirror=settings.mirror, say=progress.say) if names else {}


class Slots:
    """Hands out GPUs by UUID and, where cells run side by side, cores by number; each to one cell at a time.

    Without cores of their own, cells that each start a thread per core would spend their time waiting for each other.
    """

    def __init__(self, host: Host, jobs: int) -> None:
        self._free = {model: list(uuids) for model, uuids in host.gpus.items()}
        cores = sorted(os.sched_getaffinity(0))
        share = max(1, len(cores) // jobs)
        shares = [tuple(cores[i : i + share]) for i in range(0, len(cores), share)]
        self._cores: list[tuple[int, ...]] = [shares[i % len(shares)] for i in range(jobs)] if jobs > 1 else [()]
        self._changed = threading.Condition()

    @contextmanager
    def cores(self) -> Iterator[tuple[int, ...]]:
        """Hold a share of the cores; there are as many as jobs. Empty means all."""
        with self._changed:
            cores = self._cores.pop()
        try:
            yield cores
        finally:
            with self._changed:
                self._cores.append(cores)

    @contextmanager
    def gpus(self, model: str) -> Iterator[tuple[str, ...]]:
        """Wait for a GPU of a model and hold it; none for ``none``."""
        if model == "none":
            yield ()
            return
        with self._changed:
            self._changed.wait_for(lambda: self._free[model])
            uuid_ = self._free[model].pop()
        try:
            yield (uuid_,)
        finally:
            with self._changed:
                self._free[model].append(uuid_)
                self._changed.notify_all()


def run_cell(
    planned: Planned,
    engine: Engine,
    settings: Settings,
    slots: Slots,
    folders: Mapping[str, Path],
    progress: Progress,
) -> str:
    """Run one cell and write its row and its log; return its status."""
    assert planned.image is not None
    cell = planned.cell
    data = folders.get(plan.dataset_of(cell) or "")
    with slots.gpus(cell.gpu) as gpus, slots.cores() as cores:
        task = Task(cell, planned.image, planned.key, uuid.uuid4().hex, gpus, data, cores, settings.deadline)
        progress.started(cell)
        outcome = engine.run(task, lambda event: progress.event(cell, event))
    if engine.stopping and outcome.document is None:
        return "stopped"  # no result: it will be run again
    row = results.row(
        cell, outcome, key=planned.key, run=task.run, engine=engine.name, image=planned.image, host=engine.host
    )
    path = plan.result_path(settings.results / "cells", planned.key, cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".log").write_text(outcome.log)
    results.write_row(row, path)
    progress.finished(cell, row)
    return str(row["status"])


def give_to_owner(folder: Path) -> None:
    """Hand everything below the results folder to the folder's owner, when root writes for somebody else."""
    owner = folder.stat()
    if os.getuid() != 0 or owner.st_uid == 0:
        return
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with suppress(FileNotFoundError):
                os.chown(Path(parent, name), owner.st_uid, owner.st_gid, follow_symlinks=False)
