"""Whether the numbers of a run agree with each other, with its workload, and with the orchestrator's own clock.

A script that trains every second batch, tests on a part of the set, or reports times that it did not take, may be as
valid in form as any other: what gives it away is arithmetic.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.cell.parameters import parameters
from orchestrator.cell.workloads import trains

TEST_SETS: Mapping[str, int] = {"cifar-10": 10_000, "imdb": 25_000}
"""Samples of the published test sets: Krizhevsky 2009, Maas et al. 2011. ChestX-ray14 may be there in part."""

SYNTHETIC_TEST_SET = 1280
"""Samples that workloads/harness/data.py makes to test on."""

INSIDE_OTHERS = ("first_step", "validate")
"""Phases that are parts of another one."""

SLACK, INSTANT = 0.01, 0.25
"""How far two times may lie apart: a share of them, and seconds."""


@dataclass(frozen=True)
class Figures:
    """What a run says of its amount of work and of its times, in seconds; ``proof`` is a comparison with the reference.

    ``wall`` is the whole life of its container by the orchestrator's own clock; None where nobody held one.
    """

    workload: str
    data: str
    proof: bool
    workers: int
    epochs: int
    samples: int
    steps: int
    tested: int
    seconds: float
    warm: float | None
    epoch_seconds: Sequence[float]
    epoch_losses: Sequence[float]
    phases: Mapping[str, float | None]
    wall: float | None = None


def disagreement(said: Figures) -> str | None:
    """What does not agree, or None. Of a workload that is not ours, only its times are looked at."""
    found = (*of_work(said), *of_epochs(said), *of_times(said), *of_clock(said))
    return found[0] if found else None


def of_work(said: Figures) -> Iterator[str]:
    """Steps × batch = samples × epochs, and the test set is all of it."""
    known = parameters().get(said.workload)
    if known is None:
        return
    size = known["parity"].get("with", {}).get("batch_size", known["batch_size"]) if said.proof else known["batch_size"]
    batch = size * said.workers
    if known.get("parallel") and said.samples < batch:
        batch = said.samples  # a set that is smaller than a batch is one
    if said.steps * batch != said.samples * said.epochs:
        yield f"{said.steps:,} steps of {batch:,} are not {said.epochs:,} epochs of {said.samples:,} samples"
    whole = TEST_SETS.get(known["dataset"] or "")
    if said.proof or whole is None:
        wanted = batch if said.proof and trains(said.workload) else None
    else:
        whole = whole if said.data == "real" else SYNTHETIC_TEST_SET
        wanted = min(whole // batch * batch, said.samples)  # a shortened run tests on no more than it trains on
    if wanted is not None and said.tested != wanted:
        yield f"tested on {said.tested:,} samples in place of {wanted:,}"


def of_epochs(said: Figures) -> Iterator[str]:
    """A time and a loss for each epoch; a loss that never changes was not trained."""
    if len(said.epoch_seconds) != said.epochs:
        yield f"{len(said.epoch_seconds):,} times of {said.epochs:,} epochs"
    losses = said.epoch_losses
    if len(losses) != (said.epochs if trains(said.workload) and not said.proof else len(losses)):
        yield f"{len(losses):,} losses of {said.epochs:,} epochs"
    if len(losses) > 1 and len(set(losses)) == 1:
        yield f"the loss is {losses[0]:.6g} in every epoch: nothing was trained"


def of_times(said: Figures) -> Iterator[str]:
    """The whole is the sum of the epochs, and at most what was built ahead of them; or, per 1,000 images, theirs."""
    total = sum(said.epoch_seconds)
    if trains(said.workload):
        ahead = said.phases.get("build") or 0.0
        if is_more(total, said.seconds) or is_more(said.seconds, total + ahead):
            yield f"{said.seconds:,.6g} s are not the sum of the epochs, {total:,.6g} s"
    elif abs(said.seconds - total * 1000 / said.samples) > SLACK * said.seconds:
        yield f"{said.seconds:,.6g} s are not {total:,.6g} s for {said.samples:,} images, per 1,000 of them"
    if said.warm is not None and is_more(said.warm, 2 * said.seconds):
        yield f"{said.warm:,.6g} s warm are more than twice the {said.seconds:,.6g} s cold"


def of_clock(said: Figures) -> Iterator[str]:
    """Nothing took longer than the container lived."""
    if not said.wall:
        return
    phases = sum(seconds or 0.0 for name, seconds in said.phases.items() if name not in INSIDE_OTHERS)
    for what, seconds in (("its epochs", sum(said.epoch_seconds)), ("its phases", phases)):
        if is_more(seconds, said.wall):
            yield f"{what} took {seconds:,.6g} s in a container that lived {said.wall:,.6g} s"


def is_more(seconds: float, than: float) -> bool:
    """Whether a time is surely longer than another."""
    return seconds > than * (1 + SLACK) + INSTANT
