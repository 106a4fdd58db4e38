"""Copy files into and out of containers over the engine's API, which needs no program in the image."""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker

CHUNK = 2**20
"""Bytes per chunk of a file."""


@contextmanager
def archive_from(api: docker.APIClient, container: str, path: str) -> Iterator[Iterator[bytes]]:
    """Yield a container's folder as the chunks of a tar archive.

    The SDK's get_archive won't do: an abandoned stream must be closed at once, since the engine does not remove a
    container while it is still sending an archive of it.
    """
    untyped: Any = api
    url = f"{untyped.base_url}/v{untyped.api_version}/containers/{container}/archive"
    with untyped.get(url, params={"path": path}, stream=True, timeout=untyped.timeout) as response:
        untyped._raise_for_status(response)  # as the SDK does, so that a refusal is an error of the SDK's
        yield response.iter_content(CHUNK)


def put(api: docker.APIClient, container: str, folder: str, path: Path, name: Path) -> None:
    """Copy a local file into a container's folder, under another name and readable by all."""
    untyped: Any = api
    untyped.put_archive(container, folder, archive_of(path, name))


def archive_of(path: Path, name: Path) -> Iterator[bytes]:
    """Yield a tar archive of one file and its parent folders in chunks: some data sets are larger than memory."""
    for parent in reversed(name.parents[:-1]):
        folder = tarfile.TarInfo(str(parent))
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        yield folder.tobuf()
    member = tarfile.TarInfo(str(name))
    member.size, member.mode = path.stat().st_size, 0o644
    yield member.tobuf()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
    yield b"\0" * (-member.size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)
