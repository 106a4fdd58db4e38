"""Files by name, in a folder or in the cloud, behind one protocol."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Protocol

CHUNK = 2**20
"""Bytes that are read at a time."""

SCHEMES = ("az", "file")
"""How locations begin, before ``://``."""


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
