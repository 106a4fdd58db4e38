"""Files by name, in a folder or in the cloud, behind one protocol."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Protocol

CHUNK = 2**20
"""Bytes per read."""

SCHEMES = ("az", "file")
"""The schemes of locations, before ``://``."""


class NotThere(Exception):
    """There is no file of this name."""


class Taken(Exception):
    """There is a file of this name already."""


@dataclass(frozen=True)
class Entry:
    """A file as a storage lists it; a remote storage's data on it is not trusted.

    ``name`` has slashes and is relative to the storage, ``size`` is in bytes, ``modified`` the time of its last change
    in nanoseconds since 1970, ``md5`` that of its content in hex, empty where the storage doesn't know.
    """

    name: str
    size: int
    modified: int
    md5: str = ""


class Storage(Protocol):
    """Files by name, added atomically and never replaced. Failures are StorageError or DiskError."""

    address: str
    """Its name in messages, without secrets."""

    def entries(self) -> Iterator[Entry]:
        """Yield all files except hidden ones, in no particular order."""

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        """Yield the bytes of a file from ``start`` on, in chunks. Raises NotThere."""

    def add(self, entry: Entry, content: IO[bytes]) -> None:
        """Add a file with this content. Raises Taken if there is one of its name, which stays as it is."""

    def close(self) -> None:
        """Close connections."""
