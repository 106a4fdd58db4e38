"""Runs of contract 2: the data set lies on the device, and batches of it are asked for by their indices.

What a script does in an epoch's call is its own: a loop on the device, graphs, one program for all steps. So the
harness cuts epochs where chance says: a step that is watched, see ``checks``, comes in a call of its own, and the
weights are compared before and after it.
"""

import time
from contextlib import contextmanager

import numpy as np

from harness import batches, checks, cores, parity
from harness.weights import given as given_weights

TOLD = ("input", "layout", "compiled", "compile_seconds")
"""What such a run says of itself in the document."""


def read(losses, steps):
    """The losses of so many steps as numbers; anything but one finite number a step ends the run."""
    losses = np.asarray(losses.asnumpy() if hasattr(losses, "asnumpy") else losses, np.float64)
    if losses.shape != (steps,):
        raise SystemExit("losses of the shape %s came back of %d steps" % (losses.shape, steps))
    if not np.isfinite(losses).all():
        place = int(np.flatnonzero(~np.isfinite(losses))[0])
        raise SystemExit("the loss became %s in step %d: the run is worth nothing" % (losses[place], place + 1))
    return losses


class ResidentRuns:
    """The part of a Cell that serves ``cell.run(upload=…)``.

    A script may say in ``layout`` how images lie on the device. What it compiles, it compiles ``with
    cell.compiling("XLA"):``. Those seconds are also told apart; ahead of the first step they count in ``seconds`` all
    the same.
    """

    input, layout, compiled, compile_seconds = "host", None, None, None

    @contextmanager
    def compiling(self, by):
        """Take the time of what is compiled meanwhile; ``by`` names the compiler, or whatever records the steps."""
        self.compiled = by
        started = time.perf_counter()
        try:
            yield
        finally:
            self.compile_seconds = (self.compile_seconds or 0.0) + time.perf_counter() - started

    def _uploaded(self, upload, arrays):
        """Put the data set, or a stream's images, on the device: a phase within the clock, whose seconds come back."""
        self.input, self._mark = "device", self._now()
        upload(arrays.resident() if isinstance(arrays, batches.Stream) else arrays)
        self.synchronize()
        self._phase("upload")
        return self.seconds["upload"]

    def _indexed(self, train_indices, steps, batch):
        """An epoch as one call on a whole permutation; or as a few, where steps are watched."""

        def epoch(x, y, number):
            started, first = self._now(), (number - 1) * steps
            order = self.random.permutation(len(x))[: steps * batch].reshape(steps, batch).astype(np.int32)
            pieces, losses = self.checks.pieces(first, steps), []
            for start, end in pieces:
                self.checks.before(first + start, self.synchronize)
                losses.append(train_indices(order[start:end]))
                self.checks.after(first + start, self.synchronize)
            self.checks.settle(self.synchronize)
            seconds = self._now() - started
            told = [read(loss, end - start) for loss, (start, end) in zip(losses, pieces)]
            if number == 1:
                self.cards.after_first_step()
            return self._epoch_done(number, np.concatenate(told).mean(), seconds)

        return epoch

    def _indexed_probe(self, train_indices, arrays):
        """A function that takes a step on samples of class 0, some of them more than once, and returns its loss."""
        batch = np.resize(np.flatnonzero(arrays.y_train == 0), self.params.batch_size).astype(np.int32)[None]
        return lambda: read(train_indices(batch), 1)[0]

    def _indexed_proof(self, upload, train_indices, arrays):
        """A function that trains on some batches, for ``parity``: of samples that lie in another order than theirs."""
        place = np.random.RandomState(0).permutation(len(arrays.x_train)).astype(np.int32)
        lies = np.argsort(place)
        self.input = "device"
        if self.params.dataset == "chestxray14":
            frames, changes = batches.framed(arrays.x_train[lies], self.params.stored_size)
            upload(batches.Images(frames, arrays.y_train[lies]))
            place = np.column_stack([place, changes[place]])
        else:
            upload(arrays._replace(x_train=arrays.x_train[lies], y_train=arrays.y_train[lies]))

        def train(slices):
            losses = read(train_indices(np.array([place[batch] for batch in slices])), len(slices))
            self.cards.after_first_step()
            return losses

        return train

    def _infer_indexed(self, arrays, upload, predict_indices, mine):
        """Features of all images: a pass to warm up, and a timed one of others.

        Each uploads them once. ``seconds`` are those for 1,000 images, the upload included; the batches of the timed
        pass are drawn by chance.
        """
        batch = self.params.batch_size
        images = arrays.x_test[: len(arrays.x_test) // batch * batch]
        order = np.arange(len(images), dtype=np.int32).reshape(-1, batch)
        given = given_weights(self.arguments.workload, self.params)
        with cores.neighbours(self.arguments.parity):
            upload(arrays._replace(x_test=images))
            mine.give(given)
            predict_indices(order)
            self.synchronize()
            self._phase("warm_up")
            self.cards.after_first_step()
            chosen, looked_at = checks.other_images(images, self.canonical.x_test, self.arguments.parity)
            draw = np.random.RandomState(0 if self.arguments.parity else checks.chance.randrange(2**32))
            order = draw.permutation(len(images)).astype(np.int32).reshape(-1, batch)
            self._phase("shuffle")
            with self.meter:
                uploaded = self._uploaded(upload, arrays._replace(x_test=images))
                started = self._now()
                features = np.asarray(predict_indices(order), np.float32)
                seconds = uploaded + self._now() - started
        self._phase("predict")
        if features.shape != (len(images), self.params.features):
            raise SystemExit("features of the shape %s came back of %d images" % (features.shape, len(images)))
        found = features[np.argsort(order.ravel())[chosen]]
        errors = parity.compare_features(self.arguments.workload, given, found, looked_at)
        self._phase("evaluate")
        self._predicted(len(images), len(order), seconds, errors)
