"""The part of a run that proves its model: a few steps from given weights, compared with the reference."""

import numpy as np

from harness import document, parity
from harness.measures import epoch_loss


class ProofRuns:
    """The part of a Cell that serves ``--parity`` of what trains."""

    def _stepwise_proof(self, arrays, train_step, train_epoch):
        """A function that trains on some batches and returns their losses; or of a library's own loop, their mean."""

        def one_by_one(slices):
            losses = []
            for batch in slices:
                losses.append(epoch_loss([train_step(arrays.x_train[batch], arrays.y_train[batch])], self.read_loss))
                self.cards.after_first_step()
            return losses

        def at_once(slices):  # the loop over batches is part of what is proved
            pairs = [(arrays.x_train[batch], arrays.y_train[batch]) for batch in slices]
            if self.params.dataset == "chestxray14":
                loss = train_epoch(iter(pairs))
            else:
                loss = train_epoch(*map(np.concatenate, zip(*pairs)))
            self.cards.after_first_step()
            return [float(loss)]

        return one_by_one if train_step else at_once

    def _prove(self, arrays, predict, train, mine):
        """A few steps from given weights on given batches, compared with the reference in double precision."""
        started = self._now()
        workload, network = self.arguments.workload, (predict, train)
        errors = parity.compare_training(workload, self.params, mine, arrays, self.canonical, *network, self.team)
        if errors is None:
            return
        seconds = self._now() - started
        self._phase("train")
        document.event("parity", **errors)
        self._finish(
            epochs=1,
            samples=self.params.parity["steps"] * self.params.batch_size * self.workers,
            steps=self.params.parity["steps"],
            samples_tested=self.params.batch_size * self.workers,
            metric="parity",
            quality=sum(error <= self.params.parity[name] for name, error in errors.items()) / len(errors),
            seconds=seconds,
            seconds_warm=None,
            epoch_seconds=[seconds],
            epoch_losses=[],
            parity=errors,
        )
