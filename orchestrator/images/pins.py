"""The lock of base images, images/locks/bases.txt: a digest for each tag."""

import re
from collections.abc import Mapping
from pathlib import Path

from orchestrator.errors import BuildError
from orchestrator.system import library_folders
from orchestrator.system.library_folders import remembered
from orchestrator.system.text_files import read_text

FILE = "bases.txt"
LINE = re.compile(r"(?P<name>[a-z0-9][\w./:-]*)@(?P<digest>sha256:[0-9a-f]{64})")


@remembered
def digests() -> Mapping[str, str]:
    """Return the locked digest of each base by tag; if two folders lock one, the program's counts."""
    found: dict[str, str] = {}
    for folder in reversed(library_folders.library_folders()):
        found |= read_digests(folder.locks / FILE)
    return found


def read_digests(path: Path) -> dict[str, str]:
    """A lock of base images; empty if there is none. Raises BuildError for a line that is no image by digest."""
    text = read_text(path, BuildError) if path.is_file() else ""
    found = {}
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            match = LINE.fullmatch(line.strip())
            if match is None:
                raise BuildError(
                    f"{path}: {line[:100]!r} is not an image with a digest.",
                    remedy="Remove that line, then run 'rosetta lock --bases'.",
                )
            found[match["name"]] = match["digest"]
    return found


def pinned(name: str) -> str:
    """Return a base as a Dockerfile names it: by tag, and by digest if that is locked."""
    digest = digests().get(name)
    return f"{name}@{digest}" if digest and "@" not in name else name
