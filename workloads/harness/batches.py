"""Batches of X-rays, the same for every library: random crop, flip, normalisation, ahead of time in other processes.

The images lie as bytes in memory maps, one channel for the three equal ones of an X-ray, at the size from which
training crops and at that which validation and test want. What a batch holds depends on seed, epoch and step alone:
not on the library, nor on the number of loaders or workers. A joined batch is the workers' batches one after another.
"""

import json
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections import namedtuple

import numpy as np

from harness.data import data_file

MOST_LOADERS = 8
READY, SYNTHETIC_SAMPLES = 4, 87306  # synthetic batches that are made once and repeated; images in an epoch of them

Images = namedtuple("Images", "pixels labels")
Images.__doc__ = """A part of the set: uint8 (N, size, size), mapped from the disk, and float32 0 or 1 (N, findings)."""

Batch = namedtuple("Batch", "x y count")
Batch.__doc__ = """To predict: x is as large as in training; its first ``count`` images are meant, and y is theirs."""


def read(part):
    """The Images of "train", "validation" or "test", whose pixels stay on the disk until they are used."""
    pixels = np.load(data_file(part + ".npy"), mmap_mode="r", allow_pickle=False)
    return Images(pixels, np.load(data_file(part + ".labels.npy"), allow_pickle=False).astype(np.float32))


