"""Convert published pickles to plain arrays, once and on this machine: cells read only numbers, no code.

The input is verified by its publishers' checksums; even so, the unpickler makes nothing but arrays. The output is
identical to the last byte under every version of NumPy, so that the catalogue can have its checksums.
"""

import io
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import DataError

if TYPE_CHECKING:
    import numpy as np

HEADER = 118
"""Bytes of the text that describes an array: with the ten before it, two cache lines."""

Convert = Callable[[Path, Path], None]
"""Reads published files from one folder, and writes those that cells read to another, existing one."""


class Numbers(pickle.Unpickler):
    """Unpickles only lists, numbers, texts and NumPy arrays of them; refuses anything else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the three classes that an array's pickle needs; raises UnpicklingError for any other."""
        import numpy as np

        known = {
            ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
        }
        found = known.get((module.replace("numpy._core", "numpy.core"), name))
        if found is None:
            raise pickle.UnpicklingError(f"{module}.{name} is not part of an array")
        return found


def unpickled(content: bytes, name: str) -> Any:
    """Unpickle arrays; raises DataError if the pickle holds anything else."""
    try:
        return Numbers(io.BytesIO(content), encoding="latin1").load()
    except Exception as error:  # bytes that are no pickle can fail in any way
        raise DataError(f"{name} is not a pickle of arrays.", f"{error}.") from None


def save(array: "np.ndarray[Any, Any]", path: Path) -> None:
    """Write an array in NumPy's format 1.0, with a fixed header: NumPy itself has written it in several ways."""
    text = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {array.shape}, }}"
    header = text.ljust(HEADER - 1).encode() + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + array.tobytes())


def cifar_10(published: Path, converted: Path) -> None:
    """Write images as uint8 (N, 3, 32, 32) and labels as uint8 (N,), from the pickled batches, in their order."""
    import numpy as np

    for part, names in (("train", [f"data_batch_{number}" for number in range(1, 6)]), ("test", ["test_batch"])):
        batches: list[Mapping[str, Any]] = [
            unpickled((published / "cifar-10-batches-py" / name).read_bytes(), name) for name in names
        ]
        images = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
        save(images.astype(np.uint8, casting="equiv"), converted / f"{part}.images.npy")
        save(np.concatenate([batch["labels"] for batch in batches]).astype(np.uint8), converted / f"{part}.labels.npy")


def imdb(published: Path, converted: Path) -> None:
    """Write concatenated reviews as int32 word ranks, their lengths as int32 (N,), and labels as uint8 (N,)."""
    import numpy as np

    with zipfile.ZipFile(published / "imdb.npz") as archive:
        for part in ("train", "test"):
            reviews = objects(archive.read(f"x_{part}.npy"), f"x_{part}.npy")
            labels = np.lib.format.read_array(io.BytesIO(archive.read(f"y_{part}.npy")), allow_pickle=False)
            save(np.concatenate([np.asarray(review, np.int32) for review in reviews]), converted / f"{part}.words.npy")
            save(np.array([len(review) for review in reviews], np.int32), converted / f"{part}.lengths.npy")
            save(labels.astype(np.uint8), converted / f"{part}.labels.npy")


def objects(content: bytes, name: str) -> Any:
    """Return an array of Python objects, which NumPy stores as a pickle after its header."""
    import numpy as np

    stream = io.BytesIO(content)
    np.lib.format.read_magic(stream)
    np.lib.format.read_array_header_1_0(stream)
    return unpickled(stream.read(), name)
