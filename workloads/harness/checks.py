"""What a timed run shows of itself, outside its clock: that it trained at every step, and that its scores are its own.

A script may skip batches, predict with other weights than the trained ones, or leave dropout on, and still reach an
accuracy within the band. So the weights are compared before and after steps that the script can't foresee, and of the
scores that were counted some, which it can't foresee, are computed anew by the reference from the final weights. And a
library may put off its work until somebody asks for the weights: then that is part of the run's time.
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

IMAGES = 8
"""Images whose features are compared: the reference needs a second for each."""

SLOWEST_BUS = 1e9
"""Bytes per second at which weights come from a device at least; a reading that takes longer did more than read."""

chance = random.SystemRandom()  # not from the cell's seed, which the script knows


class NoChecks:
    """For scripts that don't hand over their weights."""

    seconds = 0.0
    found = None

    def begin(self, epochs, steps, whole):
        """Nothing is watched."""

    def before(self, step, synchronize):
        """Nothing is watched."""

    def after(self, step, synchronize):
        """Nothing is watched."""

    def settle(self, synchronize):
        """Wait for the steps so far; what is put off beyond that, nobody can tell."""
        synchronize()

    def pieces(self, first, steps):
        """An epoch is one piece."""
        return [(0, steps)]

    def choose(self, tested):
        """No scores are looked at."""
        return ()

    def end(self, scores, probe, canonical):
        """Nothing is known."""


class Checks:
    """The checks of one run. ``seconds`` is the time that they took so far, in which the run's clock stands still.

    What scores may be off in each precision is in params.json: trained weights are larger than given ones.
    """

    def __init__(self, mine, workload, params, precision):
        self.mine, self.workload, self.params, self.precision = mine, workload, params, precision
        self.seconds = 0.0
        self.found = {"steps_watched": 0, "steps_moved": 0, "scores": None, "dropout": None}
        self._watched, self._before = set(), None

    def begin(self, epochs, steps, whole):
        """Choose which of so many steps of each epoch to watch; or all epochs, if each is trained as a ``whole``.

        The first is timed alone, and left out: before it, some libraries have no weights yet.
        """
        self._steps = epochs * steps
        later = range(1, self._steps)
        self._watched = set(range(epochs) if whole else chance.sample(later, min(WATCHED, len(later))))

    def before(self, step, synchronize):
        """Keep the weights if this step is watched. What is under way yet must end first, and counts for the clock."""
        if step in self._watched:
            self.settle(synchronize)
            self._before = self._aside(self.mine.copy)

    def after(self, step, synchronize):
        """Compare the weights if this step is watched."""
        if step in self._watched:
            self.settle(synchronize)
            self.found["steps_watched"] += 1
            self.found["steps_moved"] += int(self._aside(lambda: differ(self._before, self.mine.copy())))
            self._before = None

    def settle(self, synchronize):
        """Wait for the steps so far, and read the weights, for which a lazy library has to do what it has put off.

        What the first reading takes beyond a second one, and beyond the way over a slow bus, counts for the clock.
        """
        synchronize()
        first, second, values = self._read_twice()
        self.seconds += second + min(first, second + sum(value.nbytes for value in values) / SLOWEST_BUS)

    def _read_twice(self):
        """Seconds of two readings of the weights, and what they gave."""
        first, values = timed(self.mine.copy)
        second, values = timed(self.mine.copy)
        return first, second, values

    def pieces(self, first, steps):
        """Where an epoch of so many steps is cut, whose first is step ``first`` of the run: watched steps are alone."""
        watched = [step - first for step in self._watched if first <= step < first + steps]
        cuts = sorted({0, steps, *watched, *(step + 1 for step in watched)})
        return list(zip(cuts, cuts[1:]))

    def _aside(self, function):
        """Do something while the clock stands still."""
        seconds, found = timed(function)
        self.seconds += seconds
        return found

    def choose(self, tested):
        """Choose the places of the test samples whose scores are computed anew, of so many; in their order."""
        self._chosen = sorted(chance.sample(range(tested), min(SAMPLES, tested)))
        return self._chosen

    def end(self, scores, probe, canonical):
        """Compute scores anew, count what dropout drops in training; end the run if something does not hold.

        ``scores`` are those of the chosen samples as they were counted. ``probe()`` takes a step on a batch of class 0,
        and returns its loss.
        """
        self.found["scores"] = self._error(scores, canonical.x_test[self._chosen])
        if any(getattr(self.params, "dropout", ())):
            declared = list(weights.ARRAYS[self.workload](self.params))
            self.found["dropout"] = dropout.rates(probe, self.mine, declared, self.params)
        complaint = self._complaint()
        if complaint:
            raise SystemExit("this run is worth nothing: " + complaint)

    def _error(self, scores, samples):
        """Error of scores against the reference with the final weights, relative to the largest score."""
        declared = [(array, None) for array in weights.ARRAYS[self.workload](self.params)]
        taken = self.mine.take(declared)
        exact = parity.in_double_precision([(array, taken[array.name]) for array, _ in self.mine.mine(declared)])
        samples = samples if samples.dtype == np.int32 else samples.astype(np.float64)
        right = importlib.import_module("reference." + self.workload).scores(exact, samples, self.mine)
        return parity.relative(scores, softmax(right) if self.mine.scores == "probabilities" else right)

    def _complaint(self):
        """What does not hold, or nothing."""
        watched, moved, error = self.found["steps_watched"], self.found["steps_moved"], self.found["scores"]
        # A loss that overflows in half precision skips its step, which is how its scale is found: at first most steps.
        needed = watched if self.precision != "amp-fp16" else watched / 2 if self._steps > 2 * WATCHED else 0
        if moved < needed:
            return "the weights moved in %d of %d steps that were watched" % (moved, watched)
        if not error <= self.params.scores[self.precision]:
            return "its scores are not those of its final weights: %.2g of the largest apart" % error
        return self.found["dropout"] and dropout.off(self.found["dropout"], self.params)


def timed(function):
    """Seconds that a call takes, and what it returns."""
    started = time.perf_counter()
    found = function()
    return time.perf_counter() - started, found


def other_images(images, canonical, always_same=False):
    """Make other images of these, where they lie; where some of them lie now, and those as the reference takes them.

    They change places and become their negatives, which are as good a noise in [0, 1). A pass over them that repeats
    what an earlier one gave, by place or by image, or that leaves many of them out, is then found. ``images`` may
    share the memory of ``canonical``. Of a proof, whose figures are to be the same in each run, the order is
    ``always_same``.
    """
    order, draw = list(range(len(images))), random.Random(0) if always_same else chance
    draw.shuffle(order)
    chosen = sorted(draw.sample(range(len(images)), min(IMAGES, len(images))))
    looked_at = 1 - canonical[[order[place] for place in chosen]]  # a copy, made before the images change
    move(images, order)
    np.subtract(1, images, out=images)
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
