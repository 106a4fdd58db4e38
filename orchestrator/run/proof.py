"""Evidence before a number: on a card, the same image and script first prove there that they have the right model.

Once for each image, driver and model of card, in minutes at most: the parity of the workload, whose row lies among the
other comparisons with the reference. A cell whose proof fails is not timed, and says why. On a CPU it is made for what
may be ranked, real data of the published length; one that `rosetta parity` has left in the same results folder counts.
"""

import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.cell.cell import DEFAULTS, OWN, Cell
from orchestrator.cell.contract import Outcome, Status
from orchestrator.engines.protocol import Task
from orchestrator.errors import ResultError
from orchestrator.plan.keys import key, key_in
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
    """Whether a cell is to be timed on a card, in an installation that is not ours, or on a CPU and may be ranked.

    ``Settings.proof`` decides for all cells on a CPU. On a machine whose cards are only imagined nothing can be proved.
    """
    cell = planned.cell
    on_card, ranked = cell.gpu != "none", cell.data == "real" and cell.epochs is None and cell.samples is None
    on_cpu = ranked if active.settings.proof is None else active.settings.proof
    asked = on_card or cell.platform == OWN or on_cpu
    return not cell.parity and asked and not (on_card and active.host.imagined)


def proving(cell: Cell) -> Cell:
    """The comparison with the reference that stands for a cell: same script, image and card, a few steps in fp32."""
    variant = DEFAULTS["variant"] if cell.variant in UNPROVED_VARIANTS else cell.variant
    usual = replace(
        cell, variant=variant, data="synthetic", precision="fp32", repeat=0, epochs=None, samples=None, weights=""
    )
    return replace(usual, parity=True)


def prove(planned: Planned, task: Task, active: ActiveRun, run: Callable[[Task], Outcome]) -> Proof:
    """Find the proof of a cell's image on its card, or make it by ``run`` on the GPUs that the cell holds."""
    cell = proving(planned.cell)
    name, path = place_of(cell, planned, active)
    path.parent.mkdir(parents=True, exist_ok=True)
    with file_locks.waited_for(file_locks.host_folder() / f"proof-{name}.lock"):
        row, when = found(path, active), ""
        if row is None:
            when = "just before"
            active.progress.say(f"{cell.id}: not proved {where(cell)} yet; comparing with the reference first")
            comparison = replace(task, cell=cell, key=name, run=uuid.uuid4().hex, data=None, weights=None)
            row = made(comparison, path, active, run)
    return judged(row, where(cell), when or age(row))


def known(planned: Planned, active: ActiveRun) -> str:
    """What is said of a cell on a CPU whose image and script have passed parity before; empty if they have not.

    All runs of `rosetta parity` that lie there have to be good, and the same to the last digit.
    """
    if planned.cell.parity or planned.cell.gpu != "none":
        return ""
    cell = proving(planned.cell)
    paths = [place_of(replace(cell, repeat=repeat), planned, active)[1] for repeat in range(RUNS)]
    rows = [read(path) for path in paths if path.is_file()]
    good = [row for row in rows if row and row["status"] == Status.OK]
    alike = len({row["parity"] for row in good}) == 1 and len(good) == len(rows)
    return judged(good[0], where(cell), age(good[0])).said if alike else ""


RUNS = 3
"""Of a cell by `rosetta parity`, unless somebody asks for others."""


def place_of(cell: Cell, planned: Planned, active: ActiveRun) -> tuple[str, Path]:
    """The key and the file of a comparison with the reference, as `rosetta parity` has them."""
    assert planned.image is not None
    pretended = active.host.pretended and cell.gpu != "none"
    if planned.digest:
        name = key_in(planned.digest, cell)
    else:
        name = key(cell, planned.image, active.engine.name, pretended, planned.base)
    return name, ResultsFolder(active.settings.results).parity.result(name, cell.id)


def age(row: Row) -> str:
    """How long ago a comparison was made."""
    days = int((time.time() - row["started"]) // 86400) if row["started"] else 0
    return f"{days} day{'s' if days != 1 else ''} before" if days > 0 else "less than a day before"


def read(path: Path) -> Row | None:
    """The row of an earlier comparison, its start in seconds; None for a damaged file, which proves nothing."""
    try:
        table = read_results(path)
        (row,) = table.drop_columns("started").to_pylist()  # to make a time of it, Arrow would import pandas
        started = table["started"].cast("int64").to_pylist()[0]
    except (ResultError, ValueError):
        return None
    return {**row, "started": started / 1e6 if started else None}


def where(cell: Cell) -> str:
    """Where a proof holds."""
    if cell.gpu != "none":
        return "on this card"
    return "in this installation" if cell.platform == OWN else "of this script and image"


def found(path: Path, active: ActiveRun) -> Row | None:
    """The row of an earlier proof if it is of this driver; else it is kept under another name."""
    if not path.is_file():
        return None
    row = read(path)
    with suppress(ValueError):
        if row and (not row["driver"] or not active.host.driver or version_of(row["driver"]) == active.host.driver):
            return row
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


def judged(row: Row, where: str, when: str) -> Proof:
    """What a comparison's row means for the cells that wait for it."""
    if row["status"] == Status.OK:
        return Proof(f"parity {where}, run {row['run']}, {when}")
    if row["status"] == Status.HOST_LOST:
        return Proof(outcome=Outcome(Status.HOST_LOST, f"lost while it was proved: {row['reason']}"))
    return Proof(outcome=Outcome(Status.FAILED, f"not proved {where}, so not timed: {row['reason']}"))
