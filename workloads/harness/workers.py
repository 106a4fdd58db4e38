"""Workers that train one model together: processes of one script, which meet in a folder.

A library that runs a process per GPU (PyTorch) asks for them with ``Cell(processes=True)``: the harness then starts
the same script again for each further worker. What the harness itself has to collect, scores and parameters, goes
through files, so that it needs nothing of the library. Gradients are the library's own business; one that can't
average them between processes of a CPU (Chainer) has ``mean``.
"""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

from harness import cores

RANK, MEETING = "ROSETTA_RANK", "ROSETTA_MEETING"


def rank():
    """Which worker this process is; 0 is the one that speaks and writes the result."""
    return int(os.environ.get(RANK, "0"))


class Workers:
    """The processes that run this cell. ``meeting`` is the folder that they share, ``rank`` which of them this is."""

    def __init__(self, count, processes, argv):
        self.count, self.rank = count, rank()
        self.processes = count if processes else 1
        self._round, self._others = 0, []
        self.meeting = os.environ.get(MEETING)
        if self.processes > 1 and self.rank == 0:
            self.meeting = tempfile.mkdtemp(prefix="rosetta-workers-")
            atexit.register(self._end)
            for number in range(1, count):
                self._start(number, argv)

    def _start(self, number, argv):
        """Start a worker; should it die, so does this process: the others would wait for it for ever."""
        env = dict(os.environ, **{RANK: str(number), MEETING: self.meeting, cores.SHARED_BY: str(self.count)})
        worker = subprocess.Popen([sys.executable, "-m", "harness"] + argv, env=env)
        self._others.append(worker)

        def watch():
            if worker.wait() > 0:
                sys.stderr.write("worker %d ended with exit code %d\n" % (number, worker.returncode))
                sys.stderr.flush()
                os._exit(1)

        threading.Thread(target=watch, daemon=True).start()

    def _end(self):
        """Leave nothing running, and nothing on the disk."""
        for worker in self._others:
            worker.kill()
        shutil.rmtree(self.meeting, ignore_errors=True)

    def gather(self, arrays):
        """Every worker's list of arrays, in their order, for the first one; None for the others.

        All workers must call this the same number of times. Without further processes: the own list alone.
        """
        if self.processes == 1:
            return [arrays]
        self._round += 1
        self._write(self._path("of", self.rank), arrays)
        if self.rank:
            return None
        return [self._read(self._path("of", number)) for number in range(self.processes)]

    def share(self, arrays):
        """The first worker's list of arrays, for all; what the others have is ignored. All must call it alike."""
        if self.processes == 1:
            return arrays
        self._round += 1
        if self.rank:
            return self._read(self._path("for", self.rank))
        for number in range(1, self.processes):
            self._write(self._path("for", number), arrays)
        return arrays

    def mean(self, arrays):
        """The means of every worker's arrays, to the bit the same for all: for libraries with no way of their own."""
        told = self.gather(arrays)
        return self.share(told and [np.mean(every, axis=0) for every in zip(*told)])

    def _path(self, word, number):
        return os.path.join(self.meeting, "%d-%s-%d.npz" % (self._round, word, number))

    @staticmethod
    def _write(path, arrays):
        with open(path + ".partial", "wb") as file:
            np.savez(file, *arrays)
        os.rename(path + ".partial", path)

    @staticmethod
    def _read(path):
        while not os.path.exists(path):  # a worker that dies ends this process
            time.sleep(0.01)
        with np.load(path) as file:
            arrays = [file["arr_%d" % place] for place in range(len(file.files))]
        os.remove(path)
        return arrays
