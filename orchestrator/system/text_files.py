"""Read and write text files for the whole program: UTF-8, atomically, with errors that have a remedy."""

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orchestrator.errors import DiskError, RosettaError, StorageError

LARGEST = 64 * 2**20
"""Most bytes of a text file: the path may also be an endless device."""

REMEDY = "Correct its owner or mode, or name another place."
FULL = (errno.ENOSPC, errno.EDQUOT)
ROOM = "Free some space, and run the command again."


def read_text(path: Path, kind: type[RosettaError], remedy: str = "") -> str:
    """Return a text file's content; raises an error of this kind if it is unreadable, not UTF-8, or too large."""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as error:
        raise kind(f"{path} can't be read.", f"{error.strerror or error}.", remedy) from None
    if len(raw) > LARGEST:
        raise kind(f"{path} is larger than the {LARGEST / 2**20:,.0f} MB that such a file may have.")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise kind(f"{path} is not text in UTF-8.", f"Line {line} has other bytes.", "Save it as UTF-8.") from None


def write_text(path: Path, text: str, remedy: str = REMEDY) -> None:
    """Write a text file atomically: to a file beside it, then renamed. Raises DiskError or StorageError.

    A link stays a link, and an existing file keeps its mode.
    """
    write_bytes(path, text.encode(errors="replace"), remedy)


def write_bytes(path: Path, content: bytes, remedy: str = REMEDY, lasting: bool = True) -> None:
    """Write bytes like ``write_text``; if not ``lasting``, as they can be made again, a power cut may lose them."""
    with disk_errors(path, remedy):
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        refuse_other(target, remedy, path)
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.partial")
        try:
            with partial.open("xb") as file:
                file.write(content)
                file.flush()
                if lasting:
                    os.fsync(file.fileno())
            if target.exists():
                shutil.copymode(target, partial)
            partial.replace(target)
        finally:
            with suppress(OSError):
                partial.unlink()


KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
"""What there is beside regular files."""


def refuse_other(path: Path, remedy: str = REMEDY, named: Path | None = None) -> None:
    """Raise StorageError if anything but a regular file is at a path: writing would replace a device, a pipe, a link.

    Every file that a user names to be written is checked by this; ``named`` is how, if not as ``path``.
    """
    try:
        kind = stat.S_IFMT(path.lstat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise as_ours(error, named or path, remedy) from None
    if kind != stat.S_IFREG:
        raise StorageError(f"{named or path} is not a regular file.", f"It is {KINDS.get(kind, 'special')}.", remedy)


@contextmanager
def disk_errors(place: object, remedy: str = REMEDY, full: str = ROOM) -> Iterator[None]:
    """Turn OSError about a place into DiskError if it is full, else StorageError."""
    try:
        yield
    except OSError as error:
        raise as_ours(error, place, remedy, full) from None


def as_ours(error: OSError, place: object = None, remedy: str = REMEDY, full: str = ROOM) -> RosettaError:
    """Convert an OSError into our own error, about ``place``, else about the file that it names."""
    named = place or error.filename or "a file"
    if error.errno in FULL:
        return DiskError(f"There is no room left in {named}.", f"{error.strerror}.", full)
    said = error.strerror or str(error)
    why = f"{said}: {error.filename}." if error.filename and str(error.filename) != str(named) else f"{said}."
    return StorageError(f"{named} can't be read or written.", why, remedy)
