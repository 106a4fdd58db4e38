"""Where results and data lie for others: a folder, or a container of Azure Blob Storage, behind one small protocol."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from orchestrator.errors import StorageError

CHUNK = 2**20
"""Bytes that are read at a time."""

SCHEMES = ("az", "file")
"""How locations begin, before ``://``."""

AZURE = re.compile(r"az://([a-z0-9]{3,24})/([a-z0-9](?:-?[a-z0-9]){2,62})((?:/(?!\.{1,2}(?:/|$))[\w.+=@,-]+)*)/?", re.A)
FOLDER = re.compile(r"file://(/[^?#\0]*)")


class NotThere(Exception):
    """There is no file of this name."""


class Taken(Exception):
    """There is a file of this name already."""


@dataclass(frozen=True)
class Entry:
    """A file as a storage lists it; what a remote one says of it is not to be trusted.

    ``name`` has slashes and is relative to the storage, ``size`` is in bytes, ``modified`` the time of its last change
    in nanoseconds since 1970, ``md5`` that of its content in hex, empty where the storage doesn't know.
    """

    name: str
    size: int
    modified: int
    md5: str = ""


class Storage(Protocol):
    """Files by name, added whole or not at all and never replaced. What fails is a StorageError or a DiskError."""

    address: str
    """What messages call it; there is no secret in it."""

    def entries(self) -> Iterator[Entry]:
        """All files, in no particular order; hidden ones are none."""

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        """The bytes of a file from ``start`` on, some at a time. Raises NotThere."""

    def add(self, entry: Entry, content: IO[bytes]) -> None:
        """Add a file with this content. Raises Taken if there is one of its name, which stays as it is."""

    def close(self) -> None:
        """Let go of connections."""


def at(location: str) -> Storage:
    """The storage at ``az://account/container/prefix`` or ``file:///path``; it is not looked at yet.

    Raises StorageError for any other text, which it does not repeat: somebody may have put a secret into it.
    """
    if azure := AZURE.fullmatch(location):
        from orchestrator.storage.blobs import Blobs

        return Blobs(azure[1], azure[2], azure[3].strip("/"))
    if folder := FOLDER.fullmatch(location):
        from orchestrator.storage.folder import Folder

        return Folder(Path(folder[1]))
    raise StorageError(
        "The location is neither az://account/container/prefix nor file:///path.",
        "It can't have a query, and no credentials in it." if set("?;@") & set(location) else "",
        "Credentials come from the environment: see docs/storage.md.",
    )
