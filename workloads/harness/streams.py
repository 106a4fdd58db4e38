"""Runs whose batches come out of a stream: several workers, and an AUC of every finding at the end."""

import numpy as np

from harness import state_dict
from harness.auc import by_finding
from harness.measures import read_scalar, warm_seconds
from harness.resident import read
from harness.weights import given as given_weights
from reference.layers import binary_cross_entropy


class StreamRuns:
    """The part of a Cell that trains on a ``batches.Stream``."""

    def _train_together(self, stream, predict, weights, train_step, train_epoch, upload, train_indices):
        """All epochs, each with its validation as published, then the AUC of every finding over the test set."""
        if self.params.weights_file or (weights and weights.torchvision):
            predict(np.zeros((stream.count, stream.size, stream.size), np.uint8))  # some make their parameters only now
            weights.give(self._start(weights))
        train = self._training(stream, train_step, train_epoch, train_indices)
        compiled = self.compile_seconds or 0.0  # ahead of the first step
        with self.meter:
            uploaded = self._uploaded(upload, stream) if upload else 0.0
            epochs = [self._epoch(stream, predict, train, number) for number in range(1, self.epochs + 1)]
        validation_losses = [epoch["validation_loss"] for epoch in epochs if epoch["validation_loss"] is not None]
        self._phase("train")
        scores, labels = self._predict_part(stream, "test", predict)
        if self.rank:
            return
        found, mean = by_finding(scores, labels, self.params.findings)
        self._phase("evaluate")
        cold, steps = sum(epoch["seconds"] for epoch in epochs), stream.steps * len(epochs)
        trained = sum(epoch["trained"] for epoch in epochs)
        self.seconds["validate"] = cold - trained
        without = [{"seconds": epoch["trained"]} for epoch in epochs]  # validation
        warm = warm_seconds(trained, self.seconds.get("first_step"), steps, without)
        self._finish(
            epochs=len(epochs),
            samples=stream.steps * stream.per_step,
            steps=steps,
            samples_tested=len(scores),
            quality=mean,
            findings=found,
            seconds=compiled + uploaded + cold,
            seconds_warm=warm and uploaded + warm + cold - trained,
            epoch_seconds=[epoch["seconds"] for epoch in epochs],
            epoch_losses=[epoch["loss"] for epoch in epochs],
            validation_losses=validation_losses,
        )

    def _start(self, weights):
        """Pairs of an Array and its value: the user's own, or torchvision's below the classifier that is there."""
        given = given_weights(self.arguments.workload, self.params)
        if self.params.weights_file:
            return given
        arrays = [array for array, _ in given]
        start = dict(weights.take(given), **state_dict.densenet121(weights.torchvision, arrays))
        return [(array, start[array.name]) for array in arrays]

    def _training(self, stream, train_step, train_epoch, train_indices):
        """A function that trains an epoch in the way of the script, and returns the losses; it gets when that began."""

        def indexed(number, started):
            places = stream.places(number)
            losses = read(train_indices(places), len(places))
            if number == 1:
                self.cards.after_first_step()
            return losses

        if train_indices:
            return indexed
        if train_epoch:
            return lambda number, started: [train_epoch(stream.epoch(number))]
        return lambda number, started: self._losses(train_step, stream.epoch(number), number, started)

    def _epoch(self, stream, predict, train, number):
        """One epoch of all workers and its validation."""
        started = self._now()
        losses = train(number, started)
        self.synchronize()
        trained = self._now() - started
        scores, labels = self._predict_part(stream, "validation", predict)
        validated = scores is not None and len(scores)
        validation_loss = float(binary_cross_entropy(scores, labels)[0]) if validated else None
        told = self.team.gather([np.array([read_scalar(loss) for loss in losses])])
        done = self._epoch_done(number, np.mean(told or 0), self._now() - started)
        return dict(done, trained=trained, validation_loss=validation_loss)

    def _losses(self, train_step, pairs, number, started):
        """The losses of an epoch, step by step; the very first step is also timed alone."""
        losses = []
        for x, y in pairs:
            losses.append(train_step(x, y))
            if number == 1 and len(losses) == 1:
                self._first_step_done(losses[0], started)
        return losses

    def _predict_part(self, stream, name, predict):
        """Scores and labels of a whole part of the set, in its order; None and None for all workers but the first."""
        mine = [(np.asarray(predict(x))[:count], y) for x, y, count in stream.part(name)]
        empty = np.empty((0, len(self.params.findings)))
        told = self.team.gather([np.concatenate([pair[place] for pair in mine] + [empty]) for place in (0, 1)])
        return [np.concatenate(every) for every in zip(*told)] if told else (None, None)
