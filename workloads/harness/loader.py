"""A process that prepares batches: ``python -m harness.loader <file> <shape>``, started by harness/batches.py."""

import json
import pickle
import sys

import numpy as np


def serve(slot):
    """Read where the pixels lie and their Form, then the changes of one batch after the other, until the input ends."""
    (path, form), answers = pickle.load(sys.stdin.buffer), sys.stdout.buffer
    pixels = np.load(path, mmap_mode="r", allow_pickle=False)
    while True:
        try:
            changes = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        form.fill(slot[: len(changes)], pixels, changes)
        answers.write(b".")
        answers.flush()


serve(np.memmap(sys.argv[1], np.float32, "r+", shape=tuple(json.loads(sys.argv[2]))))
