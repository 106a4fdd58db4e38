"""Files that PyTorch has saved, read without it."""

import io
import pickle
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness import arguments, state_dict
from harness.weights import ARRAYS, Array
from tests.unit.workloads.saved_by_pytorch import Saved, in_a_row, pickled, published, saved, zipped

STATE = {
    "conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "norm.num_batches_tracked": np.array(7, np.int64),
    "half": np.array([0.5, -1], np.float16),
    "double": np.array([[1 / 3]], np.float64),
}

FORMATS = {"zip": zipped, "in a row": in_a_row}


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_the_arrays_come_back_in_their_order(tmp_path: Path, write: Callable[[Any], bytes]) -> None:
    (tmp_path / "a.pth").write_bytes(write(saved(STATE)))
    found = state_dict.read(str(tmp_path / "a.pth"))
    assert list(found) == list(STATE)
    for name, array in STATE.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


class Program:
    """A pickle that would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("write", FORMATS.values(), ids=FORMATS)
def test_a_program_is_no_state_dict(tmp_path: Path, write: Callable[[Any], bytes]) -> None:
    hostile: Any = {**saved(STATE), "x": Program(tmp_path / "written")}
    hostile["x"].key, hostile["x"].array = "9", STATE["half"]
    (tmp_path / "a.pth").write_bytes(write(hostile))
    with pytest.raises(SystemExit, match=r"is no state_dict of PyTorch: io\.open is not part of a state_dict"):
        state_dict.read(str(tmp_path / "a.pth"))
    assert not (tmp_path / "written").exists()


def repacked(pickled: Any, storage: bytes = b"") -> bytes:
    """A compressed archive like PyTorch's, which never compresses."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", pickled if isinstance(pickled, bytes) else pickle.dumps(pickled))
        archive.writestr("archive/data/0", storage)
    return stream.getvalue()


ODD = {
    "empty": lambda: b"",
    "cut off": lambda: in_a_row(saved(STATE))[:-3],
    "other numbers first": lambda: in_a_row(saved(STATE), magic=1),
    "beyond its storage": lambda: zipped({"a": Saved(STATE["half"], "0", start=1)}),
    "before its storage": lambda: zipped({"a": Saved(STATE["half"], "0", start=-2)}),
    "transposed": lambda: zipped({"a": Saved(STATE["conv.weight"].reshape(4, 6), "0", transposed=True)}),
    "part of a storage": lambda: pickle.dumps(state_dict.MAGIC) + pickled(saved(STATE), ("view", 0, 1)),
    "a number for a name": lambda: zipped({5: Saved(STATE["half"], "0")}),  # type: ignore[dict-item]
    "a checkpoint around it": lambda: repacked(pickled={"state_dict": {}, "epoch": 3}),
    "a list": lambda: repacked(pickled=["a", "b"]),
    "a negative size": lambda: zipped({"a": Saved(STATE["half"], "0")}).replace(b"K\x02\x85", b"J\xff\xff\xff\xff\x85"),
    "no archive of PyTorch": lambda: zipped({}).replace(b"data.pkl", b"data.txt"),
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_what_does_not_hold_whole_tensors_is_refused(tmp_path: Path, content: Callable[[], bytes]) -> None:
    (tmp_path / "a.pth").write_bytes(content())
    with pytest.raises(SystemExit, match=r"a\.pth is no state_dict of PyTorch"):
        state_dict.read(str(tmp_path / "a.pth"))


MUCH = 100_000_000
GREEDY = {
    "a packed storage": (lambda: repacked(pickled(saved({"a": STATE["half"]})), bytes(MUCH)), "unpacks to more bytes"),
    "a packed pickle": (lambda: repacked(b"\x80\x02" + b"N" * MUCH), "unpacks to more bytes"),
    "a count": (lambda: in_a_row(saved({"a": STATE["half"]}))[:-12] + b"\xff" * 12, "says more numbers than it has"),
    "a place for one object": (lambda: b"\x80\x02}r\0\0\0\x02.", "EOFError"),
}


@pytest.mark.parametrize(("content", "said"), GREEDY.values(), ids=GREEDY)
def test_a_small_file_takes_no_more_memory_than_it_has(tmp_path: Path, content: Callable[[], bytes], said: str) -> None:
    (tmp_path / "a.pth").write_bytes(content())
    program = (
        "import resource, sys; sys.path.insert(0, sys.argv[1]); from harness import state_dict\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: state_dict.read(sys.argv[2])\n"
        "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    place = str(Path(state_dict.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", program, place, str(tmp_path / "a.pth")], capture_output=True, text=True, check=False
    )
    assert re.search(said, done.stderr), done.stderr
    assert int(done.stdout) < 50_000, "kilobytes"


Pairs = list[tuple[Array, np.ndarray[Any, Any]]]


@pytest.fixture
def given() -> Pairs:
    """The arrays of DenseNet-121 below its classifier, each of its number."""
    arrays = list(ARRAYS["densenet121"](SimpleNamespace(**arguments.read_params()["densenet121"])))[:-2]
    return [(array, np.full(array.shape, number, np.float32)) for number, array in enumerate(arrays)]


def test_torchvisions_densenet_has_all_layers_but_the_classifier(tmp_path: Path, given: Pairs) -> None:
    state = published(given)
    assert "features.denseblock4.denselayer16.norm.2.running_var" in state
    state["classifier.weight"] = np.zeros((1000, 1024), np.float32)
    (tmp_path / "a.pth").write_bytes(in_a_row(saved(state)))
    arrays = [*(array for array, _ in given), Array("dense.weight", "dense", (14, 1024))]
    found = state_dict.densenet121(str(tmp_path / "a.pth"), arrays)
    assert list(found) == [array.name for array, _ in given]
    assert [float(value.flat[0]) for value in found.values()] == list(range(len(given)))


@pytest.mark.parametrize("change", ["missing", "shape"])
def test_another_network_is_refused_by_the_name_of_its_layer(tmp_path: Path, given: Pairs, change: str) -> None:
    state = published(given)
    first = state.pop("features.conv0.weight")
    if change == "shape":
        state["features.conv0.weight"] = first[:32]
    (tmp_path / "a.pth").write_bytes(zipped(saved(state)))
    with pytest.raises(SystemExit, match=r"lacks features\.conv0\.weight, or has it in another shape"):
        state_dict.densenet121(str(tmp_path / "a.pth"), [array for array, _ in given])
