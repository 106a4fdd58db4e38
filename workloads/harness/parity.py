"""Parity, the proof of "same model": given weights and the same batches must give the same numbers in every library."""

import importlib

import numpy as np

from harness import cores, document, weights
from reference.layers import softmax


def compare_training(workload, params, mine, arrays, canonical, predict, train, team):
    """Errors of a trained network against the reference, by what was compared.

    ``arrays`` are as the library wants them, ``canonical`` as the reference does; ``train(slices)`` takes a step on
    each of these slices of the training set, and returns their losses, or only the mean. It is called twice, since
    what a library keeps between calls, above all its optimiser's state, must be kept. Scores and losses: largest error
    relative to the largest value. Parameters after the steps, and what the steps have changed them by: largest
    over the parameters of |a - b| / |b|, in Euclidean norm. Several workers of a ``team`` train on their shares of each
    batch, the reference on all of it, and "workers" is the largest difference between any two workers' parameters.
    None for all workers but the first.
    """
    reference = importlib.import_module("reference." + workload)
    given = weights.given(workload, params)
    size = params.batch_size * team.count
    batches = [slice(n * size, (n + 1) * size) for n in range(params.parity["steps"])]
    share = size // team.processes
    own = [slice(batch.start + team.rank * share, batch.start + (team.rank + 1) * share) for batch in batches]
    predict(arrays.x_train[own[0]])  # some libraries make their parameters at the first batch
    mine.give(given)
    with cores.neighbours(team.rank == 0):  # whose order of work nobody disturbs may have a race that never shows
        scores = np.array(predict(arrays.x_train[own[0]]), np.float64)
        losses = np.concatenate([np.array(train(own[call]), np.float64) for call in CALLS])
    ours = mine.take(given)
    told = team.gather([scores, losses])
    everyone = team.gather([value for replica in mine.replicas() for value in replica])
    if told is None:
        return None
    scores = np.concatenate([theirs for theirs, _ in told])
    losses = np.mean([theirs for _, theirs in told], axis=0)

    mine.workers = team.count
    exact = in_double_precision(mine.mine(given))
    trained = [array.name for array, _ in mine.mine(given) if array.kind not in ("mean", "variance")]
    x = canonical.x_train if canonical.x_train.dtype == np.int32 else canonical.x_train.astype(np.float64)
    expected, expected_losses = reference.scores(exact, x[batches[0]], mine), []
    start = {name: value.copy() for name, value in exact.items()}
    optimiser = reference.Optimiser(params, mine)
    for batch in batches:
        loss, gradients = reference.gradients(exact, x[batch], canonical.y_train[batch], mine)
        optimiser.update(exact, gradients)
        expected_losses.append(loss)
    of_parameters = {name: distance(ours[name], exact[name]) for name in trained}
    rounding = params.parity["steps"] * np.finfo(np.float32).eps / 2  # what float32 can't hold is no error of an update
    of_updates = {
        name: distance(ours[name] - start[name], exact[name] - start[name], rounding * np.linalg.norm(start[name]))
        for name in trained
    }
    for name in trained:
        document.event("parity", parameter=name, error=of_parameters[name], error_of_update=of_updates[name])
    if len(losses) == len(CALLS):  # of a loop that is the library's own
        expected_losses = [np.mean(expected_losses[call]) for call in CALLS]
    errors = {
        "scores": relative(scores, softmax(expected) if mine.scores == "probabilities" else expected),
        "loss": relative(losses, np.array(expected_losses)),
        "parameters": max(of_parameters.values()),
        "updates": max(of_updates.values()),
    }
    kinds = [array.kind for array, _ in mine.mine(given)]
    return dict(errors, workers=spread(everyone, kinds)) if team.count > 1 else errors


def spread(everyone, kinds):
    """Largest difference between the trained parameters of any two workers."""
    every = [value for process in everyone for value in process]
    workers = [every[start : start + len(kinds)] for start in range(0, len(every), len(kinds))]
    trained = [place for place, kind in enumerate(kinds) if kind not in ("mean", "variance")]
    return max(finite(np.abs(np.asarray(w[i]) - workers[0][i]).max()) for w in workers for i in trained)


CALLS = slice(0, 3), slice(3, None)
"""The batches of each call that trains."""

FAR = 1e9
"""What is told of an error that is larger yet, or no number: a document has none that is not finite."""


def compare_features(workload, given, features, images):
    """Error of each image's features, relative to the largest feature of the reference with ``given``."""
    reference = importlib.import_module("reference." + workload)
    expected = reference.scores(in_double_precision(given), images.astype(np.float64))
    return [relative(ours, right) for ours, right in zip(np.array(features, np.float64), expected)]


def in_double_precision(given):
    """The reference's weights by name; what lies behind feature maps has one axis for all of them."""
    return {
        array.name: value.reshape((len(value), -1) if array.kind == "flat" else array.shape).astype(np.float64)
        for array, value in given
    }


def relative(ours, right):
    """Largest difference, relative to the largest value."""
    return finite(np.abs(ours - right).max() / np.abs(right).max())


def distance(ours, right, lost=0.0):
    """|ours - right| / |right| in Euclidean norm, without what was ``lost`` to rounding."""
    return finite(np.maximum(np.linalg.norm(ours - right) - lost, 0) / np.linalg.norm(right))


def finite(error):
    """An error as a number that JSON has."""
    return float(min(error, FAR)) if error == error else FAR
