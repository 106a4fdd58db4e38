"""The cells that wait, and which of them can start."""

import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from orchestrator.cell import quality
from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Outcome, Status
from orchestrator.plan.verdicts import Planned
from orchestrator.results.claims import Claim
from orchestrator.run import attempts, proof
from orchestrator.run.context import ActiveRun, Tally
from orchestrator.system.slots import Lease

LOOK_AGAIN = 2.0
"""Seconds between looks at cells that another orchestrator runs: it may have died."""

FADES = 60.0
"""Seconds for which a comparison with the reference stays in the machine's load, a mean over the last minute."""

NO_GPU = ("none", 1)
"""The lane of cells without GPU."""


Lane = tuple[str, int]
"""A model of GPU, or none, and how many of it a cell needs."""


class Queue:
    """The cells that wait, in their order: a lane for those without GPU, and one for each model and number of GPUs."""

    def __init__(self, ordered: Sequence[Planned], active: ActiveRun, tally: Tally) -> None:
        self.active, self.tally = active, tally
        # Lanes that need many GPUs come first: else they would wait until all others are done.
        lanes = sorted({lane_of(planned) for planned in ordered}, key=lambda lane: -lane[1])
        self._lanes: dict[Lane, deque[Planned]] = {lane: deque() for lane in lanes}
        for planned in ordered:
            self._lanes[lane_of(planned)].append(planned)
        self._unproved = deque(lacking_proof(ordered, active))
        self._proving: set[str] = set()
        self._quiet_from = self._told = 0.0
        self._elsewhere: list[Planned] = []
        self._looked = time.monotonic()

    def __len__(self) -> int:
        return len(self._elsewhere) + sum(map(len, self._lanes.values()))

    def startable(self) -> Iterator[Callable[[], str]]:
        """Yield what can start now, as functions that return the status of a cell; empty for a proof."""
        self._look_again()
        yield from self._proofs()
        self._tell_of_quiet()
        for (model, n_gpus), lane in self._lanes.items():
            while lane and (lease := self.active.slots.take(model, n_gpus)):
                claimed = self._claimed(lane)
                if claimed is None:
                    self.active.slots.give_back(lease, model)
                    break
                yield partial(attempts.run_cell, *claimed, lease, self.active)

    def _proofs(self) -> Iterator[Callable[[], str]]:
        """Yield the proofs that can start now; cells without an image, or that somebody else runs, need none of us."""
        builder, waiting = self.active.builder, []
        while self._unproved:
            planned = self._unproved.popleft()
            assert planned.image is not None
            if builder.error(planned.image):
                continue
            if not builder.is_ready(planned.image) or not (lease := self.active.slots.take(*NO_GPU)):
                waiting.append(planned)
            elif claim := self.active.claims.take(planned.key):
                self._proving.add(planned.key)
                yield partial(self._prove, planned, claim, lease)
            else:
                self.active.slots.give_back(lease, planned.cell.gpu)
        self._unproved.extend(waiting)

    def _prove(self, planned: Planned, claim: Claim, lease: Lease) -> str:
        """Make one proof; what it leaves of load fades before a cell is timed that it would spoil."""
        try:
            if attempts.prove_cell(planned, claim, lease, self.active):
                self._quiet_from = time.monotonic() + FADES
        finally:
            self._proving.discard(planned.key)
        return ""

    def _is_noisy(self) -> bool:
        """Whether builds or proofs, running or just ended, would spoil what a cell measures."""
        return self._is_preparing() or time.monotonic() < self._quiet_from

    def _is_preparing(self) -> bool:
        return bool(self.active.builder.building or self._unproved or self._proving)

    def _tell_of_quiet(self) -> None:
        """Say, once, why nothing seems to happen between the last proof and the first cell that is timed on a CPU."""
        until = self._quiet_from
        left = until - time.monotonic()
        if left <= 0 or until == self._told or self._is_preparing():
            return
        self._told = until
        if any(needs_quiet(planned.cell) for lane in self._lanes.values() for planned in lane):
            text = f"timing on the CPU starts in {left:.0f} s: the load of the comparisons has to fade"
            self.active.progress.say(text)

    def _claimed(self, lane: deque[Planned]) -> tuple[Planned, Claim] | None:
        """The first cell of a lane that can start and that nobody else runs; skips those that are done or can't."""
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
        builder = self.active.builder
        return not builder.error(planned.image) and (
            not builder.is_ready(planned.image) or (needs_quiet(planned.cell) and self._is_noisy())
        )

    def _claim(self, planned: Planned) -> Claim | None:
        """The claim of a cell; None, and the cell out of the way, if somebody else has it or its result is there."""
        assert planned.image is not None
        active, cell = self.active, planned.cell
        claim = active.claims.take(planned.key)
        if claim is None:
            self._elsewhere.append(planned)
            return None
        error = active.builder.error(planned.image)
        if attempts.result_of(planned, active).is_file():  # since the plan was made
            self.tally.elsewhere += 1
            active.progress.elsewhere(cell)
        elif error is not None:
            self.tally.error = self.tally.error or error
            outcome = Outcome(Status.FAILED, f"no image: {error}")
            self.tally.add(attempts.finish(planned, outcome, uuid.uuid4().hex, active, lasting=False))
        else:
            return claim
        claim.release()
        return None

    def _look_again(self) -> None:
        """Put back the cells that another orchestrator was running, now and then: they are done, or it is dead."""
        if time.monotonic() - self._looked > LOOK_AGAIN:
            self._looked = time.monotonic()
            for planned in self._elsewhere:
                self._lanes[lane_of(planned)].append(planned)
            self._elsewhere = []


def lane_of(planned: Planned) -> Lane:
    """The lane of a cell: the model of its GPUs, and how many it needs at once."""
    return planned.cell.gpu, planned.cell.n_gpus if planned.cell.gpu != "none" else 1


def lacking_proof(ordered: Sequence[Planned], active: ActiveRun) -> list[Planned]:
    """Of the cells that wait for quiet and for a proof, the first for each proof: comparing is anything but quiet.

    All others are proved when their own turn comes: on a card it is there that the driver is known.
    """
    first: dict[Cell, Planned] = {}
    for planned in ordered:
        if needs_quiet(planned.cell) and proof.is_needed(planned, active):
            first.setdefault(proof.proving(planned.cell), planned)
    return list(first.values())


def needs_quiet(cell: Cell) -> bool:
    """Whether builds and proofs beside it would spoil what a cell measures: published lengths on a CPU."""
    return (
        cell.gpu == "none"
        and not cell.parity
        and not quality.is_shorter(cell.workload, quality.asked(cell), cell.n_gpus)
    )
