"""What a timed run shows of itself, outside its clock: that it trained at every step, and that its scores are its own.

A script may skip batches, predict with other weights than the trained ones, or leave dropout on, and still reach an
accuracy within the band. So the weights are compared before and after steps that the script can't foresee, and scores
of test samples that it can't foresee are computed anew by the reference from the final weights.
"""

import importlib
import random
import time

import numpy as np

from harness import dropout, parity, weights
from reference.layers import softmax

WATCHED = 8
"""Steps before and after which weights are compared: a script that skips half of all gets through once in 256 runs."""

SAMPLES = 16
"""Test samples whose scores are computed anew; IMDB's take the reference a second."""

TOLERANCE = {"fp32": 1e-3, "tf32": 2e-2, "amp-fp16": 2e-2, "amp-bf16": 1e-1}
"""Largest error of a score relative to the largest of all, by precision: trained weights are larger than given ones."""

IMAGES = 4
"""Images whose features are compared: the reference needs a second for each."""

chance = random.SystemRandom()  # not from the cell's seed, which the script knows


class NoChecks:
    """For scripts that don't hand over their weights."""

    seconds = 0.0
    found = None

    def begin(self, steps, every):
        """Nothing is watched."""

    def before(self, step, synchronize):
        """Nothing is watched."""

    def after(self, step, synchronize):
        """Nothing is watched."""

    def pieces(self, first, steps):
        """An epoch is one piece."""
        return [(0, steps)]

    def end(self, predict, probe, arrays, canonical):
        """Nothing is known."""


class Checks:
    """The checks of one run. ``seconds`` is the time that they took so far, in which the run's clock stands still."""

    def __init__(self, mine, workload, params, precision):
        self.mine, self.workload, self.params, self.precision = mine, workload, params, precision
        self.seconds = 0.0
        self.found = {"steps_watched": 0, "steps_moved": 0, "scores": None, "dropout": None}
        self._watched, self._before = set(), None

    def begin(self, steps, every):
        """Choose which of so many steps to watch, or ``every`` one.

        The first is timed alone, and left out: before it, some libraries have no weights yet.
        """
        self._watched = set(range(steps) if every else chance.sample(range(1, steps), min(WATCHED, steps - 1)))

    def before(self, step, synchronize):
        """Keep the weights if this step is watched. What is under way yet must end first, and counts for the clock."""
        if step in self._watched:
            synchronize()
            self._before = self._aside(self.mine.copy)

    def after(self, step, synchronize):
        """Compare the weights if this step is watched."""
        if step in self._watched:
            synchronize()
            self.found["steps_watched"] += 1
            self.found["steps_moved"] += int(self._aside(lambda: differ(self._before, self.mine.copy())))
            self._before = None

    def pieces(self, first, steps):
        """Where an epoch of so many steps is cut, whose first is step ``first`` of the run: watched steps are alone."""
        watched = [step - first for step in self._watched if first <= step < first + steps]
        cuts = sorted({0, steps, *watched, *(step + 1 for step in watched)})
        return list(zip(cuts, cuts[1:]))

    def _aside(self, function):
        """Do something while the clock stands still."""
        started = time.perf_counter()
        try:
            return function()
        finally:
            self.seconds += time.perf_counter() - started

    def end(self, predict, probe, arrays, canonical):
        """Compute scores anew, count what dropout drops in training; end the run if something does not hold.

        ``probe()`` takes a step on a batch of class 0, and returns its loss.
        """
        self.found["scores"] = self._scores(predict, arrays, canonical)
        if any(getattr(self.params, "dropout", ())):
            declared = list(weights.ARRAYS[self.workload](self.params))
            self.found["dropout"] = dropout.rates(probe, self.mine, declared, self.params)
        complaint = self._complaint()
        if complaint:
            raise SystemExit("this run is worth nothing: " + complaint)

    def _scores(self, predict, arrays, canonical):
        """Error of scores against the reference with the final weights, relative to the largest score."""
        batch = self.params.batch_size
        start = chance.randrange(len(arrays.x_test) // batch) * batch
        chosen = sorted(chance.sample(range(batch), min(SAMPLES, batch)))
        ours = np.array(predict(arrays.x_test[start : start + batch]), np.float64)[chosen]
        declared = [(array, None) for array in weights.ARRAYS[self.workload](self.params)]
        taken = self.mine.take(declared)
        exact = parity.in_double_precision([(array, taken[array.name]) for array, _ in self.mine.mine(declared)])
        samples = canonical.x_test[start : start + batch][chosen]
        samples = samples if samples.dtype == np.int32 else samples.astype(np.float64)
        right = importlib.import_module("reference." + self.workload).scores(exact, samples, self.mine)
        return parity.relative(ours, softmax(right) if self.mine.scores == "probabilities" else right)

    def _complaint(self):
        """What does not hold, or nothing."""
        watched, moved, error = self.found["steps_watched"], self.found["steps_moved"], self.found["scores"]
        # A loss that overflows in half precision skips its step, which is how its scale is found.
        if moved < (watched if self.precision != "amp-fp16" else watched / 2):
            return "the weights moved in %d of %d steps that were watched" % (moved, watched)
        if not error <= TOLERANCE[self.precision]:
            return "its scores are not those of its final weights: %.2g of the largest apart" % error
        return self.found["dropout"] and dropout.off(self.found["dropout"], self.params)


def other_order(images, canonical, always_same=False):
    """Put images into another order where they lie; where some of them lie now, and those as the reference takes them.

    A pass over them that repeats what an earlier one gave, or that leaves most of them out, is then found. ``images``
    may share the memory of ``canonical``. Of a proof, whose figures are to be the same in each run, the order is
    ``always_same``.
    """
    order, draw = list(range(len(images))), random.Random(0) if always_same else chance
    draw.shuffle(order)
    chosen = sorted(draw.sample(range(len(images)), min(IMAGES, len(images))))
    looked_at = canonical[[order[place] for place in chosen]]  # a copy, made before the order changes
    move(images, order)
    return chosen, looked_at


def move(images, order):
    """``images[...] = images[order]`` in the memory of two images: all of them may take a gigabyte."""
    lies = list(range(len(images)))  # which image lies where
    place = list(lies)  # and where each of them is
    for here, wanted in enumerate(order):
        there = place[wanted]
        images[[here, there]] = images[[there, here]]
        moved = lies[here]
        lies[here], lies[there], place[wanted], place[moved] = wanted, moved, here, there


def differ(before, after):
    """Whether any parameter has changed."""
    return any(not np.array_equal(a, b) for a, b in zip(before, after))
