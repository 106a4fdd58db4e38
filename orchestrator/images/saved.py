"""Images that were built elsewhere: archives of ``rosetta images save`` in a folder, for engines that can't build."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from orchestrator.errors import BuildError, ResultError
from orchestrator.images.bakefile import workloads_digest
from orchestrator.images.foreign_archives import MAKE, Archived, opened
from orchestrator.images.image import Image
from orchestrator.system.regular_files import read_regular

FOLDER = "ROSETTA_IMAGES"
"""The variable that names the folder. Whoever sets it trusts its contents as if they had been built here."""

SUMS = "SHA256SUMS"
"""A list in sha256sum's format, so that it can be checked without this program."""

LINE = re.compile(r"([0-9a-f]{64})  ([a-z0-9][A-Za-z0-9_.-]{0,200}\.tar)")
LARGEST_SUMS = 2**20

WRITTEN = "Name a folder that 'rosetta images save' wrote."


def saved_folder() -> Path | None:
    """Return the folder of archives; None if none is named."""
    named = os.environ.get(FOLDER)
    return Path(named).expanduser().absolute() if named else None


def file_name(tag: str) -> str:
    """The name of an image's archive."""
    return tag.removeprefix("rosetta/").replace(":", "-") + ".tar"


def sums_of(folder: Path) -> dict[str, str]:
    """Return the checksums of a folder's archives by name; raises ResultError."""
    path = folder / SUMS
    try:
        lines = read_regular(path, LARGEST_SUMS).decode("utf-8").splitlines()
    except OSError as error:
        raise ResultError(f"{path} can't be read.", f"{error.strerror or error}.", WRITTEN) from None
    except UnicodeDecodeError:
        raise ResultError(f"{path} is not a list of archive checksums.", "It is not text.", WRITTEN) from None
    found = [LINE.fullmatch(line) for line in lines]
    if not lines or not all(found):
        raise ResultError(f"{path} is not a list of archive checksums.", remedy=WRITTEN)
    return {match[2]: match[1] for match in found if match}


def sum_of(image: Image) -> str | None:
    """Return the sha256 of an image's archive from its folder's list; None if there is none. Raises ResultError."""
    folder = saved_folder()
    if folder is None or not (folder / SUMS).exists():
        return None
    return sums_of(folder).get(file_name(image.tag))


@contextmanager
def archive_of(image: Image) -> Iterator[Archived]:
    """Yield a saved image whose checksum matches and which is made from the current recipe and scripts.

    Raises BuildError if there is none or it is made from others; ResultError for a file that is no such archive.
    """
    folder, digest = saved_folder(), sum_of(image)
    if folder is None or digest is None:
        raise BuildError(f"There is no archive of {image.tag}.", absent())
    with opened(folder / file_name(image.tag), digest) as archived:
        labels = labels_in(archived)
        made_of = labels.get("rosetta.recipe"), labels.get("rosetta.workloads")
        if archived.tag != image.tag or made_of != (image.recipe, workloads_digest(image)):
            raise BuildError(
                f"{folder / file_name(image.tag)} is not the image that this program would build.",
                "Its recipe or its scripts come from another version.",
                f"Save it again with this version. {MAKE}",
            )
        yield archived


def labels_in(archived: Archived) -> Mapping[str, str]:
    """Return the labels in an image's configuration."""
    config = json.loads(archived.config).get("config") or {}
    labels = config.get("Labels") or {}
    return {str(name): str(value) for name, value in labels.items()}


def absent() -> str:
    """Return why no archive was found."""
    folder = saved_folder()
    return f"{folder} has none." if folder else f"{FOLDER} names no folder of 'rosetta images save' or 'publish'."
