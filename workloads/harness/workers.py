"""Workers that train one model together: processes of one script, each with a pipe to the first.

A library that runs a process per GPU (PyTorch) asks for them with ``Cell(processes=True)``: the harness then starts
the same script again for each further worker. What the harness itself has to collect, scores and parameters, goes
through the pipes, so that it needs nothing of the library. Gradients are the library's own business; one that can't
average them between processes of a CPU (Chainer) has ``average``.
"""

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import numpy as np

from harness import cores

RANK, MEETING, PIPE = "ROSETTA_RANK", "ROSETTA_MEETING", "ROSETTA_PIPE"
PATIENCE = 10  # seconds in which a worker that has hung up must have ended


def rank():
    """Which worker this process is; 0 is the one that speaks and writes the result."""
    return int(os.environ.get(RANK, "0"))


class Workers:
    """The processes that run this cell. ``meeting`` is a folder that they share, ``rank`` which of them this is."""

    def __init__(self, count, processes, argv):
        self.count, self.rank = count, rank()
        self.processes = count if processes else 1
        self.meeting = os.environ.get(MEETING)
        self._others, self._pipes, self._ended = [], [], False
        if self.rank:
            self._pipes.append(Connection(int(os.environ[PIPE])))
        elif self.processes > 1:
            self.meeting = tempfile.mkdtemp(prefix="rosetta-workers-")
            atexit.register(self._end)
            for number in range(1, count):
                self._start(number, argv)

    def _start(self, number, argv):
        """Start a worker; should it die, so does this process: the others would wait for it for ever."""
        mine, its = Pipe()
        env = dict(
            os.environ,
            **{RANK: str(number), MEETING: self.meeting, PIPE: str(its.fileno()), cores.SHARED_BY: str(self.count)},
        )
        worker = subprocess.Popen([sys.executable, "-m", "harness"] + argv, env=env, pass_fds=[its.fileno()])
        its.close()
        self._others.append(worker)
        self._pipes.append(mine)

        def watch():
            code = worker.wait()
            if code < 0 and not self._ended:  # one that has failed has said why, in the last line so far
                sys.stderr.write("worker %d was ended by %s\n" % (number, signal.Signals(-code).name))
                sys.stderr.flush()
            if code and not self._ended:
                os._exit(1)

        threading.Thread(target=watch, daemon=True).start()

    def _end(self):
        """Leave nothing running, and nothing on the disk."""
        self._ended = True
        for worker in self._others:
            worker.kill()
        shutil.rmtree(self.meeting, ignore_errors=True)

    @contextmanager
    def _connected(self):
        """Leave it to the thread that watches a worker to say what that has died of, and to end this process."""
        try:
            yield
        except (EOFError, ConnectionError):
            if not self.rank:
                time.sleep(PATIENCE)
            raise

    def gather(self, arrays):
        """Every worker's list of arrays, in their order, for the first one; None for the others.

        All workers must call this the same number of times. Without further processes: the own list alone.
        """
        with self._connected():
            if self.rank:
                return self._pipes[0].send(arrays)
            return [arrays] + [pipe.recv() for pipe in self._pipes]

    def share(self, arrays):
        """What the first worker has, for all; what the others have is ignored. All must call it alike."""
        with self._connected():
            if self.rank:
                return self._pipes[0].recv()
            for pipe in self._pipes:
                pipe.send(arrays)
            return arrays

    def average(self, arrays):
        """Put the means of every worker's arrays in their place, to the bit the same for all.

        For libraries with no way of their own.
        """
        told = self.gather(arrays)
        means = self.share(told and [np.mean(every, axis=0) for every in zip(*told)])
        for array, mean in zip(arrays, means):
            array[...] = mean
