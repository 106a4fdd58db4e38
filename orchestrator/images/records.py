"""Our own record, by id, of images made here and what from: an image's labels can't be trusted.

An image's id is the checksum of its configuration, which has the checksums of its layers. So a recorded image can't be
altered without becoming another one, and an image from outside is in the record only if it is identical.
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
    """Return the path of an image's record; raises BuildError for what is no id."""
    found = ID.fullmatch(image_id)
    if found is None:
        raise BuildError(f"{image_id[:100]!r} is not an image ID.")
    return cache_folder() / "built" / f"{found[1]}.json"


def note(image_id: str, recipe: str, workloads: str) -> None:
    """Record that an image was made here from a recipe and scripts; raises BuildError if it can't be written."""
    path = place(image_id)
    partial = path.with_suffix(f".{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps([recipe, workloads]), encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise BuildError(
            f"{path.parent} can't be written: {error.strerror}.",
            "It records which images were built here.",
            "Set ROSETTA_CACHE to another folder.",
        ) from None


def made_of(image_id: str) -> tuple[str, str] | None:
    """Return the recipe and scripts of an image that was made here; None for any other."""
    try:
        recipe, workloads = json.loads(place(image_id).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, BuildError):
        return None
    return str(recipe), str(workloads)
