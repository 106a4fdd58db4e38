"""Ready cells → results: builds what they need, fetches their data, runs them, writes one file each, merges.

docs/running.md says what users can rely on, docs/architecture.md why every point at which a run can die is safe.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from orchestrator.cell.parameters import dataset_of
from orchestrator.data import datasets, given_weights
from orchestrator.engines.protocol import Engine, with_cores
from orchestrator.errors import DiskError, EngineError, GpuError, ResultError, SelectionError
from orchestrator.plan import verdicts
from orchestrator.plan.verdicts import Planned, Verdict
from orchestrator.results.claims import Claims
from orchestrator.results.files import holds, preload, write_incompatible
from orchestrator.results.merging import merge
from orchestrator.results.paths import ResultsFolder
from orchestrator.run import order
from orchestrator.run.builds import Builder
from orchestrator.run.context import ActiveRun, Run, Settings, Tally
from orchestrator.run.progress import Progress
from orchestrator.run.scheduling import Queue
from orchestrator.system.host import Host
from orchestrator.system.signals import Interruption
from orchestrator.system.text_files import disk_errors
from orchestrator.system.words import counted

LEAST_FREE = 256 * 2**20
"""Bytes that the disk of the results folder must have free before a run starts."""

MOST_AT_A_TIME = 1024
"""Threads of cells, made as they are needed: what runs at a time is up to the slots, which may become more."""


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
    ready = [p for p in planned if p.verdict is Verdict.READY]
    given_weights.check(p.cell for p in ready)
    prepare_folder(settings.results)
    if not ready:
        done = sum(p.verdict is Verdict.DONE for p in planned)
        progress.say(f"{counted(done, 'cell')} ran before, and none is left; '--rerun all' runs them again")
    claims = Claims(settings.results)
    impossible = [(p.cell, p.reason) for p in planned if p.verdict is Verdict.INCOMPATIBLE]
    with claims.folder_to_itself():
        write_incompatible(settings.results, impossible, engine.name)
    merged, tally = ResultsFolder(settings.results).merged, Tally()
    unmerged = claims.forget_the_dead() or bool(ready) or not holds(merged, [p.cell for p in planned])
    own_claim = claims.join()
    own_claim.update(host=engine.host, cells=len(ready), waiting=len(ready))
    try:
        remove_orphans(engine, claims)
        if ready:
            base = Run(engine, settings, host, claims, progress, interruption or Interruption(), own_claim)
            run_ready(ready, base, tally)
    finally:
        with ThreadPoolExecutor(1) as beside:
            removed = beside.submit(remove_orphans, engine, claims, own_claim.name) if ready else None
            vanished = not claims.is_there()
            if unmerged:
                with claims.folder_to_itself():
                    merge([settings.results], merged, progress.say)
        with suppress(EngineError):  # whatever it is, the next run removes what is left
            if removed:
                removed.result()
        own_claim.release()
        if unmerged:
            give_to_owner(settings.results)
    if vanished:
        tally.error = tally.error or ResultError(
            f"The results folder {settings.results} was removed or replaced during the run.",
            "The results written to it are lost.",
            "Run the command again: finished cells are not run again.",
        )
    return tally


def refuse_hopeless(planned: Sequence[Planned], host: Host) -> None:
    """Raise if no cell of the selection can run on this machine: a run that does nothing helps nobody."""
    if any(p.verdict is not Verdict.INCOMPATIBLE for p in planned):
        return
    kind = GpuError if any(p.lacks_gpu for p in planned) else SelectionError
    what = "No selected cell can run on this machine."
    raise verdicts.hopeless(what, [p.reason for p in planned], kind)


def prepare_folder(folder: Path) -> None:
    """Make the results folder and see that it can be written and has room."""
    with disk_errors(folder, "Correct its owner or mode, or choose another folder with --results DIR."):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    if free < LEAST_FREE:
        raise DiskError(
            f"The disk with {folder} has {free / 2**20:,.0f} MB free; a run needs {LEAST_FREE / 2**20:,.0f} MB.",
            remedy="Free some space, or choose another folder with --results DIR.",
        )


def run_ready(ready: Sequence[Planned], base: Run, tally: Tally) -> None:
    """Run the cells in rounds, in each the longest first, while images that later ones need are still being built."""
    settings, say = base.settings, base.progress.say
    expected = order.expected(settings.results)
    ordered = order.in_order(ready, expected)
    builder = Builder(base.engine, dict.fromkeys(p.image for p in ordered if p.image), settings.build_deadline, say)
    try:
        with base.interruption.patience():
            builder.start()
        base.interruption.ask()
        folders = fetch_data(ordered, base)
        models = sorted({p.cell.gpu for p in ordered} - {"none"})
        cpu_cells = settings.jobs if any(p.cell.gpu == "none" for p in ordered) else 0
        slots = with_cores(base.engine.slots(base.host, models, cpu_cells), settings.cores)
        active = ActiveRun(**vars(base), slots=slots, builder=builder, folders=folders, expected=expected)
        shown = active.progress.running(ordered, expected, slots.count)
        with active.interruption.patience(), shown, cells_in_threads(active) as submit:
            submit(preload)
            work_off(Queue(ordered, active, tally), active, submit)
    except KeyboardInterrupt:
        tally.interrupted = True
        base.engine.stopping = True  # for builds that wait for another program's
    finally:
        builder.close()


def work_off(queue: Queue, active: ActiveRun, submit: Callable[..., "Future[str]"]) -> None:
    """Start what can start, wait until something ends, until nothing is left; raises what a cell's thread raised."""
    pending: set[Future[Any]] = set()
    while True:
        active.interruption.ask()
        pending |= {submit(work) for work in queue.startable()}
        active.own_claim.update_now_and_then(
            waiting=len(queue), running=len(pending), building=len(active.builder.building)
        )
        if not pending and not queue:
            return
        # with a timeout, to notice Ctrl-C and look at others' locks again
        done, _ = wait([*pending, *active.builder.building], timeout=0.5, return_when=FIRST_COMPLETED)
        if not done and not pending:
            active.stopped.wait(0.1)
        for future in pending & done:
            active.interruption.ask()  # what Ctrl-C has ended raises no error of its own
            if status := future.result():
                queue.tally.add(status)
        pending -= done


