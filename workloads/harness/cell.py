"""One run of one workload in one library: hands out parameters and data, holds the clocks, writes the result."""

import os
import time
from types import SimpleNamespace

import numpy as np

from harness import arguments, arithmetic, batches, cards, checks, cores, data, document, environment, kernels, parity
from harness.measures import accuracy, epoch_loss, timed_pass, warm_seconds
from harness.profiling import profile, steps_of
from harness.proofs import ProofRuns
from harness.resident import TOLD, ResidentRuns
from harness.streams import StreamRuns
from harness.weights import digest_of
from harness.weights import given as given_weights
from harness.workers import Workers

# Imported by the entry point, before any framework; where that has given way to another language, its own start.
STARTED = float(os.environ.get("ROSETTA_STARTED", time.perf_counter()))


class Cell(ResidentRuns, StreamRuns, ProofRuns):
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
        # On a CPU, the cores of each process: more threads than that would wait for each other. Who uses fewer says so.
        self.threads = max(1, cores.count() // self.team.processes)
        self.params = SimpleNamespace(**arguments.params_of(self.arguments.workload, self.arguments.variant))
        self.versions = {
            "framework": str(version),
            "cuda": str(cuda) if cuda else None,
            "cudnn": str(cudnn) if cudnn else None,
            "packages": packages or {},
        }
        self.device, self.gru, self.read_loss = device, None, None
        self.read_precision = arithmetic.of_driver(self.gpus)
        self.cards = cards.of_cell(self.gpus)
        self.checks, self.aside = checks.NoChecks(), 0.0
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
        """Seconds on a clock that stands still while cards are asked, weights compared, or an epoch's model tested."""
        return time.perf_counter() - self.cards.seconds - self.checks.seconds - self.aside

    def _phase(self, name):
        """Close the phase that has run since the last one, and say so."""
        now = self._now()
        self.seconds[name] = now - self._mark
        self._mark = now
        document.event("phase", phase=name, seconds=self.seconds[name])

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

        Given weights, those of the user's own and synthetic data need none. Nor does what is no file count, here and
        for the host.
        """
        path = os.path.join(data.folder(), "pretrained", name)
        asked = self.arguments
        if asked.parity or asked.weights or asked.data != "real" or not os.path.isfile(path):
            return None
        self.began_with = name
        return path

    def run(
        self,
        arrays,
        predict=None,
        train_step=None,
        train_epoch=None,
        synchronize=None,
        weights=None,
        read_loss=None,
        upload=None,
        train_indices=None,
        predict_indices=None,
    ):
        """Train and evaluate, or only predict, and write the document.

        ``train_step(x, y)`` takes one batch and returns its loss, as a number or as the framework's own scalar, which
        is read after the epoch's clock has stopped; or None, if ``read_loss()`` tells the last step's, once an epoch
        and within its clock, as published. ``train_epoch(x, y)``, for libraries whose idiom is ``fit``, takes a whole
        shuffled epoch and returns its mean loss. ``predict(x)`` takes a batch and returns scores, (batch, classes), or
        features, (batch, features), as a NumPy array. ``synchronize()`` returns when the device has finished.
        ``weights`` is a ``harness.Weights``: how to put given weights in and take them out.

        Or ``upload(arrays)`` puts the data set on the device, once; ``train_indices(order)`` takes which samples are in
        the batches, int32 (steps, batch), of as many steps as come, and returns their losses, (steps,), as an array of
        NumPy's or of the framework's; ``predict_indices(order)`` returns the features of images, (images, features).

        Of a ``batches.Stream``, x has the images of all workers that this process serves, as bytes, and is written
        over once the next batch but one is asked for; y is float32 (batch, findings); ``train_epoch(pairs)`` takes an
        iterator of them. ``predict`` returns logits for a whole batch. ``synchronize`` also brings the workers' running
        statistics together. ``upload(images)`` gets all training ``batches.Images``, larger than the network takes
        them; ``train_indices(places)`` gets int32 (steps, batch, 4): the row, top and left of the crop, and 1 if left
        and right are to be exchanged.
        """
        self.read_loss = read_loss
        self.synchronize = synchronize or read_loss or (lambda: None)
        if self.read_precision() not in (None, self.precision):
            raise SystemExit("the cell is to run in %s, but in force is %s" % (self.precision, self.read_precision()))
        if self.gpus and self.device is not None:
            self.versions["device"] = str(self.device() if callable(self.device) else self.device)
        if self.params.weights_file and weights is None:
            raise SystemExit("this script can't start from given weights: it passes no Weights to cell.run")
        self._phase("build")
        if self.arguments.profile:
            if upload:
                self._uploaded(upload, arrays)
            calls = (predict, train_step, train_epoch, train_indices, predict_indices)
            profile(self, *steps_of(self, arrays, *calls))
        elif predict_indices:
            self._infer_indexed(arrays, upload, predict_indices, weights)
        elif not (train_step or train_epoch or train_indices):
            self._infer(arrays, predict, weights)
        elif self.arguments.parity and upload:
            self._prove(arrays, predict, self._indexed_proof(upload, train_indices, arrays), weights)
        elif self.arguments.parity:
            self._prove(arrays, predict, self._stepwise_proof(arrays, train_step, train_epoch), weights)
        elif isinstance(arrays, batches.Stream):
            self._train_together(arrays, predict, weights, train_step, train_epoch, upload, train_indices)
        else:
            self._train(arrays, predict, weights, train_step, train_epoch, upload, train_indices)

    def _train(self, arrays, predict, weights, train_step, train_epoch, upload, train_indices):
        """All epochs in the way that the script trains, then the test set."""
        batch = self.params.batch_size
        steps = len(arrays.x_train) // batch  # complete batches only, as published
        if self.params.weights_file:
            predict(arrays.x_train[:batch])  # some libraries make their parameters only now
            weights.give(given_weights(self.arguments.workload, self.params))
        if weights is not None:
            self.checks = checks.Checks(weights, self.arguments.workload, self.params, self.precision)
        self.checks.begin(self.epochs, steps, whole=train_epoch is not None)
        if upload:
            train, probe = self._indexed(train_indices, steps, batch), self._indexed_probe(train_indices, arrays)
        else:
            train = self._steps(train_step, steps, batch) if train_step else self._whole(train_epoch, steps, batch)
            probe = self._class_zero(train_step or train_epoch, arrays)
        compiled = self.compile_seconds or 0.0  # ahead of the first step: others do it within, and it counts in both
        with self.meter:
            uploaded = self._uploaded(upload, arrays) if upload else 0.0
        epochs, qualities = [], []
        for number in range(1, self.epochs + 1):
            with self.meter:
                epochs.append(train(arrays.x_train, arrays.y_train, number))
            if number < self.epochs:
                qualities.append(self._tested_aside(arrays, predict))
        self._phase("train")
        self.aside = 0.0  # what was tested meanwhile is part of the next phase
        tested = len(arrays.x_test) // batch * batch
        share, scores = accuracy(arrays, predict, batch, self.checks.choose(tested))
        self._phase("evaluate")
        self.checks.end(scores, probe, self.canonical)
        self._phase("check")
        cold = sum(epoch["seconds"] for epoch in epochs)
        warm = warm_seconds(cold, self.seconds.get("first_step"), steps * len(epochs), epochs)
        self._finish(
            epochs=len(epochs),
            samples=steps * batch,
            steps=steps * len(epochs),
            samples_tested=tested,
            quality=share,
            seconds=compiled + uploaded + cold,
            seconds_warm=warm and uploaded + warm,
            epoch_seconds=[epoch["seconds"] for epoch in epochs],
            epoch_losses=[epoch["loss"] for epoch in epochs],
            epoch_qualities=[*qualities, share],
        )

    def _tested_aside(self, arrays, predict):
        """The accuracy after an epoch that is not the last, while the clock stands still."""
        seconds, (share, _) = checks.timed(lambda: accuracy(arrays, predict, self.params.batch_size))
        self.aside += seconds
        return share

    def _infer(self, arrays, predict, mine):
        """Features of all images: a pass to warm up, a timed one of others with all copies, a look at some.

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
            chosen, looked_at = checks.other_images(images, self.canonical.x_test, self.arguments.parity)
            self._phase("shuffle")
            with self.meter:
                times, features = timed_pass(images, predict, self.params, self._now)
        self._phase("predict")
        errors = parity.compare_features(self.arguments.workload, given, features[chosen], looked_at)
        self._phase("evaluate")
        self._predicted(len(images), len(times), sum(times), errors)

    def _predicted(self, images, steps, seconds, errors):
        """The document of a pass over so many images, whose features have these errors."""
        self._finish(
            epochs=1,
            samples=images,
            steps=steps,
            samples_tested=len(errors),
            quality=np.mean([error <= self.params.agreement[self.precision] for error in errors]),
            seconds=seconds * 1000 / images,
            seconds_warm=seconds * 1000 / images,
            epoch_seconds=[seconds],
            epoch_losses=[],
            **({"metric": "parity", "parity": {"features": max(errors)}} if self.arguments.parity else {}),
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
            self.checks.settle(self.synchronize)
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

    def _class_zero(self, step, arrays):
        """A function that takes a step on a batch of class 0, and returns its loss; which images is all the same."""
        x, y = arrays.x_train[: self.params.batch_size], np.zeros_like(arrays.y_train[: self.params.batch_size])
        return lambda: epoch_loss([step(x, y)], self.read_loss)

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
        result.update((name, getattr(self, name)) for name in TOLD)
        result.update(measured, **dict(self.cards.report(), **self.meter.report()))
        if self.rank:
            return
        path = document.write(result)
        event = {name: result[name] for name in ("quality", "metric", "seconds")}
        document.event("result", document=path, **event)
