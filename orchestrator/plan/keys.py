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


def key(cell: Cell, image: Image, engine: str, pretended: bool = False) -> str:
    """Content hash of everything that may change the result: 16 hexadecimal digits.

    What ran on a ``pretended`` GPU is no result of the cell.
    """
    content = {
        "cell": vars(cell),  # asdict copies deeply, which for thousands of cells takes longer than all the rest
        "contract": contract.CONTRACT,
        "engine": engine,
        "recipe": image.recipe,
        "sources": sources(cell.library, cell.workload, cell.variant),
        "data": data_digest(dataset) if (dataset := dataset_of(cell)) else "",
        **({"pretended": True} if pretended else {}),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@cache
def data_digest(dataset: str) -> str:
    """Content hash of a data set, from its declared checksums."""
    return datasets.digest(dataset)
