"""A folder as a storage."""

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from orchestrator.storage.protocol import CHUNK, Entry, NotThere, Taken
from orchestrator.system.regular_files import is_plain, open_regular
from orchestrator.system.text_files import disk_errors


class Folder:
    """A folder as a storage. Hidden files and folders, which include files still being written, are ignored."""

    def __init__(self, path: Path) -> None:
        self.path, self.address = path, str(path)

    def entries(self) -> Iterator[Entry]:
        """Yield all regular files; none if there is no folder."""
        with disk_errors(self.address):
            for folder, folders, names in os.walk(self.path, onerror=refuse_unreadable):
                folders[:] = [name for name in folders if not name.startswith(".")]
                for path in (Path(folder, name) for name in names if not name.startswith(".")):
                    if is_plain(path):
                        status = path.stat(follow_symlinks=False)
                        name = path.relative_to(self.path).as_posix()
                        yield Entry(name, status.st_size, status.st_mtime_ns)

    def read(self, name: str, start: int = 0) -> Iterator[bytes]:
        """Yield the bytes of a regular file from ``start`` on."""
        path = self.path / name
        with disk_errors(self.address):
            if not path.is_file():
                raise NotThere(f"{path} does not exist")
            with open_regular(path) as file:
                file.seek(start)
                while chunk := file.read(CHUNK):
                    yield chunk

    def add(self, entry: Entry, content: IO[bytes]) -> None:
        """Write the file under a hidden name, then link it to its own name, which never replaces a file."""
        path = self.path / entry.name
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
        with disk_errors(self.address):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with partial.open("xb") as file:
                    shutil.copyfileobj(content, file, CHUNK)
                    file.flush()
                    os.fsync(file.fileno())
                os.utime(partial, ns=(entry.modified, entry.modified))
                os.link(partial, path)
            except (FileExistsError, NotADirectoryError):  # also a file where this one needs a folder
                raise Taken from None
            finally:
                partial.unlink(missing_ok=True)

    def close(self) -> None:
        """Do nothing: nothing is open."""


def refuse_unreadable(error: OSError) -> None:
    """Raise an error that ``os.walk`` would ignore, unless the folder does not exist."""
    if not isinstance(error, FileNotFoundError):
        raise error
