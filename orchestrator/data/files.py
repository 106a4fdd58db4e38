"""Files whose content is known by its checksum."""

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Content:
    """The bytes of a file: their sha256 in hex, and how many there are.

    If a publisher gives an MD5 or SHA-1 and no size, they are that one (told by its length) and more bytes than it can
    have. An archive of which no checksum is published has an empty one: then its members are verified, and only they.
    """

    sha256: str
    size: int


@dataclass(frozen=True)
class File:
    """A file of a data set, or the archive it is published in.

    ``path`` is relative to the folder of the set. ``contents`` are the accepted ones: first the publisher's, then any
    that are packed differently but hold the same data. ``url`` is the publisher's; files from an archive have none.
    """

    path: str
    contents: tuple[Content, ...]
    url: str = ""

    @property
    def size(self) -> int:
        """Size in bytes as published."""
        return self.contents[0].size

    @property
    def largest(self) -> int:
        """Bytes of the largest accepted content."""
        return max(content.size for content in self.contents)

    @property
    def algorithm(self) -> str:
        """The checksum's algorithm."""
        return {32: "md5", 40: "sha1"}.get(len(self.contents[0].sha256), "sha256")

    @property
    def is_declared(self) -> bool:
        """Whether a checksum of the whole file is known."""
        return bool(self.contents[0].sha256)

    @property
    def sums(self) -> tuple[str, ...]:
        """The accepted checksums, the publisher's first."""
        return tuple(content.sha256 for content in self.contents)


def checksum(path: Path, algorithm: str = "sha256") -> str:
    """Return the checksum of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
