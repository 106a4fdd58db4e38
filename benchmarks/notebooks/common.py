"""What the opponents share, as the notebooks of 2018 shared theirs: parameters, arrays, minibatches, a clock."""

import json
import os
import sys
import time
from types import SimpleNamespace

import numpy as np

EPOCHS = 2


def parameters(workload):
    """The hyper-parameters of a workload, by attribute."""
    with open(os.environ.get("ROSETTA_WORKLOADS", "/workloads") + "/params.json") as file:
        return SimpleNamespace(**json.load(file)[workload])


def keras_backend():
    """The backend of the library that the script stands for, say "torch" of "keras-torch", for its import."""
    word = sys.argv[1].split("-")[1]
    os.environ["KERAS_BACKEND"] = {"tf": "tensorflow"}.get(word, word)
    return os.environ["KERAS_BACKEND"]


def arrays(workload, channels_first=True, one_hot=False):
    """Samples and labels, the same that our script trains on."""
    with np.load(os.environ.get("ROSETTA_DATA", "/data") + "/%s.npz" % workload) as file:
        x, y = file["x"], file["y"]
    if not channels_first:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    return x, np.eye(parameters(workload).n_classes, dtype=np.float32)[y] if one_hot else y


def minibatches(x, y, size):
    """Complete batches, in a new order every time."""
    order = np.random.permutation(len(x))
    x, y = x[order], y[order]
    for start in range(0, len(x) - size + 1, size):
        yield x[start : start + size], y[start : start + size]


class Clock:
    """Seconds of each epoch but the first, on the wall and of the processor; ``wait`` returns when all is computed."""

    def __init__(self, version, wait=lambda: None):
        self.version, self.wait, self.last = version, wait, None

    def lap(self):
        """Say that an epoch is over."""
        self.wait()
        now = time.perf_counter(), time.process_time()
        if self.last:
            seconds, cpu = (end - start for end, start in zip(now, self.last))
            print(json.dumps({"version": self.version, "seconds": seconds, "cpu": cpu}))
        self.last = now
