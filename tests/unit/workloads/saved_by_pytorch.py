"""Write files as PyTorch saves a state_dict, in both formats, without it: its pickles name what a stand-in has."""

import io
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np

from harness import state_dict
from harness.weights import Array

Numbers = np.ndarray[Any, Any]
STORAGES = {"float32": "FloatStorage", "float64": "DoubleStorage", "float16": "HalfStorage", "int64": "LongStorage"}


class Storage:
    """The numbers of a tensor, which its pickle only names."""

    def __init__(self, array: Numbers, key: str) -> None:
        self.array, self.key = array, key


class Saved:
    """A tensor, for a pickle."""

    def __init__(self, array: Numbers, key: str, start: int = 0, transposed: bool = False) -> None:
        self.storage, self.start = Storage(array, key), start
        self.array, self.key = array.T if transposed else array, key

    def __reduce__(self) -> tuple[Any, ...]:
        strides = tuple(step // self.array.itemsize for step in self.array.strides)
        rebuild = vars(sys.modules["torch._utils"])["_rebuild_tensor_v2"]
        return rebuild, (self.storage, self.start, self.array.shape, strides, False, OrderedDict())


def pretended() -> dict[str, ModuleType]:
    """Modules with the names of PyTorch that its pickles refer to."""

    def _rebuild_tensor_v2(*_: object) -> None:
        raise AssertionError("the reader has its own")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    torch, utils = ModuleType("torch"), ModuleType("torch._utils")
    vars(utils)["_rebuild_tensor_v2"] = _rebuild_tensor_v2
    for name in STORAGES.values():
        vars(torch)[name] = type(name, (), {"__module__": "torch"})
    return {"torch": torch, "torch._utils": utils}


def pickled(state: Mapping[str, Saved], *more: object) -> bytes:
    """The pickle of a state_dict, whose storages are named only."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, part: Any) -> Any:
            if not isinstance(part, Storage):
                return None
            kind = getattr(sys.modules["torch"], STORAGES[part.array.dtype.name])
            return ("storage", kind, part.key, "cpu", part.array.size, *more)

    stream = io.BytesIO()
    with patch.dict(sys.modules, pretended()):
        Pickler(stream, 2).dump(OrderedDict(state))
    return stream.getvalue()


def saved(state: Mapping[str, Numbers]) -> dict[str, Saved]:
    """Tensors, each with a storage of its own."""
    return {name: Saved(array, str(number)) for number, (name, array) in enumerate(state.items())}


def zipped(state: Mapping[str, Saved]) -> bytes:
    """The file that PyTorch writes since version 1.6."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", pickled(state))
        archive.writestr("archive/version", "3\n")
        for tensor in state.values():
            archive.writestr(f"archive/data/{tensor.key}", tensor.array.tobytes())
    return stream.getvalue()


def in_a_row(state: Mapping[str, Saved], magic: int = state_dict.MAGIC) -> bytes:
    """The file that it wrote before."""
    head = [magic, state_dict.PROTOCOL, {"little_endian": True}]
    keys = sorted(tensor.key for tensor in state.values())
    parts = [pickle.dumps(each, 2) for each in head] + [pickled(state, None), pickle.dumps(keys, 2)]
    by_key = {tensor.key: tensor.array for tensor in state.values()}
    return b"".join(parts + [struct.pack("<q", by_key[key].size) + by_key[key].tobytes() for key in keys])


def published(given: Iterable[tuple[Array, Numbers]]) -> dict[str, Numbers]:
    """Values of DenseNet-121's arrays by the names in torchvision's file, those of its first versions."""
    state = {}
    for array, value in given:
        name = state_dict.torchvision_name(array)
        for layer in ("norm1", "norm2", "conv1", "conv2"):
            name = name.replace(f".{layer}.", f".{layer[:-1]}.{layer[-1]}.")
        state[name] = value
    return state
