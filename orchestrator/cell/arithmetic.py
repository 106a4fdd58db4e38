"""Check that a run's numbers agree with each other, with its workload, and with the orchestrator's own clock.

A script that trains on every second batch, tests on a part of the set, or reports false times may produce a document
that is valid in form: arithmetic gives it away.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, TypeGuard

from orchestrator.cell.parameters import parameters
from orchestrator.cell.quality import is_shorter
from orchestrator.cell.workloads import trains

TEST_SETS: Mapping[str, int] = {"cifar-10": 10_000, "imdb": 25_000, "chestxray14": 17_198}
"""Samples of the published test sets: Krizhevsky 2009, Maas et al. 2011; the last fifth of ChestX-ray14's patients, of
which the set may be there in part."""

SYNTHETIC_TEST_SET = 1280
"""Samples of the test set that workloads/harness/data.py makes."""

INSIDE_OTHERS = ("first_step", "validate")
"""Phases that are parts of another one."""

SLACK, INSTANT = 0.01, 0.25
"""Tolerance between the times of two clocks: a relative share, plus seconds."""

ROUNDING = 1e-6
"""Tolerance between a time and the sum that it is, as a share and in seconds."""


@dataclass(frozen=True)
class Figures:
    """The work and times (in seconds) that a run reports; ``proof`` marks a comparison with the reference.

    ``checks`` are those of contract.py, as JSON. ``wall`` is the whole life of its container by the orchestrator's own
    clock; None if it was not timed.
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
    metric: str
    epoch_qualities: Sequence[float] | None
    phases: Mapping[str, float | None]
    precision: str = "fp32"
    checks: Mapping[str, Any] | None = None
    wall: float | None = None


def disagreement(said: Figures) -> str | None:
    """Return the first disagreement, or None. For a workload that is not ours, only its times are checked."""
    found = (*of_work(said), *of_epochs(said), *of_times(said), *of_clock(said), *of_checks(said))
    return found[0] if found else None


def of_work(said: Figures) -> Iterator[str]:
    """Check that steps × batch = samples × epochs, that the whole test set was used, and told in the right metric."""
    known = parameters().get(said.workload)
    if known is None:
        return
    size = known["parity"].get("with", {}).get("batch_size", known["batch_size"]) if said.proof else known["batch_size"]
    batch = size * said.workers
    if known.get("parallel") and said.samples < batch:
        batch = said.samples  # a set that is smaller than a batch is one
    if said.steps * batch != said.samples * said.epochs:
        yield f"{said.steps:,} steps of {batch:,} are not {said.epochs:,} epochs of {said.samples:,} samples"
    least, most = tested(said, known, batch)
    if not least <= said.tested <= most:
        yield f"tested on {said.tested:,} samples instead of {f'{least:,} to ' if least < most else ''}{most:,}"
    metric = "parity" if said.proof else known["metric"]
    if said.metric != metric:
        yield f"its quality is told as {said.metric}, not as {metric}"


