"""Safe file access in folders where others may plant files: only regular files of the folder's owner are opened."""

import errno
import io
import os
import re
import stat
from contextlib import suppress
from pathlib import Path

OPEN_ALREADY = re.compile(r"/(dev|proc/[0-9]+)/fd/[0-9]+", re.ASCII)
"""The kernel's links to files that a process has already opened; nobody else can plant one there."""


class NotRegularError(OSError):
    """There is something else than a plain file."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(errno.EINVAL, what, os.fspath(path))


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file for reading, without following a link and without blocking on a pipe.

    Raises NotRegularError for a link, a pipe, a device or a folder, and for a hard link to a file that belongs to
    another user than the folder; OSError otherwise.
    """
    follow = 0 if OPEN_ALREADY.fullmatch(os.fspath(path)) else os.O_NOFOLLOW
    try:
        number = os.open(path, os.O_RDONLY | follow | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NotRegularError(path, "it is a link") from None
        if error.errno == errno.ENXIO:
            raise NotRegularError(path, "it is a socket or a device") from None
        raise
    try:
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode):
            raise NotRegularError(path, "it is not a plain file")
        if found.st_nlink > 1 and found.st_uid != path.parent.stat().st_uid:
            raise NotRegularError(path, "it is a hard link to somebody else's file")
    except BaseException:
        os.close(number)
        raise
    return os.fdopen(number, "rb")


def resolved(path: Path) -> Path:
    """Return a path without links; raises OSError for links in a circle, where Path has an error of another kind."""
    try:
        return path.resolve()
    except RuntimeError:
        raise OSError(errno.ELOOP, "its links lead in a circle", os.fspath(path)) from None


def read_regular(path: Path, most: int = -1) -> bytes:
    """Return the bytes of a regular file, at most ``most`` if given; raises like ``open_regular``."""
    with open_regular(path) as file:
        return file.read(most)


def is_plain(path: Path) -> bool:
    """Return whether there is a file of this name that ``open_regular`` opens; a link to one is not."""
    try:
        open_regular(path).close()
    except OSError:
        return False
    return True


def write_beside(path: Path, content: bytes, partial: Path | None = None) -> None:
    """Write a file atomically, replacing whatever has its name: a link is replaced, not followed."""
    partial = partial or path.with_name(f".{path.name}.{os.getpid()}.partial")
    with suppress(FileNotFoundError):
        partial.unlink()
    number = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
