"""Read a file in which PyTorch has saved a state_dict, with NumPy alone: for libraries without a hub of their own.

Both of PyTorch's formats are read: the zip archive of today, and what it wrote before version 1.6, pickles one after
the other and then the numbers. The unpickler makes texts, numbers and tensors, and nothing else.
"""

import io
import os
import pickle
import re
import zipfile
from collections import OrderedDict, namedtuple

import numpy as np

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the older format, as pickles at its beginning
TYPES = {"FloatStorage": "<f4", "DoubleStorage": "<f8", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4"}
PARTS = {"scale": "weight", "shift": "bias", "mean": "running_mean", "variance": "running_var"}

Tensor = namedtuple("Tensor", "type key start shape strides")
Tensor.__doc__ = """A tensor whose numbers lie elsewhere: in the storage ``key``, from number ``start`` on."""


class Storage(str):
    """The name of a type of storage, such as FloatStorage."""


def tensor(storage, start, shape, strides, *_):
    """What PyTorch's pickles call to make a tensor, of which gradients and hooks are left out."""
    kind, key = storage
    return Tensor(TYPES[kind], key, start, tuple(shape), tuple(strides))


class Tensors(pickle._Unpickler):
    """Unpickles what a state_dict is made of; anything else is refused.

    It is pickle's in Python, since that in C makes room for as many objects as a few damaged bytes say, 4 GB and more.
    """

    known = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor"): tensor,
        ("torch._utils", "_rebuild_tensor_v2"): tensor,
        ("torch._utils", "_rebuild_parameter"): lambda made, *_: made,
    }

    def find_class(self, module, name):
        """What stands for a class or function of a pickle; UnpicklingError for any that no state_dict needs."""
        if module in ("torch", "torch.cuda") and name in TYPES:
            return Storage(name)
        if (module, name) not in self.known:
            raise pickle.UnpicklingError("%s.%s is not part of a state_dict" % (module, name))
        return self.known[module, name]

    def persistent_load(self, described):
        """Type and key of what PyTorch describes as ("storage", type, key, device, count, and None or a part of it)."""
        if described[0] != "storage" or not isinstance(described[1], Storage) or any(described[5:]):
            raise pickle.UnpicklingError("%r is no storage" % (described[0],))
        return described[1], described[2]


def read(path):
    """The arrays of a state_dict, {name: array}; SystemExit says what is wrong with a file that holds none."""
    try:
        with open(path, "rb") as file:
            saved, storages = (zipped if zipfile.is_zipfile(path) else in_a_row)(file)
        return OrderedDict((name, numbers(saved[name], storages)) for name in saved)
    except Exception as error:  # bytes that are no state_dict can fail in any way
        what = str(error) or type(error).__name__  # a MemoryError has no text
        raise SystemExit("%s is no state_dict of PyTorch: %s" % (path, what)) from None


def densenet121(path, arrays):
    """The values of a workload's Arrays in torchvision's file for DenseNet-121, {name: value}; its classifier is left.

    The published file still has the names of torchvision's first versions, "norm.1" for "norm1".
    """
    found = {re.sub(r"(norm|conv)\.(\d)\.", r"\1\2.", name): value for name, value in read(path).items()}
    names = [(array, torchvision_name(array)) for array in arrays if not array.name.startswith("dense.")]
    wrong = [name for array, name in names if name not in found or found[name].shape != array.shape]
    if wrong:
        raise SystemExit("%s lacks %s, or has it in another shape" % (path, wrong[0]))
    return {array.name: found[name] for array, name in names}


def torchvision_name(array):
    """The name of an Array in torchvision's DenseNet."""
    place, part = array.name.rsplit(".", 1)
    layer = re.sub(r"^block(\d)\.(\d+)", r"denseblock\1.denselayer\2", place)
    return "features.%s.%s" % (layer, PARTS.get(part, part))


def zipped(file):
    """The Tensors in a zip archive by their names, and the bytes of each storage by its key."""
    archive = zipfile.ZipFile(file)
    if sum(member.file_size for member in archive.infolist()) > length(file):
        raise ValueError("it unpacks to more bytes than it has, and PyTorch packs none")
    (place,) = [name[: -len("data.pkl")] for name in archive.namelist() if name.endswith("/data.pkl")]
    saved = checked(Tensors(io.BytesIO(archive.read(place + "data.pkl"))).load())
    return saved, {key: archive.read(place + "data/" + key) for key in {each.key for each in saved.values()}}


def in_a_row(file):
    """The same of a file in the older format."""
    begin, protocol, _ = (Tensors(file).load() for _ in range(3))
    if (begin, protocol) != (MAGIC, PROTOCOL):
        raise ValueError("its first numbers are others")
    saved = checked(Tensors(file).load())
    sizes = {each.key: np.dtype(each.type).itemsize for each in saved.values()}
    storages = {}
    for key in Tensors(file).load():
        wanted = int.from_bytes(file.read(8), "little") * sizes[key]
        if wanted > length(file) - file.tell():
            raise ValueError("it is cut off, or says more numbers than it has")
        storages[key] = file.read(wanted)
    return saved, storages


def length(file):
    """The bytes of an open file."""
    return os.fstat(file.fileno()).st_size


def checked(saved):
    """What was unpickled, if it is a state_dict: Tensors by their names."""
    if not isinstance(saved, dict):
        raise ValueError("it holds a %s" % type(saved).__name__)
    for name, value in saved.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError("%.99r in it is no tensor with a name" % (name,))
        if any(size < 0 for size in value.shape):
            raise ValueError("%s has a negative size" % name)
    return saved


def numbers(tensor, storages):
    """The array of a Tensor, which lies in one piece."""
    array = np.frombuffer(storages[tensor.key], tensor.type)
    count = int(np.prod(tensor.shape, dtype=np.int64))
    array = array[tensor.start : tensor.start + count].reshape(tensor.shape)
    if array.size > 1 and tuple(step // array.itemsize for step in array.strides) != tensor.strides:
        raise ValueError("a tensor does not lie in one piece")
    return array
