"""What is measured of epochs and of the test set: losses, times without what only the first step costs, accuracy."""

import numpy as np


def epoch_loss(losses, read_last=None):
    """The mean of the steps' losses; where they gave back None, the last step's alone, by ``read_last``."""
    told = [read_scalar(loss) for loss in losses if loss is not None] or [read_scalar(read_last())]
    return np.mean(told)


def read_scalar(loss):
    """A framework's scalar as a number, once it is computed; MXNet's have no ``__float__``."""
    return float(loss.asscalar() if hasattr(loss, "asscalar") else loss)


def warm_seconds(cold, first_step, steps, epochs):
    """Training time had the first step (or, for whole-epoch training, the first epoch) cost what the others did.

    Seconds, or None where one unit was all there was.
    """
    first, units = (epochs[0]["seconds"], len(epochs)) if first_step is None else (first_step, steps)
    return (cold - first) * units / (units - 1) if units > 1 else None


def accuracy(arrays, predict, batch, chosen=()):
    """Share of right answers over the complete batches of the test set, and the scores of the ``chosen`` samples."""
    tested = len(arrays.x_test) // batch * batch
    right, kept = 0, []
    for start in range(0, tested, batch):
        scores = np.asarray(predict(arrays.x_test[start : start + batch]))
        right += int((scores.argmax(axis=1) == arrays.y_test[start : start + batch]).sum())
        kept += [np.array(scores[place - start], np.float64) for place in chosen if start <= place < start + batch]
    return right / tested, np.array(kept)


def timed_pass(images, predict, params, now):
    """Seconds of each batch of images by the clock ``now``, and the features of all: (images, features)."""
    batch, times = params.batch_size, []
    features = np.empty((len(images), params.features), np.float32)
    for start in range(0, len(images), batch):
        started = now()
        features[start : start + batch] = predict(images[start : start + batch])
        times.append(now() - started)
    return times, features