@contextmanager
def cells_in_threads(active: ActiveRun) -> Iterator[Callable[..., "Future[str]"]]:
    """A pool whose cells are stopped, not waited for, when the run is interrupted."""
    pool = ThreadPoolExecutor(MOST_AT_A_TIME, thread_name_prefix="cell")
    with active.engine.working_beside():
        try:
            yield pool.submit
        except BaseException as error:
            active.stopped.set()
            try:
                (active.engine.leave if isinstance(error, Exception) else active.engine.stop)()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
            raise
        pool.shutdown()


def remove_orphans(engine: Engine, claims: Claims, own: str = "") -> None:
    """End cells of this results folder whose orchestrator is dead, and what dead ones shared among their cells.

    That of one's ``own`` claim goes too.
    """
    for handle, label in engine.cells().items():
        key = claims.key_of(label)
        if key and key == own:
            engine.remove(handle)
        elif key and (claim := claims.take(key)):
            engine.remove(handle)
            claim.release()


def fetch_data(ready: Sequence[Planned], base: Run) -> Mapping[str, Path]:
    """The folder of each data set that the cells need, fetched if it is not there."""
    names = sorted(filter(None, {dataset_of(p.cell) for p in ready}))
    return datasets.fetch(names, mirror=base.settings.mirror, say=base.progress.say) if names else {}


def give_to_owner(folder: Path) -> None:
    """Hand everything below the results folder to the folder's owner, when root writes for somebody else."""
    owner = folder.stat()
    if os.getuid() != 0 or owner.st_uid == 0:
        return
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with suppress(FileNotFoundError):
                if os.lstat(os.path.join(parent, name)).st_nlink > 1 and name in files:
                    continue  # a hard link to a file that may be anybody's
                os.chown(Path(parent, name), owner.st_uid, owner.st_gid, follow_symlinks=False)
