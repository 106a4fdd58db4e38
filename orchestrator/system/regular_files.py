"""Files in folders where others may plant something: nothing is opened that is not a plain file of its folder's."""

import errno
import io
import os
import re
import stat
from contextlib import suppress
from pathlib import Path

OPEN_ALREADY = re.compile(r"/(dev|proc/[0-9]+)/fd/[0-9]+", re.ASCII)
"""Links of the kernel's to files that a process has opened already; nobody else can plant one there."""


class NotRegularError(OSError):
    """There is something else than a plain file."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(errno.EINVAL, what, os.fspath(path))


def open_regular(path: Path) -> io.BufferedReader:
    """Open a file to be read, without following a link and without waiting at a pipe.

    Raises NotRegularError for a link, a pipe, a device or a folder, and for a further name of a file that belongs to
    somebody else than the folder; OSError otherwise.
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
            raise NotRegularError(path, "it is no plain file")
        if found.st_nlink > 1 and found.st_uid != path.parent.stat().st_uid:
            raise NotRegularError(path, "it is a further name of a file of somebody else")
    except BaseException:
        os.close(number)
        raise
    return os.fdopen(number, "rb")


def read_regular(path: Path, most: int = -1) -> bytes:
    """The bytes of a plain file, ``most`` of them if that is named; raises as ``open_regular``."""
    with open_regular(path) as file:
        return file.read(most)


def is_plain(path: Path) -> bool:
    """Whether there is a file of this name that may be opened; a link to one is none."""
    try:
        open_regular(path).close()
    except OSError:
        return False
    return True


def write_beside(path: Path, content: bytes, partial: Path | None = None) -> None:
    """Write a file whole or not at all, in place of whatever has its name: what a link points to stays as it is."""
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
