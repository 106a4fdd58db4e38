"""The content hash that names a result."""

import hashlib
import json
from functools import cache

from orchestrator.cell import contract
from orchestrator.cell.cell import Cell
from orchestrator.cell.parameters import dataset_of
from orchestrator.cell.scripts import sources
from orchestrator.data import datasets
from orchestrator.images.image import Image


def key(cell: Cell, image: Image, engine: str, pretended: bool = False, base: str = "") -> str:
    """Content hash of everything that may change the result: 16 hexadecimal digits.

    What ran on a ``pretended`` GPU is no result of the cell. ``base`` is what the image is built on, where that is more
    than its recipe says: a locked digest is part of that already, a local stand-in is not.
    """
    content = {
        "cell": vars(cell),  # asdict copies deeply, which for thousands of cells takes longer than all the rest
        "contract": contract.CONTRACT,
        "engine": engine,
        "recipe": image.recipe,
        "sources": sources(cell.library, cell.workload, cell.variant),
        "data": data_digest(dataset) if (dataset := dataset_of(cell)) else "",
        **({"base": base} if base else {}),
        **({"pretended": True} if pretended else {}),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def key_in(digest: str, cell: Cell) -> str:
    """Return the content hash of a run in somebody else's image, known by its digest: it contains its own script."""
    content = {"cell": vars(cell), "contract": contract.RECEIVED, "image": digest}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def key_of_proof(name: str, driver: str, digest: str) -> str:
    """The content hash of a comparison with the reference, of its own key, the driver and the image's digest.

    The latter are empty where nobody knows them; without either it is the key itself.
    """
    content = [name, driver, digest]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16] if driver or digest else name


@cache
def data_digest(dataset: str) -> str:
    """Content hash of a data set, from its declared checksums."""
    return datasets.digest(dataset)
