"""Published pickles become arrays, and nothing that a pickle may ask for beyond that is done."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from orchestrator.data import conversion
from orchestrator.errors import DataError


class Planted:
    """What runs a command when it is unpickled."""

    def __init__(self, *command: object) -> None:
        self.command = command

    def __reduce__(self):
        return self.command[0], self.command[1:]


@given(arrays.arrays(st.sampled_from([np.uint8, np.int32, np.float64]), arrays.array_shapes(max_dims=4)))
def test_an_array_comes_back_as_it_was(array):
    said = conversion.unpickled(pickle.dumps({"data": array, "labels": [1, 2]}), "it")
    assert said["labels"] == [1, 2]
    np.testing.assert_array_equal(said["data"], array)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_program_in_a_pickle_does_not_run(tmp_path, protocol):
    mark = tmp_path / "ran"
    for command in ((os.mkdir, str(mark)), (exec, f"import os; os.mkdir({str(mark)!r})"), (eval, "1 + 1")):
        with pytest.raises(DataError, match="not part of an array"):
            conversion.unpickled(pickle.dumps([Planted(*command)], protocol), "it")
    assert not mark.exists()


@given(st.binary(max_size=400))
def test_any_bytes_are_numbers_or_refused(content):
    try:
        conversion.unpickled(content, "it")
    except DataError as error:
        assert str(error).startswith("it is not a pickle of arrays")  # noqa: PT017


@pytest.mark.parametrize("shape", [(3,), (7, 3, 32, 32), (0,), (2**40, 0)])
@pytest.mark.parametrize("kind", [np.uint8, np.int32])
def test_numpy_reads_what_is_written_and_a_cell_can_map_it(tmp_path, shape, kind):
    array = np.zeros(shape, kind)
    conversion.save(array, tmp_path / "array.npy")
    read = np.load(tmp_path / "array.npy", allow_pickle=False)
    assert (read.dtype, read.shape) == (array.dtype, array.shape)
    assert (tmp_path / "array.npy").stat().st_size == 128 + array.nbytes


def test_numpys_object_arrays_are_read_without_numpys_unpickler(tmp_path: Path):
    reviews = np.empty(2, object)
    reviews[:] = [[1, 14], [88_587]]
    labels = np.array([1, 0])
    names = {f"{kind}_{part}": reviews if kind == "x" else labels for part in ("train", "test") for kind in "xy"}
    np.savez(tmp_path / "imdb.npz", **names)
    conversion.imdb(tmp_path, tmp_path)
    assert np.load(tmp_path / "train.words.npy").tolist() == [1, 14, 88_587]
    assert np.load(tmp_path / "train.lengths.npy").tolist() == [2, 1]
    assert np.load(tmp_path / "test.labels.npy").tolist() == [1, 0]
    evil = np.empty(1, object)
    evil[0] = Planted(os.mkdir, str(tmp_path / "ran"))
    np.savez(tmp_path / "imdb.npz", **{**names, "x_test": evil})
    with pytest.raises(DataError, match=r"x_test\.npy is not a pickle of arrays"):
        conversion.imdb(tmp_path, tmp_path)
    assert not (tmp_path / "ran").exists()


def test_cifars_batches_are_joined_in_their_order(tmp_path: Path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    images = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072)
    for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch"):
        (folder / name).write_bytes(pickle.dumps({"data": images, "labels": [3, 9]}, 3))
    conversion.cifar_10(tmp_path, tmp_path)
    assert np.load(tmp_path / "train.images.npy").shape == (10, 3, 32, 32)
    np.testing.assert_array_equal(np.load(tmp_path / "test.images.npy").reshape(2, -1), images)
    assert np.load(tmp_path / "train.labels.npy").tolist() == [3, 9] * 5
