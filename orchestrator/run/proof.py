"""Evidence before a number: on a card, the same image and script first prove there that they have the right model.

Once for each image, driver and model of card, in minutes at most: the parity of the workload, whose row lies among the
other comparisons with the reference. A cell whose proof fails is not timed, and says why.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.cell.cell import DEFAULTS, OWN, Cell
from orchestrator.cell.contract import Outcome, Status
from orchestrator.engines.protocol import Task
from orchestrator.errors import ResultError
from orchestrator.plan.keys import key
from orchestrator.plan.verdicts import Planned
from orchestrator.results.files import read_results, write_log, write_row
from orchestrator.results.paths import ResultsFolder, superseded_path
from orchestrator.results.rows import row_of
from orchestrator.run.context import ActiveRun
from orchestrator.system import file_locks
from orchestrator.system.gpus import version_of

LONGEST = 3600.0
"""Seconds that a proof may take: a few steps, and whatever the library compiles before them."""

UNPROVED_VARIANTS = ("pretrained",)
"""Variants that differ from the reference in nothing but their weights: the reference stands for them."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Proof:
    """What is known of an image on a card: ``said`` for the row of its cells, or the ``outcome`` they have instead."""

    said: str = ""
    outcome: Outcome | None = None


def is_needed(planned: Planned, active: ActiveRun) -> bool:
    """Whether a cell is to be timed on a card, or in an installation that is not ours, of which nobody knows anything.

    On a machine whose cards are only imagined nothing can be proved.
    """
    own, on_card = planned.cell.platform == OWN, planned.cell.gpu != "none"
    return not planned.cell.parity and (on_card or own) and not (on_card and active.host.imagined)


def proving(cell: Cell) -> Cell:
    """The comparison with the reference that stands for a cell: same script, image and card, a few steps in fp32."""
    variant = DEFAULTS["variant"] if cell.variant in UNPROVED_VARIANTS else cell.variant
    usual = replace(
        cell, variant=variant, data="synthetic", precision="fp32", repeat=0, epochs=None, samples=None, weights=""
    )
    return replace(usual, parity=True)


def prove(planned: Planned, task: Task, active: ActiveRun, run: Callable[[Task], Outcome]) -> Proof:
    """Find the proof of a cell's image on its card, or make it by ``run`` on the GPUs that the cell holds."""
    assert planned.image is not None
    cell = proving(planned.cell)
    name = key(cell, planned.image, active.engine.name, active.host.pretended)
    folder = ResultsFolder(active.settings.results).parity
    path = folder.result(name, cell.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_locks.waited_for(file_locks.host_folder() / f"proof-{name}.lock"):
        row = found(path, active)
        if row is None:
            active.progress.say(f"{cell.id}: not proved {where(cell)} yet; comparing with the reference first")
            comparison = replace(task, cell=cell, key=name, run=uuid.uuid4().hex, data=None, weights=None)
            row = made(comparison, path, active, run)
    return judged(row, where(cell))


def where(cell: Cell) -> str:
    """Where a proof holds."""
    return "on this card" if cell.gpu != "none" else "in this installation"


def found(path: Path, active: ActiveRun) -> Row | None:
    """The row of an earlier proof if it is of this driver; else it is kept under another name."""
    if not path.is_file():
        return None
    try:
        (row,) = read_results(path).to_pylist()
        if row["driver"] is None or not active.host.driver or version_of(row["driver"]) == active.host.driver:
            return dict(row)
    except (ResultError, ValueError):
        pass  # a damaged file proves nothing
    path.rename(superseded_path(path))
    return None


def made(task: Task, path: Path, active: ActiveRun, run: Callable[[Task], Outcome]) -> Row:
    """Compare with the reference now; a card or host that is lost meanwhile leaves no file."""
    outcome = run(replace(task, deadline=min(task.deadline, LONGEST)))
    host = outcome.host or active.engine.host
    row = row_of(
        task.cell,
        outcome,
        key=task.key,
        run=task.run,
        engine=active.engine.name,
        image=task.image.columns,
        host=f"{host} (pretended GPUs)" if active.host.pretended else host,
    )
    if row["status"] != Status.HOST_LOST and not active.engine.stopping:
        write_log(outcome.log, path)
        write_row(row, path)
    return row


def judged(row: Row, where: str) -> Proof:
    """What a comparison's row means for the cells that wait for it."""
    if row["status"] == Status.OK:
        return Proof(f"parity {where}, run {row['run']}")
    if row["status"] == Status.HOST_LOST:
        return Proof(outcome=Outcome(Status.HOST_LOST, f"lost while it was proved: {row['reason']}"))
    return Proof(outcome=Outcome(Status.FAILED, f"not proved {where}, so not timed: {row['reason']}"))
