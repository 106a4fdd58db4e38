"""Folders that programs fill which are not ours."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a temporary folder and remove it at the end; what can't be removed of what was left there stays.

    A program may make folders within each other until Python's own removal recurses too deep, set an attribute that
    forbids removal, or put a link in the folder's place: none of it may end a run.
    """
    folder = tempfile.TemporaryDirectory(prefix="rosetta-", ignore_cleanup_errors=True)
    try:
        yield Path(folder.name)
    finally:
        remove_tree(Path(folder.name))
        with suppress(OSError, RecursionError):  # unlike rm, it gives itself back the permissions that were taken
            folder.cleanup()


def remove_tree(folder: Path) -> None:
    """Remove a folder, however deep; what can't be removed stays, and nothing is raised."""
    with suppress(OSError):
        subprocess.run(["rm", "-rf", "--", folder], stderr=subprocess.DEVNULL, check=False)
