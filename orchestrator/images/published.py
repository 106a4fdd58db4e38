"""Published images, by the lock file of ``rosetta publish`` in the folder of archives, for engines that can't build."""

import json
from dataclasses import dataclass

from orchestrator.errors import ResultError
from orchestrator.images.image import Image
from orchestrator.images.image_names import ID, ImageName, parse
from orchestrator.images.saved import saved_folder
from orchestrator.system.regular_files import read_regular

LOCK = "images.json"
LARGEST_LOCK = 2**22


@dataclass(frozen=True)
class InRegistry:
    """An image in a registry: its reference, the id of the built image of the same layers, and what made that."""

    reference: ImageName
    built: str
    recipe: str
    workloads: str


def published(image: Image) -> InRegistry | None:
    """Return the published image that the lock file lists for an image's tag; None if none. Raises ResultError.

    If it lies in several registries, that is the last one made by this program's recipe, else the last one.
    """
    folder = saved_folder()
    if folder is None or not (folder / LOCK).exists():
        return None
    try:
        lines = json.loads(read_regular(folder / LOCK, LARGEST_LOCK))
        if len({line["image"].partition("@")[0] for line in lines}) < len(lines):
            raise ValueError("it lists an image twice")
        every = [line for line in lines if name_in(line["image"]) == image.tag]
        if not every:
            return None
        found = next((line for line in reversed(every) if line["recipe"] == image.recipe), every[-1])
        if not ID.fullmatch(found["built"]):
            raise ValueError(f"{found['built'][:100]!r} is not an image ID")
        return InRegistry(parse(found["image"]), *(str(found[key]) for key in ("built", "recipe", "workloads")))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, ResultError) as error:
        raise ResultError(f"{folder / LOCK} is not a lock file of images.", str(error)[:300]) from None


def name_in(reference: str) -> str:
    """Return the local tag of a published image."""
    return f"rosetta/{reference.partition('@')[0].rpartition('/')[2]}"
