"""Windows are drawn as torchvision draws them, and resized as Pillow does it."""

import math

import numpy as np
import pytest
from PIL import Image

from harness.crops import UNIT, random_sizes, resized, weights, windows
from orchestrator.cell.parameters import parameters_of

PARAMS = parameters_of("densenet121", "resized-crop")
SIDE, SIZE = PARAMS["stored_size"], PARAMS["image_size"]
COUNT = 50000


@pytest.fixture(scope="module")
def drawn():
    """Top, left, height and width of many windows."""
    return windows(np.random.RandomState(0), COUNT, PARAMS).T


def test_windows_lie_within_the_image_and_reach_every_edge(drawn):
    top, left, height, width = drawn
    for start, length in ((top, height), (left, width)):
        assert (start.min(), (start + length).max()) == (0, SIDE)
        assert length.min() > 0
    free = SIDE - height > 50
    assert 0.49 < np.mean(top[free] / (SIDE - height[free])) < 0.51


def test_areas_are_even_where_every_shape_fits_and_rarer_where_few_do(drawn):
    _, _, height, width = drawn
    area = height * width / SIDE**2
    assert (area.min(), area.max()) == (pytest.approx(0.08, abs=0.002), pytest.approx(1, abs=0.005))
    shares, _ = np.histogram(area, np.linspace(0.08, 0.75, 11))
    assert shares / shares.sum() == pytest.approx(0.1, abs=0.01)
    # of an area a the logarithm of the ratio has to be within +- log a: 0.119, against 0.67 of smaller areas
    large = (1 - 0.75 + 0.75 * math.log(0.75)) / math.log(4 / 3)
    assert np.mean(area >= 0.75) == pytest.approx(large / (large + 0.67), abs=0.01)


def test_the_logarithm_of_the_ratio_is_even(drawn):
    _, _, height, width = drawn
    small = height * width < 0.7 * SIDE**2
    ratio = np.log(width[small] / height[small])
    assert (ratio.min(), ratio.max()) == (
        pytest.approx(-math.log(4 / 3), abs=0.02),
        pytest.approx(math.log(4 / 3), abs=0.02),
    )
    shares, _ = np.histogram(ratio, np.linspace(-math.log(4 / 3), math.log(4 / 3), 9))
    assert shares / shares.sum() == pytest.approx(1 / 8, abs=0.015)


def test_where_no_try_fits_the_window_is_the_whole_image():
    assert (random_sizes(np.random.RandomState(0), 7, SIDE, area=(1, 1), ratio=(1.2, 1.3)) == SIDE).all()


@pytest.mark.parametrize(
    "shape", [(66, 84), (120, 97), (223, 225), (224, 180), (224, 224), (250, 230), (264, 264), (264, 1)]
)
@pytest.mark.parametrize("image", ["noise", "black or white", "smooth"])
def test_a_window_is_resized_as_pillow_does_it(image, shape):
    random = np.random.RandomState(0)
    window = {
        "noise": random.randint(0, 256, shape),
        "black or white": 255 * random.randint(0, 2, shape),
        "smooth": np.add.outer(*(np.linspace(0, 127, length) for length in shape)),
    }[image].astype(np.uint8)
    pillow = np.asarray(Image.fromarray(window).resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    ours = resized(window, SIZE)
    assert (ours.shape, ours.dtype) == ((SIZE, SIZE), np.uint8)
    assert np.abs(ours.astype(int) - pillow).max() <= 1


@pytest.mark.parametrize("length", range(1, SIDE + 1, 7))
def test_sums_are_whole_numbers_that_float32_holds_so_that_no_blas_can_differ(length):
    of_all = weights(length, SIZE)
    assert (of_all == np.rint(of_all)).all()
    assert of_all.min() >= 0
    assert np.abs(of_all.sum(axis=1) - UNIT).max() <= 4
    assert 255 * of_all.sum(axis=1).max() + UNIT / 2 < 2**24
