"""Cells under their library's own profiler, one after another, in place of being timed.

Each is claimed and gets its image, data and GPU as in any other run. What comes of it lies beside the results.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.cell.contract import Outcome
from orchestrator.cell.parameters import dataset_of
from orchestrator.data import datasets
from orchestrator.engines.protocol import Engine, Task
from orchestrator.errors import GpuError, SelectionError
from orchestrator.plan.verdicts import Planned, Verdict
from orchestrator.results.claims import Claims
from orchestrator.results.files import write_log
from orchestrator.results.paths import ResultsFolder
from orchestrator.results.profiles import write_profile
from orchestrator.run.running import give_to_owner, prepare_folder, refuse_hopeless, remove_orphans
from orchestrator.system.host import Host
from orchestrator.system.terminal import Say


@dataclass(frozen=True)
class Profiled:
    """A cell and what came of it; ``trace`` is the path of its trace, None where there is no profile."""

    planned: Planned
    outcome: Outcome
    trace: Path | None = None


@dataclass(frozen=True)
class Settings:
    """How to profile: steps to record, the results folder, seconds for a cell, source of data."""

    steps: int
    results: Path
    deadline: float
    mirror: str | None = None


def profile(planned: Sequence[Planned], engine: Engine, settings: Settings, host: Host, say: Say) -> Iterator[Profiled]:
    """Profile every cell that can run; yields each as soon as it has ended.

    Raises SelectionError or GpuError if none can, BuildError, DataError, DiskError.
    """
    refuse_hopeless(planned, host)
    if shared := [each.cell for each in planned if each.cell.n_gpus > 1]:
        what = f"{shared[0].id} runs in several processes, each with a trace of its own."
        raise SelectionError(what, remedy="Profile the cell on one GPU: its steps do the same there.")
    wanted = [each for each in planned if each.verdict is not Verdict.INCOMPATIBLE]
    prepare_folder(settings.results)
    claims = Claims(settings.results)
    remove_orphans(engine, claims)
    engine.prepare(list(dict.fromkeys(each.image for each in wanted if each.image)), say)
    names = sorted(filter(None, {dataset_of(each.cell) for each in wanted}))
    folders = datasets.fetch(names, mirror=settings.mirror, say=say) if names else {}
    try:
        for each in wanted:
            assert each.image is not None
            say(f"{each.cell.id}: profiling, recording {settings.steps} steps")
            data = folders.get(dataset_of(each.cell) or "")
            task = Task(each.cell, each.image, each.key, run="", data=data, profile=settings.steps)
            yield kept(each, run_claimed(replace(task, deadline=settings.deadline), engine, claims, host), settings)
    finally:
        give_to_owner(settings.results)


def run_claimed(task: Task, engine: Engine, claims: Claims, host: Host) -> Outcome:
    """Run a cell's task with its claim and the GPU that it needs; raises RosettaError if somebody else has one."""
    cell = task.cell
    claim = claims.take(task.key)
    if claim is None:
        raise SelectionError(
            f"{cell.id} is running already.", remedy="Wait for it: 'rosetta status' shows when it ends."
        )
    slots = engine.slots(host, {cell.gpu} - {"none"}, int(cell.gpu == "none"))
    try:
        lease = slots.take(cell.gpu)
        if lease is None:
            raise GpuError(
                f"Every {cell.gpu} is in use by another cell.", remedy="Wait: 'rosetta status' shows until when."
            )
        try:
            claim.update(state="profiled", cell=cell.id, repeat=cell.repeat, data=cell.data, host=engine.host)
            gpus = tuple(gpu.uuid for gpu in lease.gpus)
            held = replace(task, gpus=gpus, cores=lease.cores, memory=lease.memory, claim=claims.label(task.key))
            return engine.run(held, lambda event: None)
        finally:
            slots.give_back(lease, cell.gpu)
    finally:
        claim.release()


def kept(planned: Planned, outcome: Outcome, settings: Settings) -> Profiled:
    """Write what was recorded of a cell, or its log if nothing was."""
    cell = planned.cell.id
    if outcome.recording is not None:
        return Profiled(planned, outcome, write_profile(outcome.recording, settings.results, cell))
    path = ResultsFolder(settings.results).profile(cell)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_log(outcome.log, path)
    return Profiled(planned, outcome)