def joined(samples, batch, workers):
    """Size of a batch of all workers; a set that is smaller is one batch, as far as it can be divided."""
    return min(batch * workers, samples // workers * workers)


class Form:
    """How pixels become numbers: (byte / 255 - mean) / sd for each channel, "NCHW" or "NHWC"."""

    def __init__(self, size, mean, sd, layout):
        mean, sd = np.array(mean), np.array(sd)
        self.size, self.layout = size, layout
        self.scale, self.shift = (1 / (255 * sd)).astype(np.float32), (-mean / sd).astype(np.float32)

    def empty(self, count):
        """Room for some images."""
        size, channels = self.size, len(self.scale)
        shape = (count, channels, size, size) if self.layout == "NCHW" else (count, size, size, channels)
        return np.empty(shape, np.float32)

    def fill(self, out, pixels, changes):
        """Write images into ``out``: ``changes`` has the row, top, left and flip of each."""
        channels = out if self.layout == "NCHW" else out.transpose(0, 3, 1, 2)
        for image, (row, top, left, flip) in zip(channels, changes):
            window = pixels[row, top : top + self.size, left : left + self.size].astype(np.float32)
            window = window[:, ::-1] if flip else window
            for channel, scale, shift in zip(image, self.scale, self.shift):
                np.multiply(window, scale, out=channel)
                channel += shift
        return out


class Loader:
    """A process that prepares one batch after the other in a file that it shares with this one."""

    def __init__(self, folder, number, source, form, count):
        room = form.empty(count)
        self.path = os.path.join(folder, "%d.slot" % number)
        self.slot = np.memmap(self.path, np.float32, "w+", shape=room.shape)
        # A new program, not a fork: the library that runs here already may have threads, and its memory is its own.
        command = [sys.executable, "-m", "harness.loader", self.path, json.dumps(room.shape)]
        parent = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(os.environ, PYTHONPATH=parent)
        )
        self._send((source, form))

    def _send(self, thing):
        pickle.dump(thing, self.process.stdin, protocol=4)
        self.process.stdin.flush()

    def ask(self, changes):
        """Have a batch prepared; one at a time."""
        self.count = len(changes)
        self._send(np.asarray(changes))

    def take(self):
        """The batch that was asked for, in memory of its own."""
        if self.process.stdout.read(1) != b".":
            raise SystemExit("a loader has died: see above")
        return np.array(self.slot[: self.count])

    def close(self):
        """End the process."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


class Stream:
    """The batches of one worker process: ``steps`` per epoch, of ``count`` images of ``per_step`` in all processes.

    ``share`` is (number of this process, number of processes); ``samples`` keeps the first images of each part.
    """

    def __init__(self, params, layout, seed, workers=1, share=(0, 1), samples=None, loaders=None):
        self.form = Form(params["image_size"], params["mean"], params["sd"], layout)
        self.params, self.seed, self.share = params, seed, share
        cores = len(os.sched_getaffinity(0)) // share[1]
        self.loaders = max(1, min(MOST_LOADERS, cores - 1)) if loaders is None else loaders
        self._prepare(samples)
        self.per_step = joined(self.samples, params["batch_size"], workers)
        if not self.per_step:
            raise SystemExit("%d images are too few for %d workers" % (self.samples, workers))
        self.steps, self.count = self.samples // self.per_step, self.per_step // share[1]

    def _prepare(self, samples):
        """Open the parts of the set."""
        parts = {part: read(part) for part in ("train", "validation", "test")}
        self.parts = {part: Images(*(array[:samples] for array in images)) for part, images in parts.items()}
        self.samples = len(self.parts["train"].labels)

    def epoch(self, number):
        """The training batches of an epoch, from 1: pairs of x and y, (count, findings)."""
        random = np.random.RandomState([self.seed, number])
        images, most = self.parts["train"], self.params["stored_size"] - self.form.size
        order = random.permutation(self.samples)
        changes = np.stack([order] + [random.randint(0, most + 1, self.samples) for _ in "yx"], axis=1)
        changes = np.concatenate([changes, random.randint(0, 2, (self.samples, 1))], axis=1)
        starts = self.share[0] * self.count + self.per_step * np.arange(self.steps)
        jobs = [changes[start : start + self.count] for start in starts]
        return ((x, images.labels[job[:, 0]]) for job, x in zip(jobs, self._filled("train", jobs)))

    def part(self, name):
        """All images of "validation" or "test", each in exactly one process and Batch."""
        images = self.parts[name]
        mine = np.array_split(np.arange(len(images.labels)), self.share[1])[self.share[0]]
        rows = [mine[start : start + self.count] for start in range(0, len(mine), self.count)]
        jobs = [np.pad(np.resize(row, self.count)[:, None], ((0, 0), (0, 3)), "constant") for row in rows]
        for row, x in zip(rows, self._filled(name, jobs)):
            yield Batch(x, images.labels[row], len(row))

    def _filled(self, part, jobs):
        """The images of each job, prepared ahead as far as there are loaders."""
        pixels = self.parts[part].pixels
        if not self.loaders:
            for job in jobs:
                yield self.form.fill(self.form.empty(len(job)), pixels, job)
            return
        folder = tempfile.mkdtemp(prefix="rosetta-batches-")
        source, largest = data_file(part + ".npy"), max([len(job) for job in jobs] + [1])
        crew = [Loader(folder, n, source, self.form, largest) for n in range(min(self.loaders, len(jobs)))]
        try:
            for job, loader in zip(jobs, crew):
                loader.ask(job)
            for number in range(len(jobs)):
                loader = crew[number % len(crew)]
                x = loader.take()
                if number + len(crew) < len(jobs):
                    loader.ask(jobs[number + len(crew)])
                yield x
        finally:
            for loader in crew:
                loader.close()
            shutil.rmtree(folder, ignore_errors=True)


class SyntheticStream(Stream):
    """A few batches that are drawn once and handed out again and again: input that costs nothing.

    Each finding adds a coarse pattern of its own to noise, so that there is something to learn.
    """

    def _prepare(self, samples):
        self.samples = samples or SYNTHETIC_SAMPLES
        self._made = []

    def _draw(self):
        random = np.random.RandomState([self.seed, self.share[0]])
        size, findings = self.form.size, len(self.params["findings"])
        cells = np.random.RandomState(0).uniform(-1, 1, (findings, 7, 7)).astype(np.float32)
        for _ in range(READY):
            y = random.randint(0, 2, (self.count, findings)).astype(np.float32)
            coarse = np.tensordot(y, cells, axes=1).repeat(size // 7, axis=1).repeat(size // 7, axis=2)
            x = self.form.empty(self.count)
            for image, pattern in zip(x, coarse):
                noise = random.standard_normal(pattern.shape).astype(np.float32) + pattern
                image[...] = noise if self.form.layout == "NCHW" else noise[:, :, None]
            self._made.append(Batch(x, y, self.count))

    def epoch(self, number):
        """The same few batches, again and again."""
        if not self._made:
            self._draw()
        made = (self._made[step % READY] for step in range(self.steps))
        return ((batch.x, batch.y) for batch in made)

    def part(self, name):
        """Nothing to validate with; the test asks what was learned."""
        return iter(self._made if name == "test" else [])
