"""At which rate a network drops units while it trains, counted by weights under which its loss tells them.

Under these weights one place after the other is made to decide: a sample's loss is log(classes) or nothing, as a unit
of its own there was dropped or kept. What comes before has the same value for every image, and what comes after is
averaged over all channels or units, so that no other place makes a difference. A rate counted from 256 samples has a
standard deviation of at most 0.03: an honest run is refused once in a million, and 0.25 in place of 0.5 passes for it
in 2 of 10,000.
"""

import numpy as np

STEPS = 4
"""Batches for each place."""

DEVIATIONS = 5
"""By how many standard deviations of its count a rate may be off."""

SAME = 1e-6
"""Losses that differ by less are of the same units."""

CERTAIN = 30.0
"""A logit so far above the others that the loss is nothing, in half precision too."""


def rates(step, mine, declared, params):
    """The rates of the CNN's three dropouts, as counted; ``step()`` trains on a batch of class 0 and returns its loss.

    ``declared`` are the arrays of the network and ``mine`` its ``Weights``. Leaves the last weights in place. Ends the
    run if every step drops the same units: by chance all steps of all places agree once in thousands of millions.
    """
    found, always_same = [], any(params.dropout)
    for plant, rate_of in PLACES:
        planted = {array.name: np.zeros(array.shape, np.float32) for array in declared}
        plant(planted)
        losses = []
        for _ in range(STEPS):
            mine.give([(array, planted[array.name]) for array in declared])
            losses.append(step())
        always_same = always_same and np.ptp(losses) < SAME
        share = min(max(float(np.mean(losses)) / np.log(params.n_classes), 0.0), 1.0)
        found.append(round(float(rate_of(share)), 4))
    if always_same and min(found) > 0 and max(found) < 1:
        raise SystemExit("this run is worth nothing: dropout drops the same units in every step")
    return found


def off(found, params):
    """Which of the rates can't be those of the workload, in words; None if all can."""
    samples = STEPS * params.batch_size
    for number, (rate, wanted) in enumerate(zip(found, params.dropout), 1):
        if abs(rate - wanted) > DEVIATIONS * (wanted * (1 - wanted) / samples) ** 0.5:
            return "dropout %d drops %.0f %% of its units, not %.0f %%" % (number, 100 * rate, 100 * wanted)
    return None


def after_the_first_pool(weights):
    """Class 0 is certain if any unit of one window of the second pool was dropped: 1 where dropped, 0 where kept."""
    weights["conv2.bias"][...] = 1
    weights["conv3.weight"][:, 0, 1, 1] = -1
    weights["conv3.bias"][...] = 1
    channels = len(weights["conv4.bias"])
    weights["conv4.weight"][:, :, 1, 1] = 1 / channels
    weights["dense1.weight"][:, :, 0, 0] = 1 / channels
    read_all(weights)


def after_the_second_pool(weights):
    """Class 0 is certain if one unit was kept."""
    weights["conv4.bias"][...] = 1
    weights["dense1.weight"][:, 0, 0, 0] = 1
    read_all(weights)


def after_the_first_dense(weights):
    """Class 0 is certain if one unit was kept."""
    weights["dense1.bias"][0] = 1
    weights["dense2.weight"][0, 0] = CERTAIN


def read_all(weights):
    """The logit of class 0 is the mean of all units of the first dense layer."""
    weights["dense2.weight"][0] = CERTAIN / len(weights["dense1.bias"])


PLACES = (
    (after_the_first_pool, lambda share: 1 - share**0.25),  # of 4 units none was dropped
    (after_the_second_pool, lambda share: share),
    (after_the_first_dense, lambda share: share),
)
"""How each place is made to decide, and its rate by the share of samples that have a loss."""
