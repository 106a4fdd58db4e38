"""Parity, the proof of "same model": given weights and the same batches must give the same numbers in every library."""

import importlib

import numpy as np

from harness import document, weights
from reference.layers import softmax

IMAGES = 4  # of which the features are compared: the reference needs a second for each


def compare_training(workload, params, mine, arrays, canonical, predict, step):
    """Errors of a trained network against the reference, by what was compared.

    ``arrays`` are as the library wants them, ``canonical`` as the reference does. Scores and losses: largest error
    relative to the largest value. Parameters after the steps, and what the steps have changed them by: largest
    over the parameters of |a - b| / |b|, in Euclidean norm.
    """
    reference = importlib.import_module("reference." + workload)
    given = weights.given(workload, params)
    batches = [slice(n * params.batch_size, (n + 1) * params.batch_size) for n in range(params.parity["steps"])]
    predict(arrays.x_train[batches[0]])  # some libraries make their parameters at the first batch
    mine.give(given)
    scores = np.array(predict(arrays.x_train[batches[0]]), np.float64)
    losses = np.array([step(arrays.x_train[batch], arrays.y_train[batch]) for batch in batches], np.float64)
    ours = mine.take(given)

    exact = in_double_precision(mine.mine(given))
    x = canonical.x_train if canonical.x_train.dtype == np.int32 else canonical.x_train.astype(np.float64)
    expected, expected_losses = reference.scores(exact, x[batches[0]], mine), []
    start = {name: value.copy() for name, value in exact.items()}
    optimiser = reference.Optimiser(params, mine)
    for batch in batches:
        loss, gradients = reference.gradients(exact, x[batch], canonical.y_train[batch], mine)
        optimiser.update(exact, gradients)
        expected_losses.append(loss)
    of_parameters = {name: distance(ours[name], value) for name, value in exact.items()}
    of_updates = {name: distance(ours[name] - start[name], value - start[name]) for name, value in exact.items()}
    for name in exact:
        document.event("parity", parameter=name, error=of_parameters[name], error_of_update=of_updates[name])
    return {
        "scores": relative(scores, softmax(expected) if mine.scores == "probabilities" else expected),
        "loss": relative(losses, np.array(expected_losses)),
        "parameters": max(of_parameters.values()),
        "updates": max(of_updates.values()),
    }


def compare_features(workload, given, features, canonical):
    """Error of each of the first images' features, relative to the largest feature of the reference with ``given``."""
    reference = importlib.import_module("reference." + workload)
    exact = in_double_precision(given)
    images = canonical.x_test[: min(IMAGES, len(features))].astype(np.float64)
    expected = reference.scores(exact, images)
    return [relative(ours, right) for ours, right in zip(np.array(features, np.float64), expected)]


def in_double_precision(given):
    """The reference's weights by name; what lies behind feature maps has one axis for all of them."""
    return {
        array.name: value.reshape((len(value), -1) if array.kind == "flat" else array.shape).astype(np.float64)
        for array, value in given
    }


def relative(ours, right):
    """Largest difference, relative to the largest value."""
    return float(np.abs(ours - right).max() / np.abs(right).max())


def distance(ours, right):
    """|ours - right| / |right| in Euclidean norm."""
    return float(np.linalg.norm(ours - right) / np.linalg.norm(right))
