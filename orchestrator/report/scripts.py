"""The workload scripts as texts to be read: which there are, and the sections that all of them have."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.cell.parameters import parameters
from orchestrator.cell.scripts import scripts_of
from orchestrator.errors import MatrixError
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
    def text(self) -> str:
        """All of it; raises MatrixError if it is no text."""
        try:
            return self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise MatrixError(f"{self.path} can't be read as text in UTF-8.", f"{error}.") from None

    @property
    def summary(self) -> str:
        """Its first line, without the signs of a comment: "CNN on CIFAR-10 in PyTorch."."""
        return self.text.split("\n", 1)[0].strip('"# ')

    def sections(self) -> Sequence[Section]:
        """Its sections in their order, the first without a heading."""
        start, *rest = HEADER.split(self.text)
        pairs = zip(rest[::2], rest[1::2], strict=True)
        return [Section("", start.strip("\n")), *(Section(title, code.strip("\n")) for title, code in pairs)]


def scripts(workload: str) -> Iterator[Script]:
    """Every script of a workload whose library images/ defines, by library and variant."""
    for path in scripts_of(workload):
        library = library_of(path)
        if library is not None:
            variant = name_of(path).removeprefix(library).lstrip("-")
            yield Script(library, workload, variant or "reference", path)


def place(path: Path) -> Path:
    """A script as it is called from its own folder: ``workloads/cnn/pytorch.py``."""
    return path.relative_to(path.parents[2])


def name_of(path: Path) -> str:
    """Library and variant of a script as the matrix writes them: ``keras-tf``, ``cntk-highapi``."""
    return path.stem.replace("_", "-")


def library_of(path: Path) -> str | None:
    """The library of a script, the longest name that fits; None if images/ defines none."""
    fitting = [each for each in library_index() if f"{name_of(path)}-".startswith(f"{each}-")]
    return max(fitting, key=len, default=None)


def orphans() -> Iterator[str]:
    """What is to be said of each script whose library no file of images/ defines."""
    for path in (path for workload in parameters() for path in scripts_of(workload)):
        if library_of(path) is None:
            remedy = f"Define it in images/{name_of(path)}.yaml; until then the script is left out."
            yield f"{place(path)}: images/ defines no library {name_of(path)}. {remedy}"
