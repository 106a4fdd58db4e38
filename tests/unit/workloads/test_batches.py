"""Batches of X-rays are the same whoever asks for them, and every image is tested exactly once."""

import contextlib
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest

from harness import batches, crew
from harness.batches import Stream, SyntheticStream, joined
from harness.data import data_file
from harness.loader import crop
from orchestrator.cell.parameters import parameters
from orchestrator.engines.isolation import BATCHES, SHARED_MEMORY, isolation

PUBLISHED = parameters()["densenet121"]
PARAMS = {**PUBLISHED, "stored_size": 20, "image_size": 14, "batch_size": 4}
RESIZED = {**PARAMS, **PUBLISHED["variants"]["resized-crop"]}
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


@pytest.fixture
def stream():
    """Makes streams, and ends their loaders."""
    with contextlib.ExitStack() as made:

        def make(
            seed=0, workers=1, share=(0, 1), samples=None, loaders=1, host_buffer=None, kind=Stream, params=PARAMS
        ):
            one = kind(params, seed, workers, share, samples, loaders, host_buffer)
            made.callback(one.close)
            return one

        yield make


def epochs(one, numbers=(1, 2)):
    pairs = [(x.copy(), y) for number in numbers for x, y in one.epoch(number)]
    return [np.stack(arrays) for arrays in zip(*pairs, strict=True)]


@pytest.mark.parametrize(
    ("params", "digest"),
    [
        (PARAMS, "99d30214c542042beed3faa0a431a401d91262b4c5e05a73dc99cb7e4ca89dd2"),
        (RESIZED, "d82d696fb262633d50b76a886dae40a23f77537d23904d6b34e43ce19e4ddd66"),
    ],
)
def test_batches_are_the_same_bytes_as_ever_and_on_every_machine(params, digest, stream):
    x, _ = epochs(stream(params=params))
    assert hashlib.sha256(x).hexdigest() == digest


@pytest.mark.parametrize("params", [PARAMS, RESIZED])
@pytest.mark.parametrize("loaders", [2, 4])
def test_the_number_of_loaders_changes_nothing(loaders, params, stream):
    ours, theirs = epochs(stream(loaders=loaders, params=params)), epochs(stream(params=params))
    for mine, others in zip(ours, theirs, strict=True):
        assert np.array_equal(mine, others)


