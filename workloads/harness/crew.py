"""Processes that prepare batches ahead of time, straight into the memory from which a script takes them.

That memory is a file without a name in /dev/shm: a ring of batches. Nobody copies a batch between processes, and
nothing is left behind by whoever dies. Python 3.6 has no ``multiprocessing.shared_memory``.
"""

import contextlib
import mmap
import os
import pickle
import signal
import subprocess
import sys
import tempfile

import numpy as np

MOST_LOADERS = 8  # for each worker
KEPT = 2  # a batch stays as it is until the next but one is asked for: the device may still read it
ONE_THREAD = {name + "_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB")}
DEATHS = {"SIGBUS": "out of shared memory", "SIGKILL": "killed, perhaps out of memory"}


def loaders_per_worker(workers, cores):
    """How many processes prepare the batches of each worker: by cores and workers alone, so alike in every library.

    One core of each worker's share is left to the worker itself.
    """
    return max(1, min(MOST_LOADERS, cores // workers - 1))


def bytes_of_ring(shape, loaders):
    """Shared memory of a worker whose batches have this shape: one for each loader, and those handed out."""
    return int(np.prod(shape)) * (loaders + KEPT)


def shared_file(size):
    """A file in memory of this many bytes, all of which are there from now on; an error says how many are missing."""
    folder = "/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (the caller closes it)
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        file.close()
        free = os.statvfs(folder)
        raise SystemExit(
            "out of shared memory: batches want %.0f MB, %s has %.0f MB free (%s); docker run's --shm-size gives more"
            % (size / 1e6, folder, free.f_bavail * free.f_frsize / 1e6, error.strerror)
        ) from None
    return file


class Loader:
    """One process, which prepares one share of a batch at a time."""

    def __init__(self, file, ring, sources):
        self.busy, self._errors = False, tempfile.TemporaryFile()  # noqa: SIM115 (lives as the process does)
        parent = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        # A new program, not a fork: the library that runs here already may have threads, and its memory is its own.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harness.loader"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            pass_fds=[file.fileno()],
            env=dict(os.environ, PYTHONPATH=parent, **ONE_THREAD),
        )
        self._send((file.fileno(), ring, sources))

    def _send(self, thing):
        try:
            pickle.dump(thing, self.process.stdin, protocol=4)
            self.process.stdin.flush()
        except BrokenPipeError:
            self._mourn()

    def ask(self, part, slot, start, changes):
        """Have images of a part prepared at ``start`` of a slot; what was asked before is waited for."""
        if self.busy:
            self.wait()
        self.busy = True
        self._send((part, slot, start, changes))

    def wait(self):
        """Return when the images are there."""
        if self.process.stdout.read(1) != b".":
            self._mourn()
        self.busy = False

    def _mourn(self):
        """End this process too, and say what the loader died of."""
        code = self.process.wait()
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip()
        sys.stderr.write(said + "\n" if said else "")
        name = signal.Signals(-code).name if code < 0 else "exit code %d" % code
        reason = DEATHS.get(name) or (said.splitlines() or ["no reason given"])[-1]
        raise SystemExit("a loader has died: %s (%s)" % (reason, name))

    def close(self):
        """End the process, which has nothing to lose; one that is dead already is no error."""
        self.process.kill()
        for stream in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        self.process.wait()
        self._errors.close()


class Crew:
    """All loaders of a process, ``each`` for every worker that it serves, and the ring of batches that they fill.

    ``shape`` is that of a batch of all these workers: (count, size, size), bytes. ``sources`` has the file of each
    part's pixels.
    """

    def __init__(self, sources, shape, workers, each):
        self.workers, self.each = workers, each
        self.bytes = bytes_of_ring(shape, each)
        ring = (each + KEPT,) + shape
        with shared_file(self.bytes) as file:
            self.slots = np.frombuffer(mmap.mmap(file.fileno(), self.bytes), np.uint8).reshape(ring)
            self.loaders = [Loader(file, ring, sources) for _ in range(each * workers)]

    def batches(self, part, jobs):
        """The images of each job, prepared ahead; they stay until the next but one is asked for."""
        for number in range(min(self.each, len(jobs))):
            self._ask(number, part, jobs)
        for number, job in enumerate(jobs):
            for loader in self._crew(number):
                loader.wait()
            if number + self.each < len(jobs):
                self._ask(number + self.each, part, jobs)
            yield self.slots[number % len(self.slots)][: len(job)]

    def _crew(self, number):
        """The loaders of a batch, one for each worker."""
        first = number % self.each * self.workers
        return self.loaders[first : first + self.workers]

    def _ask(self, number, part, jobs):
        shares = np.split(jobs[number], self.workers)
        for place, (loader, share) in enumerate(zip(self._crew(number), shares)):
            loader.ask(part, number % len(self.slots), place * len(share), share)

    def close(self):
        """End all loaders."""
        for loader in self.loaders:
            loader.close()