def tested(said: Figures, known: Mapping[str, Any], batch: int) -> tuple[int, int]:
    """Return the least and most samples that an honest run is tested on."""
    if not trains(said.workload):
        return min(4, said.samples), min(8, said.samples)  # images whose features are compared: 4 by older harnesses
    if said.proof:
        return batch, batch
    whole = TEST_SETS[known["dataset"]] if said.data == "real" else SYNTHETIC_TEST_SET
    if not known.get("parallel"):
        whole = min(whole // batch * batch, said.samples)  # a shortened run tests on no more than it trains on
        return whole, whole
    shorter = said.data != "real" or is_shorter(said.workload, (said.epochs, said.samples), said.workers)
    return 1 if shorter else whole, whole


def of_epochs(said: Figures) -> Iterator[str]:
    """Check for a time, a loss and a quality for each epoch; a loss that never changes means nothing was trained."""
    if len(said.epoch_seconds) != said.epochs:
        yield f"{len(said.epoch_seconds):,} times of {said.epochs:,} epochs"
    losses = said.epoch_losses
    if len(losses) != (said.epochs if trains(said.workload) and not said.proof else len(losses)):
        yield f"{len(losses):,} losses of {said.epochs:,} epochs"
    if not all(0 <= loss < math.inf for loss in losses):
        yield "a loss is negative or not finite"
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
        if not rounded(total) <= said.seconds <= rounded(total + ahead, up=True):
            yield f"its time, {said.seconds:,.6g} s, differs from the sum of its epochs, {total:,.6g} s"
    elif not same(said.seconds, total * 1000 / said.samples):
        yield f"{said.seconds:,.6g} s per 1,000 images do not match {total:,.6g} s for {said.samples:,} images"
    yield from of_parts(said)
    low, high = warm_seconds(said)
    if said.warm is not None and not rounded(low) <= said.warm <= rounded(high, up=True):
        yield f"{said.warm:,.6g} s warm, but its first step and epochs make {low:,.6g} s"


def of_parts(said: Figures) -> Iterator[str]:
    """Check that no part of the training took longer than what it is a part of."""
    first, validated, train = (said.phases.get(name) for name in ("first_step", "validate", "train"))
    epochs = sum(said.epoch_seconds)
    if trains(said.workload) and first and said.epoch_seconds and first > rounded(said.epoch_seconds[0], up=True):
        yield f"the first step took {first:,.6g} s, the first epoch {said.epoch_seconds[0]:,.6g} s"
    if validated and validated > rounded(epochs, up=True):
        yield f"validation took {validated:,.6g} s, all epochs {epochs:,.6g} s"
    if validated and not parameters().get(said.workload, {"parallel": True}).get("parallel"):
        yield f"{said.workload} has no validation, but {validated:,.6g} s of it"
    if train and trains(said.workload) and is_more(epochs, train):
        yield f"its epochs add up to {epochs:,.6g} s, the phase of training to {train:,.6g} s"


def warm_seconds(said: Figures) -> tuple[float, float]:
    """Return the least and most seconds that a run would have taken, had its first step cost what the others did.

    They are the same, except where an epoch of a ``fit`` holds a validation whose own time nobody knows.
    """
    if not trains(said.workload):
        return said.seconds, said.seconds
    upload, validated = said.phases.get("upload") or 0.0, said.phases.get("validate") or 0.0
    trained, first = sum(said.epoch_seconds) - validated, said.phases.get("first_step")
    units = len(said.epoch_seconds) if first is None else said.steps
    if units < 2:
        return 0.0, math.inf
    firsts = [first] if first is not None else [said.epoch_seconds[0], said.epoch_seconds[0] - validated]
    low, high = ((trained - each) * units / (units - 1) + upload + validated for each in (max(firsts), min(firsts)))
    return low, high


def of_clock(said: Figures) -> Iterator[str]:
    """Check that nothing took longer than the container lived."""
    if not said.wall:
        return
    phases = sum(seconds or 0.0 for name, seconds in said.phases.items() if name not in INSIDE_OTHERS)
    for what, seconds in (("its epochs", sum(said.epoch_seconds)), ("its phases", phases)):
        if is_more(seconds, said.wall):
            yield f"{what} add up to {seconds:,.6g} s, more than the {said.wall:,.6g} s its container ran"


def of_checks(said: Figures) -> Iterator[str]:
    """Check what the run found out about itself: it ends where something does not hold, so no document confesses it."""
    known = parameters().get(said.workload, {})
    if said.checks is None or "scores" not in known:
        return
    watched, moved, error, rates = (said.checks.get(name) for name in CHECKED)
    stepwise = said.phases.get("first_step") is not None
    least = min(WATCHED, said.steps - 1, said.steps if stepwise else said.epochs)
    if not is_number(watched) or not least <= watched <= said.steps:
        yield f"{watched} of {said.steps:,} steps were watched"
    elif not is_number(moved) or not least_moved(watched, said) <= moved <= watched:
        yield f"its weights moved in {moved} of {watched} steps that were watched"
    if not is_number(error) or not 0 <= error <= known["scores"].get(said.precision, 0):
        yield f"its scores are not those of its final weights: {error} of the largest apart"
    wanted = known.get("dropout", ())
    told = rates if isinstance(rates, list) else () if rates is None else (rates,)
    samples = 4 * known["batch_size"]
    if len(told) != len(wanted) or not all(map(is_rate, told, wanted, repeat(samples))):
        yield f"dropout was counted at the rates {rates}, not {wanted}"


def least_moved(watched: float, said: Figures) -> float:
    """Return in how many of the steps that were watched the weights must have moved, as in harness/checks.py.

    A step whose loss overflows in half precision is skipped, which is how its scale is found: at first most steps.
    """
    if said.precision != "amp-fp16":
        return watched
    return watched / 2 if said.steps > 2 * WATCHED else 0


def is_rate(counted: object, share: float, samples: int) -> bool:
    """Whether a rate of dropout can be this share: within five standard deviations, as in harness/dropout.py."""
    return is_number(counted) and abs(counted - share) <= 5 * math.sqrt(share * (1 - share) / samples)


SHORTEST = 1e-6
"""Seconds that any run takes at least, so that no ratio of two is without end."""

CHECKED = ("steps_watched", "steps_moved", "scores", "dropout")
"""What a run finds out about itself: Checks in contract.py."""

WATCHED = 8
"""Steps that the harness watches, of a longer run; every epoch, of libraries that train by the epoch."""


def is_number(value: object) -> TypeGuard[float]:
    """Return whether a value of somebody's JSON is a number."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def same(a: float, b: float) -> bool:
    """Return whether two times are the same, but for rounding."""
    return math.isclose(a, b, rel_tol=ROUNDING, abs_tol=ROUNDING)


def rounded(seconds: float, up: bool = False) -> float:
    """Return a time less, or with ``up`` more, what rounding may make of it."""
    most = ROUNDING * (1 + abs(seconds))
    return seconds + most if up else seconds - most


def is_more(seconds: float, than: float) -> bool:
    """Return whether a time is longer than another by more than the tolerance."""
    return seconds > than * (1 + SLACK) + INSTANT
