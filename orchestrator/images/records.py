"""Which images were made here, and of what: our own record by their ids, since its maker decides what an image says.

An image's id is the sum of its configuration, which has the sums of its layers. So what is noted here can't be altered
without becoming another image, and one that came from outside is in the record only if it is the very same.
"""

import json
import os
import re
import uuid
from pathlib import Path

from orchestrator.errors import BuildError
from orchestrator.system.cache import cache_folder

ID = re.compile(r"sha256:([0-9a-f]{64})")


def place(image_id: str) -> Path:
    """The file about an image; raises BuildError for what is no id."""
    found = ID.fullmatch(image_id)
    if found is None:
        raise BuildError(f"{image_id[:100]!r} is no id of an image.")
    return cache_folder() / "built" / f"{found[1]}.json"


def note(image_id: str, recipe: str, workloads: str) -> None:
    """Note that an image was made here of a recipe and of scripts; raises BuildError if nothing can be written."""
    path = place(image_id)
    partial = path.with_suffix(f".{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps([recipe, workloads]), encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise BuildError(
            f"{path.parent} can't be written: {error.strerror}.",
            "It says which images were built here.",
            "Let ROSETTA_CACHE name another folder.",
        ) from None


def made_of(image_id: str) -> tuple[str, str] | None:
    """Recipe and scripts of an image that was made here; None for any other."""
    try:
        recipe, workloads = json.loads(place(image_id).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, BuildError):
        return None
    return str(recipe), str(workloads)
