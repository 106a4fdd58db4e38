"""Check that a run's numbers agree with each other, with its workload, and with the orchestrator's own clock.

A script that trains on every second batch, tests on a part of the set, or reports false times may produce a document
that is valid in form: arithmetic gives it away.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.cell.parameters import parameters
from orchestrator.cell.workloads import trains

TEST_SETS: Mapping[str, int] = {"cifar-10": 10_000, "imdb": 25_000}
"""Samples of the published test sets: Krizhevsky 2009, Maas et al. 2011. ChestX-ray14 may be there in part."""

SYNTHETIC_TEST_SET = 1280
"""Samples of the test set that workloads/harness/data.py makes."""

INSIDE_OTHERS = ("first_step", "validate")
"""Phases that are parts of another one."""

SLACK, INSTANT = 0.01, 0.25
"""Tolerance between two times: a relative share, plus seconds."""


@dataclass(frozen=True)
class Figures:
    """The work and times (in seconds) that a run reports; ``proof`` marks a comparison with the reference.

    ``wall`` is the whole life of its container by the orchestrator's own clock; None if it was not timed.
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
    quality: float
    epoch_qualities: Sequence[float] | None
    phases: Mapping[str, float | None]
    wall: float | None = None


def disagreement(said: Figures) -> str | None:
    """Return the first disagreement, or None. For a workload that is not ours, only its times are checked."""
    found = (*of_work(said), *of_epochs(said), *of_times(said), *of_clock(said))
    return found[0] if found else None


def of_work(said: Figures) -> Iterator[str]:
    """Check that steps × batch = samples × epochs, and that the whole test set was used."""
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
        yield f"tested on {said.tested:,} samples instead of {wanted:,}"


def of_epochs(said: Figures) -> Iterator[str]:
    """Check for a time, a loss and a quality for each epoch; a loss that never changes means nothing was trained."""
    if len(said.epoch_seconds) != said.epochs:
        yield f"{len(said.epoch_seconds):,} times of {said.epochs:,} epochs"
    losses = said.epoch_losses
    if len(losses) != (said.epochs if trains(said.workload) and not said.proof else len(losses)):
        yield f"{len(losses):,} losses of {said.epochs:,} epochs"
    if len(losses) > 1 and len(set(losses)) == 1:
        yield f"the loss is {losses[0]:.6g} in every epoch: nothing was trained"
    qualities = said.epoch_qualities
    if qualities is not None and len(qualities) != said.epochs:
        yield f"{len(qualities):,} qualities of {said.epochs:,} epochs"
    elif qualities and qualities[-1] != said.quality:
        yield f"the quality is {said.quality:.6g}, but {qualities[-1]:.6g} after the last epoch"


def of_times(said: Figures) -> Iterator[str]:
    """Check that the total time is that of upload and epochs, plus at most the build's; or per 1,000 images."""
    total = sum(said.epoch_seconds)
    if trains(said.workload):
        total += said.phases.get("upload") or 0.0
        ahead = said.phases.get("build") or 0.0
        if is_more(total, said.seconds) or is_more(said.seconds, total + ahead):
            yield f"its time, {said.seconds:,.6g} s, differs from the sum of its epochs, {total:,.6g} s"
    elif abs(said.seconds - total * 1000 / said.samples) > SLACK * said.seconds:
        yield f"{said.seconds:,.6g} s per 1,000 images do not match {total:,.6g} s for {said.samples:,} images"
    if said.warm is not None and is_more(said.warm, 2 * said.seconds):
        yield f"{said.warm:,.6g} s warm are more than twice the {said.seconds:,.6g} s cold"


def of_clock(said: Figures) -> Iterator[str]:
    """Check that nothing took longer than the container lived."""
    if not said.wall:
        return
    phases = sum(seconds or 0.0 for name, seconds in said.phases.items() if name not in INSIDE_OTHERS)
    for what, seconds in (("its epochs", sum(said.epoch_seconds)), ("its phases", phases)):
        if is_more(seconds, said.wall):
            yield f"{what} add up to {seconds:,.6g} s, more than the {said.wall:,.6g} s its container ran"


def is_more(seconds: float, than: float) -> bool:
    """Return whether a time is longer than another by more than the tolerance."""
    return seconds > than * (1 + SLACK) + INSTANT