@pytest.mark.parametrize("params", [PARAMS, RESIZED])
@pytest.mark.parametrize("workers", [2, 3])
def test_the_workers_batches_one_after_another_are_the_joined_batch(workers, params, stream):
    x, y = epochs(stream(workers=workers, params=params))
    assert len(x) == 2 * (COUNTS["train"] // (4 * workers))
    shares = [epochs(stream(workers=workers, share=(number, workers), params=params)) for number in range(workers)]
    assert np.array_equal(np.concatenate([share[0] for share in shares], axis=1), x)
    assert np.array_equal(np.concatenate([share[1] for share in shares], axis=1), y)


def test_seeds_and_epochs_do_not_hold_the_same(stream):
    x = epochs(stream(), [1])[0]
    assert not np.array_equal(epochs(stream(seed=1), [1])[0], x)
    assert not np.array_equal(epochs(stream(), [2])[0], x)


def test_an_image_is_cropped_and_flipped_and_stays_bytes():
    pixels = np.random.RandomState(0).randint(0, 256, (1, 20, 20)).astype(np.uint8)
    plain, flipped = crop(np.empty((2, 14, 14), np.uint8), pixels, [(0, 2, 3, 14, 14, 0), (0, 2, 3, 14, 14, 1)])
    assert np.array_equal(plain, pixels[0, 2:16, 3:17])
    assert np.array_equal(flipped, plain[:, ::-1])


def test_crops_reach_every_edge_and_half_of_the_images_are_flipped(stream):
    one = stream()
    changes = np.concatenate([job for number in range(200) for job in one._jobs(number)])
    assert (changes[:, 1:3].min(), changes[:, 1:3].max()) == (0, 6)
    assert np.unique(changes[:, 3:5]) == 14
    assert 0.45 < changes[:, 5].mean() < 0.55


def test_the_variant_trains_on_other_windows_of_the_same_images_and_is_tested_on_the_same(stream):
    reference, variant = stream(), stream(params=RESIZED)
    (plain, of_plain), (resized, of_resized) = epochs(reference), epochs(variant)
    assert plain.shape == resized.shape
    assert not np.array_equal(plain, resized)
    assert np.array_equal(of_plain, of_resized)
    for ours, theirs in zip(variant.part("test"), reference.part("test"), strict=True):
        assert np.array_equal(ours.x, theirs.x)


@pytest.mark.parametrize(("workers", "loaders"), [(1, 1), (1, 2), (2, 1), (3, 1)])
def test_every_image_is_tested_once_and_in_order_and_every_batch_is_whole(workers, loaders, stream):
    streams = [stream(workers=workers, share=(number, workers), loaders=loaders) for number in range(workers)]
    for part in ("validation", "test"):
        every = [batch._replace(x=batch.x.copy()) for one in streams for batch in one.part(part)]
        assert {len(batch.x) for batch in every} == {4}
        x = np.concatenate([batch.x[: batch.count] for batch in every])
        assert len(x) == COUNTS[part] == sum(len(batch.y) for batch in every)
        assert np.array_equal(x, np.load(data_file(part + ".npy")))


@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("loaders", [1, 3])
def test_a_batch_stays_until_the_next_but_one_is_asked_for_and_is_no_copy_of_its_own(loaders, pinned, stream):
    one = stream(loaders=loaders, host_buffer=(lambda shape: np.empty(shape, np.uint8)) if pinned else None)
    before, places = None, set()
    for x, _ in one.epoch(1):
        if before is not None:
            assert np.array_equal(*before)
        before = (x, x.copy())
        places.add(x.ctypes.data)
    assert len(places) == (2 if pinned else min(one.steps, loaders + crew.KEPT))


def test_a_script_may_say_where_batches_are_handed_out(stream):
    made = []

    def host_buffer(shape):
        made.append(np.zeros(shape, np.uint8))
        return made[-1]

    for ours, theirs in zip(epochs(stream(host_buffer=host_buffer)), epochs(stream()), strict=True):
        assert np.array_equal(ours, theirs)
    assert [array.shape for array in made] == [(4, 14, 14)] * 2
    synthetic = stream(kind=SyntheticStream, samples=40, host_buffer=host_buffer)
    assert {id(x) for x, _ in synthetic.epoch(1)} == {id(array) for array in made[2:]}


@pytest.mark.parametrize(("cores", "workers", "each"), [(64, 8, 7), (128, 8, 8), (16, 1, 8), (2, 1, 1), (2, 8, 1)])
def test_loaders_by_cores_and_workers(cores, workers, each):
    assert crew.loaders_per_worker(workers, cores) == each


def test_each_worker_has_as_many_loaders_whether_it_is_a_process_or_not(stream):
    together, apart = stream(workers=2, loaders=None), stream(workers=2, share=(0, 2), loaders=None)
    each = crew.loaders_per_worker(2, len(os.sched_getaffinity(0)))
    assert (len(together.crew.loaders), len(apart.crew.loaders)) == (2 * each, each)


def test_shared_memory_of_a_container_holds_the_batches_of_every_gpu():
    shape = (PUBLISHED["batch_size"], PUBLISHED["image_size"], PUBLISHED["image_size"])
    assert crew.bytes_of_ring(shape, crew.MOST_LOADERS) <= BATCHES
    assert isolation(2**30, workers=8)["shm_size"] == SHARED_MEMORY + 8 * BATCHES


def test_want_of_shared_memory_is_said_with_what_there_is_and_what_to_do():
    with pytest.raises(SystemExit, match=r"out of shared memory: batches want .* MB free .*--shm-size"):
        crew.shared_file(2**60)


@pytest.mark.parametrize(
    ("signal", "reason"),
    [(7, r"out of shared memory \(SIGBUS\)"), (9, r"killed, perhaps out of memory \(SIGKILL\)")],
)
def test_a_loader_that_was_killed_is_told_from_the_others(signal, reason, stream):
    one = stream()
    pairs = one.epoch(1)
    next(pairs)
    one.crew.loaders[0].process.send_signal(signal)
    with pytest.raises(SystemExit, match="a loader has died: " + reason):
        list(pairs)


def test_a_loader_that_failed_says_why(stream, tmp_path):
    (tmp_path / "train.npy").write_bytes(b"no array")
    one = crew.Crew({"train": str(tmp_path / "train.npy")}, (4, 14, 14), 1, 1)
    with pytest.raises(SystemExit, match=r"a loader has died: ValueError: .*pickle.* \(exit code 1\)"):
        list(one.batches("train", [np.zeros((4, 6), int)] * 3))
    one.close()


def test_loaders_have_one_thread_and_leave_no_file(stream):
    one = stream(loaders=2)
    list(one.epoch(1))  # a process has no environment to read while it is being started
    for loader in one.crew.loaders:
        environment = Path(f"/proc/{loader.process.pid}/environ").read_text().split("\0")
        assert {"OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1", "MKL_NUM_THREADS=1"} <= set(environment)
    assert all(len(list(Path(f"/proc/{loader.process.pid}/task").iterdir())) == 1 for loader in one.crew.loaders)


def test_a_small_set_is_one_batch_and_a_tiny_one_none(stream):
    assert joined(26, 64, 1) == 26
    assert joined(27, 64, 2) == 26
    assert joined(300, 64, 2) == 128
    assert stream(samples=3).steps == 1
    with pytest.raises(SystemExit, match="too few"):
        stream(samples=1, workers=2)


def test_what_there_is_of_loaders_is_told_once_for_all_processes(stream, capsys):
    stream(workers=3, share=(0, 3), loaders=2)
    assert (
        '"loaders": 6, "loaders_per_worker": 2, "bytes_of_batch": 784, "bytes_shared": 9408' in capsys.readouterr().out
    )


def test_synthetic_batches_are_few_and_repeated(stream):
    one = stream(kind=SyntheticStream, samples=40)
    pairs = list(one.epoch(1))
    assert len(pairs) == 10
    assert pairs[0][0] is pairs[4][0]
    assert len({id(x) for x, _ in pairs}) == 4
    assert {x.dtype for x, _ in pairs} == {np.dtype(np.uint8)}
    assert list(one.part("validation")) == []
    assert stream(kind=SyntheticStream).steps == batches.SYNTHETIC_SAMPLES // 4


@pytest.mark.parametrize("kind", [Stream, SyntheticStream])
@pytest.mark.parametrize("share", [(0, 1), (1, 2)])
def test_a_device_that_holds_the_images_crops_the_same_batches(stream, kind, share):
    one = stream(seed=3, workers=2, share=share, kind=kind, samples=26)
    (x, y), images, places = epochs(one, [2]), one.resident(), one.places(2)
    assert places.dtype == np.int32
    assert places.shape == (*y.shape[:2], 4)
    for ours, labels, step in zip(x, y, places, strict=True):
        np.testing.assert_array_equal(crop(np.empty_like(ours), images.pixels, windows_of(step)), ours)
        np.testing.assert_array_equal(images.labels[step[:, 0]], labels)


def windows_of(places):
    """Rows, tops, lefts and flips as loaders take them."""
    return np.insert(places, 3, [[14], [14]], axis=1)


def test_framed_images_come_back_by_what_is_told_of_them():
    images = np.random.RandomState(1).randint(0, 256, (40, 14, 14)).astype(np.uint8)
    frames, changes = batches.framed(images, 20)
    assert frames.shape == (40, 20, 20)
    assert {tuple(np.unique(column)) for column in changes.T} == {tuple(range(7)), (0, 1)}
    places = np.column_stack([np.arange(40), changes])
    np.testing.assert_array_equal(crop(np.empty_like(images), frames, windows_of(places)), images)
