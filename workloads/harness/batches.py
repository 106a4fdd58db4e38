"""Batches of X-rays, the same for every library: random crop and flip, ahead of time in other processes.

The images lie as bytes in memory maps, one channel for the three equal ones of an X-ray, at the size from which
training crops and at that which validation and test want. As bytes they reach the device, where each script normalises
them. What a batch holds depends on seed, epoch and step alone: not on the library, nor on the number of loaders or
workers. A joined batch is the workers' batches one after another.
"""

import os
from collections import namedtuple

import numpy as np

from harness import document
from harness.crew import Crew, loaders_per_worker
from harness.crops import windows
from harness.data import data_file

PARTS = ("train", "validation", "test")
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


def framed(images, size):
    """Images within larger ones of noise, uint8 (N, size, size), half of them mirrored; and how to get them back.

    That is int32 (N, 3): top, left, and 1 to flip. A script that crops by itself is proved by these.
    """
    random, side = np.random.RandomState(0), images.shape[1]
    frames = random.randint(0, 256, (len(images), size, size)).astype(np.uint8)
    changes = [random.randint(0, most + 1, len(images)) for most in (size - side, size - side, 1)]
    for frame, image, top, left, flip in zip(frames, images, *changes):
        frame[top : top + side, left : left + side] = image[:, ::-1] if flip else image
    return frames, np.stack(changes, axis=1).astype(np.int32)


def buffered(batches, buffers):
    """Each batch in one of two buffers, filled while the device still computes what it was given before."""
    for number, x in enumerate(batches):
        buffer = buffers[number % 2][: len(x)]
        np.copyto(buffer, x)
        yield buffer


class Stream:
    """The batches of one worker process: ``steps`` per epoch, of ``count`` images of ``per_step`` in all processes.

    ``share`` is (number of this process, number of processes); ``samples`` keeps the first images of each part. x is
    uint8 (count, size, size) and stays as it is until the next batch but one is asked for. It lies in memory that is
    shared with the loaders, ``loaders`` for each worker, or in what ``host_buffer(shape)`` makes: two arrays from which
    a device can read by itself, say in page-locked memory.
    """

    def __init__(self, params, seed, workers=1, share=(0, 1), samples=None, loaders=None, host_buffer=None):
        self.params, self.seed, self.share, self.size = params, seed, share, params["image_size"]
        self._open(samples)
        self.per_step = joined(self.samples, params["batch_size"], workers)
        if not self.per_step:
            raise SystemExit("%d images are too few for %d workers" % (self.samples, workers))
        self.steps, self.count = self.samples // self.per_step, self.per_step // share[1]
        loaders = loaders or loaders_per_worker(workers, len(os.sched_getaffinity(0)))
        self._begin((self.count, self.size, self.size), workers, loaders, host_buffer)

    def _open(self, samples):
        """Open the parts of the set."""
        parts = {part: read(part) for part in PARTS}
        self.parts = {part: Images(*(array[:samples] for array in images)) for part, images in parts.items()}
        self.samples = len(self.parts["train"].labels)

    def _begin(self, shape, workers, loaders, host_buffer):
        """Start the loaders of this process, and say what there is of them and of their memory in all processes."""
        sources = {part: data_file(part + ".npy") for part in PARTS}
        self.crew = Crew(sources, shape, workers // self.share[1], loaders)
        self._buffers = [host_buffer(shape) for _ in range(2)] if host_buffer else None
        document.event(
            "loaders",
            loaders=loaders * workers,
            loaders_per_worker=loaders,
            bytes_of_batch=self.per_step // workers * self.size**2,
            bytes_shared=self.crew.bytes * self.share[1],
        )

    def epoch(self, number):
        """The training batches of an epoch, from 1: pairs of x and y, (count, findings)."""
        labels = self.parts["train"].labels
        jobs = self._jobs(number)
        return ((x, labels[job[:, 0]]) for job, x in zip(jobs, self._filled("train", jobs)))

    def _jobs(self, number):
        """The row, window and flip of each image of this process, int (count, 6), step by step, in an epoch."""
        random = np.random.RandomState([self.seed, number])
        order = random.permutation(self.samples)[:, None]
        seen = windows(random, self.samples, self.params)
        changes = np.concatenate([order, seen, random.randint(0, 2, order.shape)], axis=1)
        starts = self.share[0] * self.count + self.per_step * np.arange(self.steps)
        return [changes[start : start + self.count] for start in starts]

    def resident(self):
        """All training images, as Images of the size from which training crops, for a device that holds them."""
        return self.parts["train"]

    def places(self, number):
        """An epoch of this process for such a device, int32 (steps, count, 4): row, top, left, and 1 to flip."""
        return np.array(self._jobs(number), np.int32)[..., [0, 1, 2, 5]]

    def part(self, name):
        """All images of "validation" or "test", each in exactly one process and Batch."""
        images = self.parts[name]
        mine = np.array_split(np.arange(len(images.labels)), self.share[1])[self.share[0]]
        rows = [mine[start : start + self.count] for start in range(0, len(mine), self.count)]
        whole = [(0, 0, self.size, self.size, 0)] * self.count  # window and flip
        jobs = [np.column_stack([np.resize(row, self.count), whole]) for row in rows]
        for row, x in zip(rows, self._filled(name, jobs)):
            yield Batch(x, images.labels[row], len(row))

    def _filled(self, part, jobs):
        """The images of each job."""
        batches = self.crew.batches(part, jobs)
        return buffered(batches, self._buffers) if self._buffers else batches

    def close(self):
        """End the loaders; those of a process that ends, end by themselves."""
        self.crew.close()


class SyntheticStream(Stream):
    """A few batches that are drawn once and handed out again and again: input that costs nothing.

    Each finding adds a coarse pattern of its own to noise, so that there is something to learn.
    """

    def _open(self, samples):
        self.samples = samples or SYNTHETIC_SAMPLES

    def _begin(self, shape, workers, loaders, host_buffer):
        """Draw the batches, where a device can read them by itself if the script cares."""
        random, findings = np.random.RandomState([self.seed, self.share[0]]), len(self.params["findings"])
        cells = np.random.RandomState(0).uniform(-1, 1, (findings, 7, 7)).astype(np.float32)
        self._made = []
        for _ in range(READY):
            y = random.randint(0, 2, (self.count, findings)).astype(np.float32)
            coarse = np.tensordot(y, cells, axes=1).repeat(self.size // 7, axis=1).repeat(self.size // 7, axis=2)
            x = host_buffer(shape) if host_buffer else np.empty(shape, np.uint8)
            for image, pattern in zip(x, coarse):
                noise = random.standard_normal(pattern.shape) + pattern
                image[...] = np.clip(128 + 32 * noise, 0, 255)
            self._made.append(Batch(x, y, self.count))

    def epoch(self, number):
        """The same few batches, again and again."""
        made = (self._made[step % READY] for step in range(self.steps))
        return ((batch.x, batch.y) for batch in made)

    def resident(self):
        """The images of these few batches, of the size that the network takes."""
        return Images(*(np.concatenate([batch[field] for batch in self._made]) for field in (0, 1)))

    def places(self, number):
        """The same few batches, again and again, as they are."""
        rows = np.arange(self.count) + self.count * (np.arange(self.steps)[:, None] % READY)
        return np.stack([rows] + [np.zeros_like(rows)] * 3, axis=2).astype(np.int32)

    def part(self, name):
        """Nothing to validate with; the test asks what was learned."""
        return iter(self._made if name == "test" else [])

    def close(self):
        """There are no loaders."""
