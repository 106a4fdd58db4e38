"""Windows of X-rays: which part of an image is seen in training, and how it gets the size that the network takes.

A window of that size is copied as it is, any other is resized. What comes out has to be the same in every library, so
no step depends on how a BLAS adds: bytes, weights and their sums are whole numbers that float32 holds exactly.
"""

from functools import lru_cache

import numpy as np

TRIES = 10  # at a window that fits into the image, as torchvision has them
UNIT = 2**16  # weights are multiples of 1 / UNIT: 255 * UNIT is below 2**24, up to which float32 has all whole numbers


def windows(random, count, params):
    """Top, left, height and width of a random window for each of ``count`` images: int (count, 4), in pixels.

    Each has the size that the network takes, unless ``params["window"]`` tells the range of their areas and shapes.
    """
    side, size = params["stored_size"], params["image_size"]
    if "window" not in params:
        corners = [random.randint(0, side - size + 1, count) for _ in "yx"]
        return np.stack(corners + [np.full(count, size)] * 2, axis=1)
    sizes = random_sizes(random, count, side, **params["window"])
    corners = random.uniform(size=sizes.shape) * (side - sizes + 1)
    return np.concatenate([corners.astype(int), sizes], axis=1)


def random_sizes(random, count, side, area, ratio):
    """Height and width of ``count`` windows in square images of ``side`` pixels, int (count, 2), as torchvision draws.

    ``area`` is (least, most) of the image's area, evenly distributed; ``ratio`` that of width to height, whose
    logarithm is. The first of ten tries that fits into the image counts. If none does, the window is torchvision's
    centre crop, which in a square image is all of it.
    """
    areas = side**2 * random.uniform(*area, size=(count, TRIES))
    ratios = np.exp(random.uniform(*np.log(ratio), size=(count, TRIES)))
    tries = np.rint(np.sqrt(np.stack([areas / ratios, areas * ratios], axis=2))).astype(int)
    fits = (tries <= side).all(axis=2)
    first = tries[np.arange(count), fits.argmax(axis=1)]
    return np.where(fits.any(axis=1)[:, None], first, side)


def resized(window, size):
    """A window of bytes, (height, width), as one of (size, size): across, then down, rounded to bytes after each.

    That is how Pillow does it, and torchvision through it.
    """
    if window.shape == (size, size):
        return window
    for _ in "xy":
        sums = np.dot(window.astype(np.float32), weights(window.shape[1], size).T)
        window = ((sums + UNIT / 2) * (1 / UNIT)).astype(np.uint8).T
    return window


@lru_cache(maxsize=None)  # 30 MB for all lengths up to 264
def weights(length, size):
    """What each of ``length`` pixels in a row gives to each of ``size``: float32 (size, length), in units of 1 / UNIT.

    Bilinear with antialiasing, the centres of pixels aligned: a triangle around the centre of each new pixel, as far as
    the next centre in the coarser of both grids. So to shrink averages over all old pixels, and to enlarge mixes two.
    """
    scale = length / size
    centres = (np.arange(size)[:, None] + 0.5) * scale
    triangles = np.maximum(0, 1 - np.abs(np.arange(length) + 0.5 - centres) / max(1, scale))
    return np.rint(UNIT * triangles / triangles.sum(axis=1, keepdims=True)).astype(np.float32)
