"""The workload scripts as texts to be read: which there are, and the sections that all of them have."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.cell.parameters import WORKLOADS
from orchestrator.images.definitions import library_index

HEADER = re.compile(r"^# --- (.+?) -+\n", re.MULTILINE)
LANGUAGES = {".py": "python", ".R": "r", ".jl": "julia"}
"""By the suffix of a script, as highlighters and notebooks call them."""


@dataclass(frozen=True)
class Section:
    """A part of a script: its heading, empty for what stands before the first, and its lines."""

    title: str
    code: str


@dataclass(frozen=True)
class Script:
    """What a library runs for a workload."""

    library: str
    workload: str
    variant: str
    path: Path

    @property
    def language(self) -> str:
        """The name of its language."""
        return LANGUAGES[self.path.suffix]

    @property
    def summary(self) -> str:
        """Its first line, without the signs of a comment: "CNN on CIFAR-10 in PyTorch."."""
        return self.path.read_text().split("\n", 1)[0].strip('"# ')

    def sections(self) -> Sequence[Section]:
        """Its sections in their order, the first without a heading."""
        start, *rest = HEADER.split(self.path.read_text())
        pairs = zip(rest[::2], rest[1::2], strict=True)
        return [Section("", start.strip("\n")), *(Section(title, code.strip("\n")) for title, code in pairs)]


def scripts(workload: str) -> Iterator[Script]:
    """Every script of a workload, by library and variant."""
    libraries = sorted(library_index(), key=len, reverse=True)
    for path in sorted((WORKLOADS / workload).iterdir()):
        if path.suffix not in LANGUAGES:
            continue
        name = path.stem.replace("_", "-")
        library = next(each for each in libraries if f"{name}-".startswith(f"{each}-"))
        yield Script(library, workload, name.removeprefix(library).lstrip("-") or "reference", path)
