"""Copy files into and out of containers without a program in the image, over the engine's API or from outside."""

import subprocess
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


def packed(folder: Path, most: int) -> bytes | None:
    """Return a folder as a tar archive, cut off at ``most`` bytes; None if we may not read all of it.

    Sparse files take their full size in it.
    """
    command = ["tar", "--numeric-owner", "-C", str(folder.parent), "-cf", "-", folder.name]
    try:
        tar = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return None
    with tar:
        assert tar.stdout is not None
        archive = tar.stdout.read(most)
        if len(archive) == most:
            tar.kill()
            return archive
    return archive if tar.returncode == 0 else None


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
