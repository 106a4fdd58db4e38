"""One cell: from its claim to its row."""

import uuid
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Outcome, Status
from orchestrator.cell.events import Epoch, Event
from orchestrator.cell.parameters import dataset_of
from orchestrator.engines.pretended import pretend
from orchestrator.engines.protocol import Engine, OnEvent, Placed, Queued, Task
from orchestrator.errors import RosettaError
from orchestrator.plan.verdicts import Planned
from orchestrator.results.claims import Claim
from orchestrator.results.files import write_log, write_row
from orchestrator.results.paths import ResultsFolder, partials_of, passing_path
from orchestrator.results.rows import row_of
from orchestrator.run import proof
from orchestrator.run.context import ActiveRun
from orchestrator.run.proof import Proof
from orchestrator.run.proof_files import PRETENDED
from orchestrator.system.slots import Lease

PAUSES = (1.0, 5.0, 20.0, 60.0, 300.0)
"""Seconds to wait before retrying a cell whose host was lost; after the last it is left to the next run."""


def prove_cell(planned: Planned, claim: Claim, lease: Lease, active: ActiveRun) -> bool:
    """Compare a cell's script and image with the reference, before any cell is timed that the comparison would disturb.

    Returns whether it was made now: it may be there already. What came of it lies among the proofs.
    """
    try:
        task = task_of(planned, claim, lease, active, state="proving")
        with active.progress.proving(planned.cell, lease):
            return prove(planned, task, claim, active).is_new
    finally:
        claim.release()
        active.slots.give_back(lease, planned.cell.gpu)


def prove(planned: Planned, task: Task, claim: Claim, active: ActiveRun) -> Proof:
    """Find or make the proof of a cell, with its claim and on what it holds."""
    return proof.prove(planned, task, active, lambda asked: run_attempts(asked, claim, active, planned.cell)[0])


def task_of(planned: Planned, claim: Claim, lease: Lease, active: ActiveRun, state: str) -> Task:
    """Return what the engine needs to run a cell with its lease, and write into its claim what is done for it."""
    assert planned.image is not None
    cell, gpus = planned.cell, tuple(gpu.uuid for gpu in lease.gpus)
    task = Task(
        cell,
        planned.image,
        planned.key,
        run="",
        gpus=gpus,
        data=active.folders.get(dataset_of(cell) or ""),
        weights=active.settings.weights if cell.weights else None,
        cores=lease.cores,
        deadline=active.settings.deadline,
        memory=lease.memory,
        claim=active.claims.label(planned.key),
        owner=active.claims.label(active.own_claim.name),
        expected=active.expected(cell),
    )
    facts = {"cell": cell.id, "repeat": cell.repeat, "data": cell.data, "host": active.engine.host, "gpus": gpus}
    claim.update(state=state, expected=task.expected, **facts)
    return task


def run_cell(planned: Planned, claim: Claim, lease: Lease, active: ActiveRun) -> str:
    """Run one cell and write its row and its log; return its status."""
    cell = planned.cell
    try:
        task = task_of(planned, claim, lease, active, state="running")
        active.progress.started(cell, lease)
        proved = Proof(proof.known(planned, active))
        if proof.is_needed(planned, active):
            proved = prove(planned, task, claim, active)
        outcome, run = (proved.outcome, uuid.uuid4().hex) if proved.outcome else run_attempts(task, claim, active, cell)
        if active.host.pretended and outcome.document is not None:
            outcome = replace(outcome, document=pretend(outcome.document, lease))
        if active.is_ending and outcome.document is None:
            return "stopped"  # no result: it will be run again
        lasting = outcome.status is not Status.HOST_LOST and not proved.outcome
        said = proof.said_of(proved, outcome)
        if proved.said and not said:
            active.progress.say(f"{cell.id}: the driver changed after its proof, so it counts as not proved")
        return finish(planned, outcome, run, active, lasting=lasting, proved=said)
    finally:
        claim.release()
        active.slots.give_back(lease, cell.gpu)


def run_attempts(task: Task, claim: Claim, active: ActiveRun, cell: Cell) -> tuple[Outcome, str]:
    """Run a task, retrying if its host is lost; returns the outcome and the id of the attempt that had it.

    Progress is shown for ``cell``: a task may also be the proof that its cell waits for.
    """

    def on_event(event: Event | Placed | Queued) -> None:
        if isinstance(event, Queued):
            claim.update(state=event.state)
            return active.progress.queued(cell, event)
        if isinstance(event, Placed):
            claim.update(state="running", **vars(event))
            return active.progress.placed(cell, event)
        active.progress.event(cell, event)
        if isinstance(event, Epoch):
            claim.update_now_and_then(epoch=event.epoch, epochs=event.epochs, loss=event.loss)

    for pause in (*PAUSES, None):
        task = replace(task, run=uuid.uuid4().hex)
        claim.update_now_and_then(state="running")
        outcome = whatever_it_does(active.engine, task, on_event)
        if outcome.status is not Status.HOST_LOST or pause is None or active.is_ending:
            break
        active.progress.again(cell, outcome.reason, pause)
        claim.update(state="waiting for its host")
        if active.stopped.wait(pause):
            break
        with suppress(RosettaError):  # the image may be what was lost; if it can't be had, the attempt says why
            active.builder.once(task.image)
    return outcome, task.run


def whatever_it_does(engine: Engine, task: Task, on_event: OnEvent) -> Outcome:
    """Run a task and return its outcome. If what its cell says or leaves can't be processed, that cell has failed.

    Raises OSError and RosettaError, which are not the cell's doing.
    """
    try:
        return engine.run(task, on_event)
    except (RosettaError, OSError):
        raise
    except Exception as error:
        return Outcome(Status.FAILED, f"its output or result can't be processed: {type(error).__name__}: {error}"[:300])


def finish(planned: Planned, outcome: Outcome, run: str, active: ActiveRun, *, lasting: bool, proved: str = "") -> str:
    """Write the row of a cell and its log, whoever holds its claim; return its status.

    Without ``lasting``, it was not the cell's own doing: it has a row, and is run again next time. ``proved`` says how
    its image was proved on its card.
    """
    assert planned.image is not None
    engine, cell = active.engine, planned.cell
    host = outcome.host or engine.host
    if active.host.pretended and cell.gpu != "none":
        host += PRETENDED
    row = row_of(cell, outcome, key=planned.key, run=run, engine=engine.name, image=planned.columns, host=host)
    row["proof"] = proved or None
    path = result_of(planned, active)
    path.parent.mkdir(parents=True, exist_ok=True)
    for partial in partials_of(path):  # of an orchestrator that was killed
        partial.unlink(missing_ok=True)
    write_log(outcome.log, path)
    # First remove the row of an earlier run that did not count: if we die in between, the cell is still ready.
    passing_path(path).unlink(missing_ok=True)
    write_row(row, path if lasting else passing_path(path))
    outcome.settled()
    active.progress.finished(cell, row)
    return str(row["status"])


def result_of(planned: Planned, active: ActiveRun) -> Path:
    """Return the path of a cell's result, once it is there."""
    return ResultsFolder(active.settings.results).result(planned.key, planned.cell.id)
