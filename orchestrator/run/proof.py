"""Evidence before a number: on a card, the same image and script first prove there that they have the right model.

Once for each image, driver and model of card, in minutes at most: the parity of the workload, whose row lies among the
other comparisons with the reference. A cell whose proof fails is not timed, and says why. On a CPU it is made for what
may be ranked, real data of the published length; one that `rosetta parity` has left in the same results folder counts.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from orchestrator.cell.cell import OWN, Cell, proved_as
from orchestrator.cell.contract import Outcome, Status
from orchestrator.engines.output import stopped
from orchestrator.engines.protocol import Task
from orchestrator.plan.verdicts import Planned
from orchestrator.results.files import forget
from orchestrator.results.paths import ResultsFolder
from orchestrator.results.rows import row_of
from orchestrator.run import proof_files
from orchestrator.run.context import ActiveRun
from orchestrator.run.proof_files import PRETENDED, VERDICTS, Row, Wanted, driver_in
from orchestrator.system import file_locks
from orchestrator.system.gpus import Version, driver_text

LONGEST = 3600.0
"""Seconds that a proof may take, whatever its cell may: a few steps, and what the library compiles before them."""

LOOK = 1.0
"""Seconds between looks whether another host has made a proof; on one host, one of all looks."""


@dataclass(frozen=True)
class Proof:
    """What is known of an image on a card: ``said`` for the row of its cells, or the ``outcome`` they have instead.

    ``driver`` is the one it was proved with; empty on a CPU. ``is_new`` tells one made now from one found.
    """

    said: str = ""
    outcome: Outcome | None = None
    driver: Version = ()
    is_new: bool = False


def is_needed(planned: Planned, active: ActiveRun) -> bool:
    """Whether a cell is proved first; on a machine with imagined cards none can be."""
    cell = planned.cell
    return is_asked(cell, active.settings.proof) and not (cell.gpu != "none" and active.host.imagined)


def is_asked(cell: Cell, decided: bool | None) -> bool:
    """Whether a cell is to be timed on a card, in an installation that is not ours, or on a CPU and may be ranked.

    ``decided`` is ``Settings.proof``: it decides for all cells on a CPU.
    """
    ranked = cell.data == "real" and cell.epochs is None and cell.samples is None
    on_cpu = ranked if decided is None else decided
    return not cell.parity and (cell.gpu != "none" or cell.platform == OWN or on_cpu)


def proving(cell: Cell) -> Cell:
    """The comparison with the reference that stands for a cell: same script, image and card, a few steps in fp32."""
    variant = proved_as(cell.variant)
    usual = replace(
        cell, variant=variant, data="synthetic", precision="fp32", repeat=0, epochs=None, samples=None, weights=""
    )
    return replace(usual, parity=True)


def prove(planned: Planned, task: Task, active: ActiveRun, run: Callable[[Task], Outcome]) -> Proof:
    """Find the proof of a cell's image on its card, or make it by ``run`` on the GPUs that the cell holds.

    What failed for a passing reason is not tried again in the same run. Another orchestrator may be making it: that is
    waited for, but not once the run is stopped.
    """
    wanted = proof_files.wanted(proving(planned.cell), planned, active)
    place = where(wanted.cell)
    lock = file_locks.host_folder() / f"proof-{wanted.key}.lock"
    with file_locks.waited_for(lock, lambda: active.is_ending), its_turn(wanted, active) as has_come:
        if not has_come:
            return Proof(outcome=stopped())
        if row := proof_files.found(wanted):
            return judged(row, place, age(row))
        if row := active.unproved.get(wanted.key):
            return judged(row, place, "just before")
        active.progress.say(f"{planned.cell.id}: not proved {place} yet; comparing with the reference first")
        row = made(wanted, replace(task, cell=wanted.cell, run=uuid.uuid4().hex), active, run)
        if row["status"] not in (*VERDICTS, Status.HOST_LOST):
            active.unproved[wanted.key] = row
    return replace(judged(row, place, "just before"), is_new=True)


@contextmanager
def its_turn(wanted: Wanted, active: ActiveRun) -> Iterator[bool]:
    """Hold the claim of a proof, among all hosts that share the folder; yields False if the run ends before."""
    claim = None
    while not active.is_ending and (claim := active.claims.take(f"proof-{wanted.key}")) is None:
        active.stopped.wait(LOOK)
    try:
        yield claim is not None
    finally:
        if claim is not None:
            claim.release()


def known(planned: Planned, active: ActiveRun) -> str:
    """Return what is said of a CPU cell whose image and script have passed parity before; empty if they have not.

    The proof and all runs of `rosetta parity` that lie there have to be good, and the same to the last digit.
    """
    if planned.cell.parity or planned.cell.gpu != "none":
        return ""
    cell = proving(planned.cell)
    first, rows = proof_files.wanted(cell, planned, active), []
    if row := proof_files.row_under(first.name, first):
        rows.append(row)
    for repeat in count():  # a proof takes RUNS, a user may ask for more
        asked = proof_files.wanted(replace(cell, repeat=repeat), planned, active)
        if row := proof_files.row_under(asked.key, asked):
            rows.append(row)
        elif repeat >= RUNS:
            break
    good = [row for row in rows if row["status"] == Status.OK and proof_files.is_verdict(row)]
    alike = len({row["parity"] for row in good}) == 1 and len(good) == len(rows)
    return judged(good[0], where(cell), age(good[0])).said if alike else ""


RUNS = 3
"""Rounds of a cell by `rosetta parity`, unless the user asks for another number."""


def set_aside(cells: Iterable[Cell], folder: Path, what: str, decided: bool | None) -> None:
    """Make the proofs of cells run again, as the cells are: what is not ok (``failed``), or ``all``."""
    forget(ResultsFolder(folder).parity.path, {proving(cell) for cell in cells if is_asked(cell, decided)}, what)


def age(row: Row) -> str:
    """Say how long ago a comparison was made."""
    days = int((time.time() - row["started"]) // 86400) if row["started"] else 0
    return f"{days} day{'s' if days != 1 else ''} before" if days > 0 else "less than a day before"


def where(cell: Cell) -> str:
    """Say where a proof holds."""
    if cell.gpu != "none":
        return "on this card"
    return "in this installation" if cell.platform == OWN else "of this script and image"


def made(wanted: Wanted, task: Task, active: ActiveRun, run: Callable[[Task], Outcome]) -> Row:
    """Compare with the reference now; a card or host that is lost meanwhile leaves no file.

    Driver and image are those that it ran with: of several nodes, nobody knows beforehand which will run it.
    """
    task = replace(task, key=wanted.key, data=None, weights=None, deadline=LONGEST, expected=None)
    outcome, engine = run(task), active.engine
    if wanted.on_card:
        wanted = replace(wanted, driver=driver_of(outcome) or wanted.driver)
    wanted = replace(wanted, digest=outcome.image_digest or wanted.digest)
    host = (outcome.host or engine.host) + (PRETENDED if wanted.pretended else "")
    facts: dict[str, Any] = {"engine": engine.name, "image": wanted.image, "host": host}
    row = row_of(task.cell, outcome, key=wanted.name, run=task.run, **facts)
    if not driver_in(row["driver"]):
        row["driver"] = driver_text(wanted.driver) or None
    if row["status"] != Status.HOST_LOST and not active.is_ending:
        proof_files.keep(row, outcome.log, wanted)
        outcome.settled()
    return row


def driver_of(outcome: Outcome) -> Version:
    """The driver that a cell has seen; empty if it left no document, or had no card."""
    gpus = outcome.document.environment.gpus if outcome.document else []
    return driver_in(gpus[0].driver) if gpus else ()


def judged(row: Row, where: str, when: str) -> Proof:
    """Return what a comparison's row means for the cells that wait for it."""
    if row["status"] == Status.OK:
        return Proof(f"parity {where}, run {row['run']}, {when}", driver=driver_in(row["driver"]))
    if row["status"] == Status.HOST_LOST:
        return Proof(outcome=Outcome(Status.HOST_LOST, f"lost during its proof: {row['reason']}"))
    again = "'rosetta run --rerun failed'" if row["status"] in VERDICTS else "the next 'rosetta run'"
    reason = f"{row['reason'][:LONGEST_REASON]}; {again} tries again"
    return Proof(outcome=Outcome(Status.FAILED, f"not proved {where}, so not timed: {reason}"))


LONGEST_REASON = 2000
"""Characters of a proof's reason in the rows of its cells, which have room for the remedy, too."""


def said_of(proof: Proof, outcome: Outcome) -> str:
    """Return what a timed cell's row says of its proof: nothing if its node had another driver than the proof's."""
    driver = driver_of(outcome)
    return "" if proof.driver and driver and driver != proof.driver else proof.said
