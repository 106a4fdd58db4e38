"""Batches of X-rays are the same whoever asks for them, and every image is tested exactly once."""

import numpy as np
import pytest

from harness.batches import Stream, SyntheticStream, joined
from orchestrator.cell.parameters import parameters

PARAMS = {**parameters()["densenet121"], "stored_size": 20, "image_size": 14, "batch_size": 4}
COUNTS = {"train": 26, "validation": 5, "test": 11}


@pytest.fixture(autouse=True)
def images(tmp_path, monkeypatch):
    """A small set on disk, as 'rosetta data fetch' leaves it."""
    monkeypatch.setenv("ROSETTA_DATA", str(tmp_path))
    random = np.random.RandomState(0)
    for part, count in COUNTS.items():
        size = PARAMS["stored_size"] if part == "train" else PARAMS["image_size"]
        np.save(tmp_path / f"{part}.npy", random.randint(0, 256, (count, size, size)).astype(np.uint8))
        np.save(tmp_path / f"{part}.labels.npy", random.randint(0, 2, (count, 14)).astype(np.uint8))


def stream(layout="NCHW", seed=0, workers=1, share=(0, 1), samples=None, loaders=0, kind=Stream):
    return kind(PARAMS, layout, seed, workers, share, samples, loaders)


def epochs(one, numbers=(1, 2)):
    pairs = [pair for number in numbers for pair in one.epoch(number)]
    return [np.stack(arrays) for arrays in zip(*pairs, strict=True)]


@pytest.mark.parametrize("loaders", [1, 2, 3])
def test_the_number_of_loaders_changes_nothing(loaders):
    for ours, theirs in zip(epochs(stream(loaders=loaders)), epochs(stream()), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("workers", [2, 3])
def test_the_workers_batches_one_after_another_are_the_joined_batch(workers):
    x, y = epochs(stream(workers=workers))
    assert len(x) == 2 * (COUNTS["train"] // (4 * workers))
    shares = [epochs(stream(workers=workers, share=(number, workers))) for number in range(workers)]
    assert np.array_equal(np.concatenate([share[0] for share in shares], axis=1), x)
    assert np.array_equal(np.concatenate([share[1] for share in shares], axis=1), y)


def test_layouts_hold_the_same_and_seeds_and_epochs_do_not():
    x = epochs(stream(), [1])[0]
    assert np.array_equal(epochs(stream("NHWC"), [1])[0].transpose(0, 1, 4, 2, 3), x)
    assert not np.array_equal(epochs(stream(seed=1), [1])[0], x)
    assert not np.array_equal(epochs(stream(), [2])[0], x)


def test_an_image_is_cropped_flipped_and_normalised():
    one = stream()
    pixels = np.arange(400, dtype=np.uint8).reshape(1, 20, 20)
    plain, flipped = one.form.fill(one.form.empty(2), pixels, [(0, 2, 3, 0), (0, 2, 3, 1)])
    window = pixels[0, 2:16, 3:17] / 255
    for channel, mean, sd in zip(plain, PARAMS["mean"], PARAMS["sd"], strict=True):
        np.testing.assert_allclose(channel, (window - mean) / sd, rtol=1e-5, atol=1e-6)
    assert np.array_equal(flipped, plain[:, :, ::-1])


def test_crops_reach_every_edge_and_half_of_the_images_are_flipped():
    seen = []
    one = stream()
    one._filled = lambda part, jobs: seen.extend(jobs) or iter(jobs)
    for number in range(200):
        list(one.epoch(number))
    changes = np.concatenate(seen)
    assert (changes[:, 1:3].min(), changes[:, 1:3].max()) == (0, 6)
    assert 0.45 < changes[:, 3].mean() < 0.55


@pytest.mark.parametrize("workers", [1, 2, 3])
@pytest.mark.parametrize("loaders", [0, 2])
def test_every_image_is_tested_once_and_in_order_and_every_batch_is_whole(workers, loaders):
    for part in ("validation", "test"):
        every = [
            batch
            for number in range(workers)
            for batch in stream(workers=workers, share=(number, workers), loaders=loaders).part(part)
        ]
        assert {len(batch.x) for batch in every} == {4}
        x = np.concatenate([batch.x[: batch.count] for batch in every])
        plain = np.load(plan_path(part))
        assert len(x) == COUNTS[part] == sum(len(batch.y) for batch in every)
        np.testing.assert_allclose(x[:, 0] * PARAMS["sd"][0] + PARAMS["mean"][0], plain / 255, atol=1e-6)


def plan_path(part):
    from harness.data import data_file

    return data_file(part + ".npy")


def test_a_small_set_is_one_batch_and_a_tiny_one_none():
    assert joined(26, 64, 1) == 26
    assert joined(27, 64, 2) == 26
    assert joined(300, 64, 2) == 128
    assert stream(samples=3).steps == 1
    with pytest.raises(SystemExit, match="too few"):
        stream(samples=1, workers=2)


def test_synthetic_batches_are_few_and_repeated():
    one = stream(kind=SyntheticStream, samples=40)
    pairs = list(one.epoch(1))
    assert len(pairs) == 10
    assert pairs[0][0] is pairs[4][0]
    assert len({id(x) for x, _ in pairs}) == 4
    assert list(one.part("validation")) == []
    assert stream(kind=SyntheticStream).steps == 87306 // 4
