"""Locks that the kernel takes back when a process dies, however it dies."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from orchestrator.system.regular_files import NotRegularError, open_regular

Lock = FileLock


def take(path: Path) -> Lock | None:
    """The lock of a file, now or never: None if another process, or another part of this one, holds it.

    It ends with ``release()``, or with this process. Whoever holds it may remove the file.
    """
    lock = FileLock(path, mode=0o666, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


@contextmanager
def waited_for(path: Path) -> Iterator[None]:
    """The lock of a file, however long it takes."""
    with FileLock(path, mode=0o666, thread_local=False, fallback_to_soft=False):
        yield


def is_held(path: Path) -> bool:
    """Whether somebody holds the lock of a file; who may only read it can tell as well."""
    try:
        with open_regular(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NotRegularError):
        return False
    except BlockingIOError:
        return True
    return False


def host_folder() -> Path:
    """The folder of the locks that all programs of this host share, whoever runs them; ROSETTA_LOCKS names another.

    /run/lock where everybody may write there, as on Debian, else /tmp. TMPDIR has no say: it differs between users.
    """
    shared = Path("/run/lock")
    open_to_all = shared.is_dir() and shared.stat().st_mode & stat.S_IWOTH
    folder = Path(os.environ.get("ROSETTA_LOCKS") or (shared if open_to_all else Path("/tmp")) / "rosetta")
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(PermissionError):  # somebody else has made it
        folder.chmod(0o1777)  # everybody locks there, and nobody takes away or replaces another's lock
    return folder
