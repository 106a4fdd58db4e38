"""The folders of libraries: the program's own, and a user's own folders that a command adds.

Each of them has images/ and workloads/. The program's are at the top of a checkout, or in the package's folder
``program`` if a wheel has installed it.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from orchestrator.errors import MatrixError
from orchestrator.system.regular_files import resolved

if TYPE_CHECKING:
    from functools import _lru_cache_wrapper

R = TypeVar("R")

PACKAGE = Path(__file__).resolve().parents[1]
PACKED = PACKAGE / "program"
"""In a wheel, the program's files that are not its own Python modules; a checkout has no such folder."""

SHARED = ("harness", "reference", "params.json")
"""What all scripts share; only the program's folder has it."""


@dataclass(frozen=True)
class LibraryFolder:
    """A folder with libraries: ``images/NAME.yaml``, ``images/locks/`` and ``workloads/WORKLOAD/NAME.py``."""

    path: Path

    @property
    def images(self) -> Path:
        """The definitions."""
        return self.path / "images"

    @property
    def locks(self) -> Path:
        """The locks of its images."""
        return self.path / "images" / "locks"

    @property
    def workloads(self) -> Path:
        """The scripts."""
        return self.path / "workloads"


PROGRAM = LibraryFolder(PACKED if PACKED.is_dir() else PACKAGE.parent)
"""The program's own folder, with matrix.yaml beside images/ and workloads/. Installed, it can be read-only."""

_own: list[LibraryFolder] = []
_remembered: list["_lru_cache_wrapper[Any]"] = []


def library_folders() -> tuple[LibraryFolder, ...]:
    """Return the program's folder, then the user's own in the order in which they were named."""
    return (PROGRAM, *_own)


def take_in(folders: Iterable[Path]) -> None:
    """Search these folders for libraries too, in place of any own folders set before.

    Raises MatrixError for a folder that is missing, has neither images/ nor workloads/, or replaces what all share.
    """
    own = [LibraryFolder(path) for path in dict.fromkeys(map(found, folders))]
    for folder in own:
        check(folder)
    if own != _own:
        _own[:] = own
        forget()


def found(path: Path) -> Path:
    """Return a folder without links; raises MatrixError if they lead in a circle."""
    try:
        return resolved(path)
    except OSError as error:
        raise MatrixError(f"{path} is no folder: {error.strerror}.", remedy="Correct the link, or its name.") from None


@contextmanager
def of_checkout(path: Path) -> Iterator[None]:
    """Use another checkout's images and scripts in place of the program's own; raises MatrixError if it is none.

    The running program stays the same: what a cell does is defined by these folders alone.
    """
    global PROGRAM
    other = LibraryFolder(found(path))
    if not (other.images.is_dir() and (other.workloads / "harness").is_dir()):
        raise MatrixError(f"{path} is not a checkout: it lacks images/ or workloads/harness/.")
    usual, PROGRAM = PROGRAM, other
    forget()
    try:
        yield
    finally:
        PROGRAM = usual
        forget()


def check(folder: LibraryFolder) -> None:
    """Raise MatrixError for a folder that can hold no libraries."""
    if not folder.path.is_dir():
        raise MatrixError(f"There is no folder {folder.path}.", remedy="Correct --with, or 'with' in the matrix file.")
    if not (folder.images.is_dir() or folder.workloads.is_dir()):
        raise MatrixError(
            f"{folder.path} has neither images/ nor workloads/.", remedy="See docs/libraries.md for an example."
        )
    for name in SHARED:
        if (folder.workloads / name).exists():
            why = "All libraries share the program's."
            raise MatrixError(f"{folder.workloads / name} can't be used.", why, "Remove or rename it.")


def remembered(function: Callable[..., R]) -> "_lru_cache_wrapper[R]":
    """``functools.cache`` for what is read from these folders: cleared when the folders change."""
    wrapped = cache(function)
    _remembered.append(wrapped)
    return wrapped


def forget() -> None:
    """Clear the caches of all ``remembered`` functions."""
    for each in _remembered:
        each.cache_clear()
