"""A process that prepares batches: ``python -m harness.loader``, started and told what to do by harness/crew.py."""

import mmap
import pickle
import sys

import numpy as np

from harness.crops import resized


def crop(out, pixels, changes):
    """Write images into ``out``, (count, size, size).

    ``changes`` has of each the row, the window (top, left, height and width, in pixels) and whether it is flipped.
    """
    size = out.shape[-1]
    for image, (row, top, left, height, width, flip) in zip(out, changes):
        window = resized(pixels[row, top : top + height, left : left + width], size)
        image[...] = window[:, ::-1] if flip else window
    return out


def serve(requests, answers):
    """Learn where batches and pixels lie, then prepare one share after the other, until the requests end."""
    file, ring, sources = pickle.load(requests)
    slots = np.frombuffer(mmap.mmap(file, int(np.prod(ring))), np.uint8).reshape(ring)
    pixels = {part: np.load(path, mmap_mode="r", allow_pickle=False) for part, path in sources.items()}
    while True:
        try:
            part, slot, start, changes = pickle.load(requests)
        except EOFError:
            return
        crop(slots[slot, start : start + len(changes)], pixels[part], changes)
        answers.write(b".")
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
