"""Images as OCI archives with checksums, for machines without internet; archives from others are not trusted."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import docker

from orchestrator.engines.client import UNREACHABLE, explain
from orchestrator.errors import BuildError, DiskError, ResultError
from orchestrator.images.foreign_archives import MAKE, Archived, opened
from orchestrator.images.image import Image
from orchestrator.images.saved import SUMS, file_name, sums_of
from orchestrator.system.terminal import Say, plain
from orchestrator.system.text_files import refuse_other, write_text


def save(api: docker.APIClient, images: Sequence[Image], folder: Path, say: Say) -> None:
    """Write an archive for each image, and the checksums of all archives in the folder.

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
        raise BuildError("The engine did not export the images.", explain(error)) from None


def write_archive(chunks: Iterable[bytes], path: Path) -> str:
    """Write a file, whole or not at all; returns its sha256."""
    partial, digest = path.with_suffix(".partial"), hashlib.sha256()
    refuse_other(path)
    partial.unlink(missing_ok=True)  # of a run that was killed
    try:
        with partial.open("xb") as file:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)
    return digest.hexdigest()


def load(api: docker.APIClient, folder: Path, say: Say) -> None:
    """Load all archives of a folder, once all match SHA256SUMS and hold the images that they are named after.

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
    """Raise ResultError if an archive is named after another image than it holds."""
    if path.name != file_name(archived.tag):
        raise ResultError(f"{path} holds {archived.tag}, which does not match its name.", remedy=MAKE)


def hand_over(api: docker.APIClient, archived: Archived, path: Path) -> None:
    """Have the engine load an image; raises BuildError if it refuses, or ends up with another one."""
    untyped: Any = api
    try:
        said = [line for line in untyped.load_image(archived.pieces()) if "error" in line]
        if said:
            raise BuildError(f"The engine could not load {path}.", str(plain(said[0]["error"]))[:300])
        layers = api.inspect_image(archived.tag)["RootFS"]["Layers"]
    except UNREACHABLE as error:
        raise BuildError(f"The engine could not load {path}.", explain(error)) from None
    if layers != archived.diff_ids:
        raise BuildError(f"The engine's {archived.tag} is not the one in {path}: its name went to another image.")


def listed(api: docker.APIClient) -> Iterator[tuple[str, int, str]]:
    """Tag, bytes and id of each image of ours that the engine has."""
    for image in api.images(filters={"label": "rosetta.contract"}):
        for tag in image["RepoTags"] or []:
            yield tag, int(image["Size"]), str(image["Id"])
