"""Unpack files from a published archive, of which only bytes with the right checksum are trusted."""

import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from orchestrator.data.downloads import CHUNK, OFFLINE, receiving
from orchestrator.data.files import File
from orchestrator.errors import DataError
from orchestrator.system.streams import Limited

OVERHEAD = 2**20
"""Most bytes that an archive may unpack to beyond its declared files: headers, padding and small extras."""


def unpack(archive: Path, folder: Path, wanted: list[File], files: tuple[File, ...], extras: tuple[str, ...]) -> None:
    """Write the ``wanted`` ones of an archive's ``files`` below ``folder``, and verify each.

    No path, link, mode or owner is taken from the archive, which is read as a stream that ends at the declared size.
    Raises DataError for anything missing, damaged, or not among the files and the ``extras``.
    """
    declared = {file.path for file in files} | set(extras)
    belonging = {("file", path) for path in declared}
    belonging |= {("folder", str(parent)) for path in declared for parent in Path(path).parents}
    lacking = {file.path: file for file in wanted}
    most = sum(file.largest for file in files) + OVERHEAD
    refusal = DataError(f"The archive {archive.name} unpacks to more bytes than its data set has.", remedy=OFFLINE)
    try:
        with (
            gzip.open(archive) as raw,
            Limited(iter(lambda: raw.read(CHUNK), b""), most, refusal) as stream,
            tarfile.open(fileobj=stream, mode="r|", bufsize=CHUNK) as tar,
        ):
            for member in tar:
                if (kind(member), member.name) not in belonging:
                    raise DataError(
                        f"The archive {archive.name} holds the {kind(member)} {member.name!r}, "
                        "which does not belong to its data set.",
                        "None of it was kept.",
                        OFFLINE,
                    )
                file, source = lacking.pop(member.name, None), tar.extractfile(member)
                if file and source:
                    write(file, folder, iter(partial(source.read, CHUNK), b""), archive)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"The archive {archive.name} can't be unpacked.", f"{error}.", OFFLINE) from None
    if lacking:
        raise DataError(f"The archive {archive.name} lacks {', '.join(lacking)}.", remedy=OFFLINE)


def unzip(archive: Path, folder: Path, wanted: list[File]) -> None:
    """Write the ``wanted`` members of a zip archive below ``folder``, and verify each; anything else in it is left.

    Raises DataError for one that is missing, damaged, or larger than it should be.
    """
    for file in wanted:
        write(file, folder, chunks(archive, file.path), archive)


def chunks(archive: Path, member: str) -> Iterator[bytes]:
    """Yield the bytes of a member of a zip archive.

    An archive without a checksum may hold any bytes, on which zipfile, its decompressors and codecs raise errors of
    many kinds: all become a DataError.
    """
    try:
        with zipfile.ZipFile(archive) as opened, opened.open(member) as source:
            while chunk := source.read(CHUNK):
                yield chunk
    except KeyError:
        raise DataError(f"The archive {archive.name} lacks {member}.", remedy=OFFLINE) from None
    except Exception as error:
        why = f"{error}" or type(error).__name__
        raise DataError(f"The archive {archive.name} can't be unpacked.", f"{why}.", OFFLINE) from None


def write(file: File, folder: Path, content: Iterator[bytes], archive: Path) -> None:
    """Write a member of an archive below ``folder``, and verify it."""
    with receiving(file, folder / file.path, f"{archive.name}/{file.path}") as incoming:
        incoming.restart()
        for chunk in content:
            incoming.write(chunk)


def kind(member: tarfile.TarInfo) -> str:
    """Return a member's kind for messages: file, folder, link or device."""
    if member.isreg():
        return "file"
    if member.isdir():
        return "folder"
    return "link" if member.islnk() or member.issym() else "device"
