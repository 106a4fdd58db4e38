"""Images as OCI archives with checksums, for machines without internet; archives from others are read with distrust."""

import hashlib
import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import docker

from orchestrator.data.files import checksum
from orchestrator.engines.client import UNREACHABLE, explain
from orchestrator.errors import BuildError, DiskError, ResultError
from orchestrator.images.image import Image
from orchestrator.system.terminal import Say

SUMS = "SHA256SUMS"
"""As sha256sum writes it, so that it can be checked without this program."""

LINE = re.compile(r"([0-9a-f]{64})  ([a-z0-9][A-Za-z0-9_.-]{0,200}\.tar)")
LARGEST_ARCHIVE = 64 * 2**30
LARGEST_SUMS, LARGEST_INDEX = 2**20, 2**20
CHUNK = 2**20


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
            name = image.tag.removeprefix("rosetta/").replace(":", "-") + ".tar"
            sums[name] = write_archive(api.get_image(image.tag), folder / name)
            say(f"{folder / name}: {(folder / name).stat().st_size / 2**20:,.0f} MB")
        (folder / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items())))
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

    Raises ResultError, and then has loaded nothing; BuildError if the engine refuses.
    """
    paths = [verified(folder / name, digest) for name, digest in sums_of(folder).items()]
    tags = {path: tag_in(path) for path in paths}
    for path, tag in tags.items():
        try:
            with path.open("rb") as file:
                said = [line for line in api.load_image(file) if "errorDetail" in line]
        except UNREACHABLE as error:
            raise BuildError(f"The engine did not take {path}.", explain(error)) from None
        if said:
            raise BuildError(f"The engine did not take {path}.", str(said[0]["errorDetail"])[:300])
        say(f"{tag}  {api.inspect_image(tag)['Id']}")


def sums_of(folder: Path) -> dict[str, str]:
    """The sums of a folder's archives by name; raises ResultError."""
    path = folder / SUMS
    try:
        with path.open(encoding="utf-8") as file:
            lines = file.read(LARGEST_SUMS).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ResultError(f"{path} can't be read.", f"{error}.", "Make it with 'rosetta images save'.") from None
    found = [LINE.fullmatch(line) for line in lines]
    if not lines or not all(found):
        raise ResultError(f"{path} is no list of sums of archives.")
    return {match[2]: match[1] for match in found if match}


def verified(path: Path, digest: str) -> Path:
    """The archive, if it has that sha256; raises ResultError."""
    try:
        if path.stat().st_size > LARGEST_ARCHIVE:
            raise ResultError(f"{path} is larger than an image may be.")
        found = checksum(path)
    except OSError as error:
        raise ResultError(f"{path} can't be read: {error.strerror}.") from None
    if found != digest:
        raise ResultError(f"{path} is not what {SUMS} says.", f"Its sha256 is {found}.", "Copy it again.")
    return path


def tag_in(path: Path) -> str:
    """The one tag that an archive has, which must be of ours: any other could replace an image of somebody else.

    Raises ResultError.
    """
    try:
        with tarfile.open(path, "r:") as archive:
            entries = [content_of(archive, name) for name in ("manifest.json", "index.json")]
        tags = [tag for image in entries[0] for tag in image["RepoTags"] or []]
        names = [one.get("annotations", {}).get("io.containerd.image.name") for one in entries[1]["manifests"]]
    except (tarfile.TarError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ResultError(f"{path} is no OCI archive of an image.", f"{error}.") from None
    if len(tags) != 1 or not re.fullmatch(r"rosetta/[a-z0-9-]+:[A-Za-z0-9._-]+", tags[0]):
        raise ResultError(f"{path} holds other images than one of Rosetta Matrix.", f"Its tags: {str(tags)[:200]}.")
    if {name for name in names if name} - {f"docker.io/{tags[0]}"}:
        raise ResultError(f"{path} holds images of two names.", f"Its names: {str(names)[:200]}.")
    return str(tags[0])


def content_of(archive: tarfile.TarFile, name: str) -> Any:
    """A JSON file of an archive, if it is no larger than such a file is."""
    member = archive.getmember(name)
    file = archive.extractfile(member) if member.size <= LARGEST_INDEX else None
    if file is None:
        raise ValueError(f"{name} is no file of a usual size")
    return json.load(file)


def listed(api: docker.APIClient) -> Iterator[tuple[str, int, str]]:
    """Tag, bytes and id of each image of ours that the engine has."""
    for image in api.images(filters={"label": "rosetta.contract"}):
        for tag in image["RepoTags"] or []:
            yield tag, int(image["Size"]), str(image["Id"])
