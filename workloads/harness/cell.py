"""One run of one workload in one library: hands out parameters and data, holds the clocks, writes the result."""

import os
import time
from types import SimpleNamespace

import numpy as np

from harness import arguments, arithmetic, batches, cards, checks, cores, data, document, environment, kernels, parity
from harness.auc import by_finding
from harness.measures import accuracy, epoch_loss, read_scalar, timed_pass, warm_seconds
from harness.weights import digest_of
from harness.weights import given as given_weights
from harness.workers import Workers
from reference.layers import binary_cross_entropy

# Imported by the entry point, before any framework; where that has given way to another language, its own start.
STARTED = float(os.environ.get("ROSETTA_STARTED", time.perf_counter()))


class Cell:
    """The frame around a workload script.

    A script imports its framework, creates a Cell with the versions that the framework itself reports, builds its
    model, and ends with ``cell.run``. Attributes: ``params`` (the workload's entry in params.json, by attribute),
    ``seed``, ``precision``, ``gpus`` (their number; 0 means CPU). Of its arguments, ``device`` is what the library
    calls its first GPU, or a function that tells it once there is a model. A script of a GRU says in ``gru`` how its
    time-steps are computed (docs/contract.md), or a function that tells it when all is done.

    Where several GPUs train one model: ``workers`` (their number; on a CPU that of processes or whatever stands for
    GPUs), and with ``processes``, which has the harness start one for each, ``rank``, which of them this is, and
    ``meeting``, a folder of all of them, and ``team`` (``workers.Workers``), to exchange arrays for want of the
    library's own way. ``params.learning_rate`` is then already that of the joined batch.
    """

    def __init__(
        self, version, cuda=None, cudnn=None, packages=None, precisions=("fp32",), processes=False, device=None
    ):
        self.seconds = dict(kernels.seconds(), **{"import": time.perf_counter() - STARTED})
        self.arguments = arguments.parse(arguments.command_line())
        self.seed, self.precision, self.gpus = self.arguments.seed, self.arguments.precision, self.arguments.gpus
        if self.precision not in precisions:
            raise SystemExit(
                "%s runs %s in %s only, not in %s"
                % (self.arguments.library, self.arguments.workload, ", ".join(precisions), self.precision)
            )
        self.team = Workers(self.arguments.workers, processes, arguments.command_line())
        self.workers, self.rank, self.meeting = self.team.count, self.team.rank, self.team.meeting
        self.params = SimpleNamespace(**arguments.read_params()[self.arguments.workload])
        self.versions = {
            "framework": str(version),
            "cuda": str(cuda) if cuda else None,
            "cudnn": str(cudnn) if cudnn else None,
            "packages": packages or {},
        }
        self.device, self.gru, self.read_loss = device, None, None
        self.read_precision = arithmetic.of_driver(self.gpus)
        self.cards = cards.of_cell(self.gpus)
        self.checks = checks.NoChecks()
        if self.arguments.parity:
            self.params.dropout = [0.0] * len(getattr(self.params, "dropout", []))
            vars(self.params).update(self.params.parity.get("with", {}))
        if self.workers > 1:
            self.params.learning_rate *= self.workers
        own = self.params.weights_file = self.arguments.weights
        self.began_with = own and "own weights, SHA-256 " + digest_of(own)
        self.meter = cores.Meter()
        self.epochs = self.arguments.epochs or self.params.epochs
        self.random = np.random.RandomState(self.seed)
        self._mark = self._now()
        document.event("phase", phase="import", seconds=self.seconds["import"])

    def _now(self):
        """Seconds on a clock that stands still while the GPUs are asked how they are, or weights are compared."""
        return time.perf_counter() - self.cards.seconds - self.checks.seconds

    def _phase(self, name):
        """Close the phase that has run since the last one, and say so."""
        now = self._now()
        self.seconds[name] = now - self._mark
        self._mark = now
        document.event("phase", phase=name, seconds=self.seconds[name])

    @property
    def threads(self):
        """Cores for each process on a CPU: more threads than that would wait for each other."""
        return max(1, cores.count() // self.team.processes)

    def settle_precision(self, library, layers=None):
        """Set the library's own arithmetic to what was asked for, see ``arithmetic``; to be called before the model."""
        self.read_precision = getattr(arithmetic, library)(self.precision, layers)

    def data(self, layout="NCHW", host_buffer=None):
        """The workload's arrays as a ``data.Data``, images in this layout, or its batches as a ``batches.Stream``.

        Of a stream, ``host_buffer(shape)`` may make the uint8 arrays that batches are handed out in.
        """
        asked = self.arguments
        if self.params.dataset == "chestxray14" and not asked.parity:
            kind = batches.Stream if asked.data == "real" else batches.SyntheticStream
            share = (self.rank, self.team.processes)
            stream = kind(vars(self.params), self.seed, self.workers, share, asked.samples, host_buffer=host_buffer)
            self._phase("data")
            return stream
        samples = asked.samples
        if asked.parity:
            samples = self.params.parity["steps"] * self.params.batch_size * self.workers
        self.canonical = data.load(self.params.dataset, asked.data, vars(self.params), samples)
        arrays = data.to_layout(self.canonical, layout)
        self.canonical = data.normalised(self.canonical, self.params)
        self._phase("data")
        return arrays

    def pretrained(self, name):
        """Path of the ImageNet weights that the library's own hub publishes under this name; None if not fetched.

        Given weights and synthetic data need none.
        """
        path = os.path.join(data.folder(), "pretrained", name)
        if self.arguments.parity or self.arguments.data != "real" or not os.path.exists(path):
            return None
        self.began_with = name
        return path

    def run(self, arrays, predict, train_step=None, train_epoch=None, synchronize=None, weights=None, read_loss=None):
        """Train and evaluate, or only predict, and write the document.

        ``train_step(x, y)`` takes one batch and returns its loss, as a number or as the framework's own scalar, which
        is read after the epoch's clock has stopped; or None, if ``read_loss()`` tells the last step's, once an epoch
        and within its clock, as published. ``train_epoch(x, y)``, for libraries whose idiom is ``fit``, takes a whole
        shuffled epoch and returns its mean loss. ``predict(x)`` takes a batch and returns scores, (batch, classes), or
        features, (batch, features), as a NumPy array. ``synchronize()`` returns when the device has finished.
        ``weights`` is a ``harness.Weights``: how to put given weights in and take them out.

        Of a ``batches.Stream``, x has the images of all workers that this process serves, as bytes, and is written
        over once the next batch but one is asked for; y is float32 (batch, findings); ``train_epoch(pairs)`` takes an
        iterator of them. ``predict`` returns logits for a whole batch. ``synchronize`` also brings the workers' running
        statistics together.
        """
        self.read_loss = read_loss
        self.synchronize = synchronize or read_loss or (lambda: None)
        if self.read_precision() not in (None, self.precision):
            raise SystemExit("the cell is to run in %s, but in force is %s" % (self.precision, self.read_precision()))
        if self.gpus and self.device is not None:
            self.versions["device"] = str(self.device() if callable(self.device) else self.device)
        self._phase("build")
        step = train_step or train_epoch
        if step is None:
            self._infer(arrays, predict, weights)
        elif self.arguments.parity:
            whole = step if train_step or self.params.dataset != "chestxray14" else lambda x, y: step(iter([(x, y)]))
            self._prove(arrays, predict, whole, weights)
        elif isinstance(arrays, batches.Stream):
            self._train_together(arrays, predict, train_step, train_epoch)
        else:
            if self.params.weights_file:
                predict(arrays.x_train[: self.params.batch_size])  # some libraries make their parameters only now
                weights.give(given_weights(self.arguments.workload, self.params))
            if weights is not None:
                self.checks = checks.Checks(weights, self.arguments.workload, self.params, self.precision)
            self._train(arrays, predict, train_step, train_epoch)

    def _train(self, arrays, predict, train_step, train_epoch):
        """All epochs, then the test set."""
        batch = self.params.batch_size
        steps = len(arrays.x_train) // batch  # complete batches only, as published
        self.checks.begin(self.epochs * (steps if train_step else 1), every=train_step is None)
        train = self._steps(train_step, steps, batch) if train_step else self._whole(train_epoch, steps, batch)
        with self.meter:
            epochs = [train(arrays.x_train, arrays.y_train, number) for number in range(1, self.epochs + 1)]
        self._phase("train")
        share, tested = accuracy(arrays, predict, batch)
        self._phase("evaluate")
        step = train_step or train_epoch
        self.checks.end(predict, lambda x, y: epoch_loss([step(x, y)], self.read_loss), arrays, self.canonical)
        self._phase("check")
        cold = sum(epoch["seconds"] for epoch in epochs)
        self._finish(
            epochs=len(epochs),
            samples=steps * batch,
            steps=steps * len(epochs),
            samples_tested=tested,
            quality=share,
            seconds=cold,
            seconds_warm=warm_seconds(cold, self.seconds.get("first_step"), steps * len(epochs), epochs),
            epoch_seconds=[epoch["seconds"] for epoch in epochs],
            epoch_losses=[epoch["loss"] for epoch in epochs],
        )

    def _train_together(self, stream, predict, train_step, train_epoch):
        """All epochs, each with its validation as published, then the AUC of every finding over the test set."""
        with self.meter:
            epochs = [self._epoch(stream, predict, train_step, train_epoch, n) for n in range(1, self.epochs + 1)]
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
        warm = warm_seconds(trained, self.seconds.get("first_step"), steps, epochs)
        self._finish(
            epochs=len(epochs),
            samples=stream.steps * stream.per_step,
            steps=steps,
            samples_tested=len(scores),
            quality=mean,
            findings=found,
            seconds=cold,
            seconds_warm=warm and warm + cold - trained,
            epoch_seconds=[epoch["seconds"] for epoch in epochs],
            epoch_losses=[epoch["loss"] for epoch in epochs],
            validation_losses=validation_losses,
        )

    def _epoch(self, stream, predict, train_step, train_epoch, number):
        """One epoch of all workers and its validation."""
        started = self._now()
        pairs = stream.epoch(number)
        losses = [train_epoch(pairs)] if train_epoch else self._losses(train_step, pairs, number, started)
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

    def _infer(self, arrays, predict, mine):
        """Features of all images: a pass to warm up, a timed one with all copies, and a look at the first features.

        ``seconds`` are those for 1,000 images, as published.
        """
        batch = self.params.batch_size
        given = given_weights(self.arguments.workload, self.params)
        predict(arrays.x_test[:batch])  # some libraries make their parameters at the first batch
        if mine.pretrained:
            self.began_with = mine.pretrained
            taken = mine.take(given)
            given = [(array, taken[array.name]) for array, _ in given]
        else:
            mine.give(given)
        images = arrays.x_test[: len(arrays.x_test) // batch * batch]
        with cores.neighbours(self.arguments.parity):
            self.seconds["first_step"] = timed_pass(images, predict, self.params, self._now)[0][0]
            self._phase("warm_up")
            self.cards.after_first_step()
            chosen, looked_at = checks.other_order(images, self.canonical.x_test, self.arguments.parity)
            self._phase("shuffle")
            with self.meter:
                times, features = timed_pass(images, predict, self.params, self._now)
        self._phase("predict")
        errors = parity.compare_features(self.arguments.workload, given, features[chosen], looked_at)
        self._phase("evaluate")
        self._finish(
            epochs=1,
            samples=len(images),
            steps=len(times),
            samples_tested=len(errors),
            quality=np.mean([error <= self.params.agreement[self.precision] for error in errors]),
            seconds=sum(times) * 1000 / len(images),
            seconds_warm=sum(times) * 1000 / len(images),
            epoch_seconds=[sum(times)],
            epoch_losses=[],
            **({"metric": "parity", "parity": {"features": max(errors)}} if self.arguments.parity else {}),
        )

    def _prove(self, arrays, predict, step, mine):
        """A few steps from given weights on given batches, compared with the reference in double precision."""

        def proved_step(x, y):
            loss = epoch_loss([step(x, y)], self.read_loss)
            self.cards.after_first_step()
            return loss

        started = self._now()
        workload, network = self.arguments.workload, (predict, proved_step)
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

    def _steps(self, train_step, steps, batch):
        """An epoch as a loop over batches; the very first step is also timed alone."""

        def epoch(x, y, number):
            started = self._now()
            order = self.random.permutation(len(x))
            losses = []
            for step in range(steps):
                index = order[step * batch : (step + 1) * batch]
                self.checks.before((number - 1) * steps + step, self.synchronize)
                losses.append(train_step(x[index], y[index]))
                self.checks.after((number - 1) * steps + step, self.synchronize)
                if number == 1 and step == 0:
                    self._first_step_done(losses[0], started)
            self.synchronize()
            seconds = self._now() - started
            return self._epoch_done(number, epoch_loss(losses, self.read_loss), seconds)

        return epoch

    def _whole(self, train_epoch, steps, batch):
        """An epoch as one call of the library's own loop over the same batches."""

        def epoch(x, y, number):
            started = self._now()
            order = self.random.permutation(len(x))[: steps * batch]
            self.checks.before(number - 1, self.synchronize)
            loss = train_epoch(x[order], y[order])
            self.synchronize()
            self.checks.after(number - 1, self.synchronize)
            return self._epoch_done(number, loss, self._now() - started)

        return epoch

    def _first_step_done(self, loss, started):
        self.synchronize()
        epoch_loss([loss], self.read_loss)
        self.seconds["first_step"] = self._now() - started
        self.cards.after_first_step()

    def _epoch_done(self, number, loss, seconds):
        loss = float(loss)
        if not np.isfinite(loss):
            raise SystemExit("the loss became %s in epoch %d: the run is worth nothing" % (loss, number))
        self.cards.after_epoch(number, self.epochs)
        document.event("epoch", epoch=number, epochs=self.epochs, loss=loss, seconds=seconds)
        return {"seconds": seconds, "loss": loss}

    def _finish(self, **measured):
        """Write the document: what was measured, what was asked for, what it ran on."""
        asked = self.arguments
        shorter = asked.samples is not None or measured["epochs"] < self.params.epochs or asked.parity
        result = {
            "contract": arguments.CONTRACT,
            "effective_precision": self.read_precision(),
            "n_gpus": asked.gpus,
            "shortened": shorter,
            "metric": self.params.metric,
            "phases": self.seconds,
            "peak_memory": environment.peak_memory(),
            "container_memory": environment.container_memory(),
            "versions": self.versions,
            "environment": environment.describe(self.cards.named),
            "parity": None,
            "checks": self.checks.found,
            "pretrained": self.began_with,
            "gru": self.gru() if callable(self.gru) else self.gru,
            "threads": self.threads,
        }
        result.update((name, getattr(asked, name)) for name in arguments.AXES)
        result.update(measured, **dict(self.cards.report(), **self.meter.report()))
        if self.rank:
            return
        path = document.write(result)
        event = {name: result[name] for name in ("quality", "metric", "seconds")}
        document.event("result", document=path, **event)
