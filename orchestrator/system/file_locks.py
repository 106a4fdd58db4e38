"""File locks that the kernel releases when a process dies, however it dies."""

import errno
import fcntl
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from orchestrator.errors import LackingError
from orchestrator.system.regular_files import NotRegularError, open_regular

Lock = FileLock


def take(path: Path) -> Lock | None:
    """Try to lock a file without waiting; None if another process, or another part of this one, holds the lock.

    It ends with ``release()``, or with this process. Whoever holds it may remove the file.
    """
    lock = FileLock(path, mode=0o666, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


@contextmanager
def waited_for(path: Path, stopped: Callable[[], bool] | None = None) -> Iterator[bool]:
    """Hold the lock of a file, waiting however long it takes, or until ``stopped()``; yields whether it is held."""
    lock = FileLock(path, mode=0o666, thread_local=False, fallback_to_soft=False)
    with suppress(Timeout):
        lock.acquire(cancel_check=stopped)
    try:
        yield lock.is_locked
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Return whether somebody holds the lock of a file; read access to it is enough."""
    try:
        with open_regular(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotRegularError):
        return False
    except BlockingIOError:
        return True
    return False


def host_folder() -> Path:
    """Return the lock folder that all programs on this host share, whoever runs them; ROSETTA_LOCKS names another.

    It is in /run/lock if that is world-writable, as on Debian, else in /tmp. TMPDIR is ignored, as users differ in it.
    Raises LackingError if no lock can be made there.
    """
    shared = Path("/run/lock")
    open_to_all = shared.is_dir() and shared.stat().st_mode & stat.S_IWOTH
    named = os.environ.get("ROSETTA_LOCKS")
    folder = Path(named or (shared if open_to_all else Path("/tmp")) / "rosetta")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if holds_only_locks(folder):
            with suppress(PermissionError):  # somebody else has made it
                folder.chmod(0o1777)  # everybody can lock there, and nobody can remove or replace another's lock
        if folder not in _tried:
            try_lock(folder)
            _tried.add(folder)
    except (OSError, NotImplementedError) as error:
        raise LackingError(
            f"GPUs and data sets can't be locked in {folder}{', which ROSETTA_LOCKS names' if named else ''}.",
            f"{getattr(error, 'strerror', None) or error}.",
            "Set ROSETTA_LOCKS to a folder that all orchestrators of this machine can write to.",
        ) from None
    return folder


def holds_only_locks(folder: Path) -> bool:
    """Whether a folder is for locks, or still empty: others that ROSETTA_LOCKS names are not opened to everybody."""
    return all(name.endswith(".lock") for name in os.listdir(folder))


_tried: set[Path] = set()
"""Folders in which this process has made a lock."""


def try_lock(folder: Path) -> None:
    """Make, take and remove a lock of our own in a folder.

    Raises OSError, or filelock's NotImplementedError if its file system has no locks.
    """
    path = folder / f"tried-{uuid.uuid4().hex}.lock"
    lock = take(path)
    if lock is None:  # nobody else knows its name
        raise OSError(errno.ENOLCK, "No lock can be made there", os.fspath(path))
    path.unlink(missing_ok=True)
    lock.release()
