"""Images as OCI archives with checksums, for machines without internet; archives from others are read with distrust."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import docker

from orchestrator.engines.client import UNREACHABLE, explain
from orchestrator.errors import BuildError, DiskError, ResultError
from orchestrator.images.image import Image
from orchestrator.publish.foreign_archives import MAKE, Archived, opened
from orchestrator.system.regular_files import read_regular
from orchestrator.system.terminal import Say, plain
from orchestrator.system.text_files import write_text

SUMS = "SHA256SUMS"
"""As sha256sum writes it, so that it can be checked without this program."""

LINE = re.compile(r"([0-9a-f]{64})  ([a-z0-9][A-Za-z0-9_.-]{0,200}\.tar)")
LARGEST_SUMS = 2**20


def save(api: docker.APIClient, images: Sequence[Image], folder: Path, say: Say) -> None:
    """Write an archive for each image, and the sums of all that are in the folder.

    Raises BuildError for an image that is not here, DiskError.
    """
    missing = [image.tag for image in images if not api.images(name=image.tag)]
    if missing:
        raise BuildError(f"There is no image {', '.join(missing)}.", remedy="Build it: 'rosetta build'.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sums = sums_of(folder) if (folder / SUMS).exists() else {}
        for image in images:
            name = file_name(image.tag)
            sums[name] = write_archive(api.get_image(image.tag), folder / name)
            say(f"{folder / name}: {(folder / name).stat().st_size / 2**20:,.0f} MB")
        write_text(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())))
    except OSError as error:
        raise DiskError(f"{folder} can't be written: {error.strerror or error}.") from None
    except UNREACHABLE as error:
        raise BuildError("The engine did not give the images.", explain(error)) from None


def write_archive(chunks: Iterable[bytes], path: Path) -> str:
    """Write a file, whole or not at all; returns its sha256."""
    partial, digest = path.with_suffix(".partial"), hashlib.sha256()
    try:
        with partial.open("wb") as file:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    return digest.hexdigest()


def load(api: docker.APIClient, folder: Path, say: Say) -> None:
    """Load all archives of a folder, after all of them were found to be what SHA256SUMS says and no other image's.

    What the engine gets is written anew from what was read. Raises ResultError, and then has loaded nothing; DiskError
    where a copy has no room; BuildError if the engine refuses.
    """
    sums = sums_of(folder)
    for name, digest in sums.items():
        with opened(folder / name, digest) as archived:
            require_name(archived, folder / name)
    for name, digest in sums.items():
        with opened(folder / name, digest) as archived:  # read again: it may have changed since
            require_name(archived, folder / name)
            hand_over(api, archived, folder / name)
            say(f"{archived.tag}  {archived.id}")


def require_name(archived: Archived, path: Path) -> None:
    """Raise ResultError for an archive that is named after another image than it holds."""
    if path.name != file_name(archived.tag):
        raise ResultError(f"{path} holds {archived.tag}, which its name does not say.", remedy=MAKE)


def file_name(tag: str) -> str:
    """The name of an image's archive."""
    return tag.removeprefix("rosetta/").replace(":", "-") + ".tar"


def hand_over(api: docker.APIClient, archived: Archived, path: Path) -> None:
    """Have the engine load an image; raises BuildError if it refuses, or ends up with another one."""
    untyped: Any = api
    try:
        said = [line for line in untyped.load_image(archived.pieces()) if "error" in line]
        if said:
            raise BuildError(f"The engine did not take {path}.", str(plain(said[0]["error"]))[:300])
        layers = api.inspect_image(archived.tag)["RootFS"]["Layers"]
    except UNREACHABLE as error:
        raise BuildError(f"The engine did not take {path}.", explain(error)) from None
    if layers != archived.diff_ids:
        raise BuildError(f"The engine has another {archived.tag} than {path} holds: somebody gave its name away.")


def sums_of(folder: Path) -> dict[str, str]:
    """The sums of a folder's archives by name; raises ResultError."""
    path = folder / SUMS
    try:
        lines = read_regular(path, LARGEST_SUMS).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ResultError(f"{path} can't be read.", f"{error}.", MAKE) from None
    found = [LINE.fullmatch(line) for line in lines]
    if not lines or not all(found):
        raise ResultError(f"{path} is no list of sums of archives.")
    return {match[2]: match[1] for match in found if match}


def listed(api: docker.APIClient) -> Iterator[tuple[str, int, str]]:
    """Tag, bytes and id of each image of ours that the engine has."""
    for image in api.images(filters={"label": "rosetta.contract"}):
        for tag in image["RepoTags"] or []:
            yield tag, int(image["Size"]), str(image["Id"])
