"""A search for planted secrets: in files, and in what lies packed in them, as deep as it goes."""

import base64
import gzip
import io
import json
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence

import pyarrow.parquet as pq

UNREADABLE = (OSError, EOFError, ValueError, zlib.error, tarfile.TarError, zipfile.BadZipFile, NotImplementedError)
"""What is said of a file that only looks packed: images have tests of such libraries in them."""


def forms(word: bytes) -> Iterator[bytes]:
    """A word as it is, and its part of any text in base64 that it stands in, at one of three places in a group."""
    yield word
    for before in range(3):
        text = base64.b64encode(bytes(before) + word)
        yield text[-(-8 * before // 6) : 8 * (before + len(word)) // 6]


def places(name: str, content: bytes, words: Sequence[bytes]) -> Iterator[tuple[bytes, str]]:
    """Each of the words that stands in the content, and where: ``image.tar/blobs/sha256/…/etc/pip.conf``."""
    for word in words:
        if any(form in content for form in forms(word)):
            yield word, name
    for inside, member in unpacked(content):
        yield from places(f"{name}/{inside}", member, words)


def unpacked(content: bytes) -> Iterator[tuple[str, bytes]]:
    """What is packed in a content, by name."""
    try:
        if content.startswith(b"\x1f\x8b"):
            yield "gunzipped", gzip.decompress(content)
        elif content.startswith(b"PK\3\4"):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                yield from ((name, archive.read(name)) for name in archive.namelist())
        elif content.startswith(b"PAR1"):
            table = pq.read_table(io.BytesIO(content))
            yield "rows", json.dumps([table.schema.to_string(), table.to_pylist()], default=str).encode()
        elif content[257:262] == b"ustar":
            with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
                for member in archive:
                    file = archive.extractfile(member) if member.isreg() else None
                    yield member.name, file.read() if file else b""
    except UNREADABLE:
        return
