"""The workload scripts as texts to be read: which there are, and the sections that all of them have."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.cell.parameters import parameters
from orchestrator.cell.scripts import scripts_of
from orchestrator.errors import MatrixError
from orchestrator.images.definitions import library_index
from orchestrator.system.library_folders import PROGRAM, SHARED, LibraryFolder, library_folders
from orchestrator.system.words import advice

HEADER = re.compile(r"^# --- (.+?) -+\n", re.MULTILINE)
LANGUAGES = {".py": "python", ".R": "r", ".jl": "julia"}
"""Languages by a script's suffix, as highlighters and notebooks name them."""


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
        """The whole text; raises MatrixError if it can't be read as UTF-8."""
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
    """Return a script's path within its library folder: ``workloads/cnn/pytorch.py``."""
    return path.relative_to(path.parents[2])


def name_of(path: Path) -> str:
    """Library and variant of a script as the matrix writes them: ``keras-tf``, ``cntk-highapi``."""
    return path.stem.replace("_", "-")


def library_of(path: Path) -> str | None:
    """The library of a script, the longest name that fits; None if images/ defines none."""
    fitting = [each for each in library_index() if f"{name_of(path)}-".startswith(f"{each}-")]
    return max(fitting, key=len, default=None)


def left_out() -> Iterator[str]:
    """Yield notes on files that nothing reads, since their name or place is not a known one."""
    for folder in library_folders():
        yield from unread(folder)
    scripts_without: dict[str, list[Path]] = defaultdict(list)
    for path in (path for workload in parameters() for path in scripts_of(workload)):
        if library_of(path) is None:
            scripts_without[name_of(path)].append(path)
    for name, (first, *others) in scripts_without.items():
        more = f" and {len(others)} more" if others else ""
        remedy = f"Define it in images/{name}.yaml; until then {'they are' if others else 'the script is'} left out."
        yield f"{named(first)}{more}: images/ defines no library {name}. {remedy}"


def unread(folder: LibraryFolder) -> Iterator[str]:
    """Yield notes on definitions with another suffix, and on folders of scripts that are named like no workload."""
    for path in sorted(folder.images.glob("*.yml")):
        yield f"{path}: not read. Rename it to {path.stem}.yaml"
    known = (*parameters(), *SHARED, "__pycache__")
    for path in sorted(folder.workloads.iterdir()) if folder.workloads.is_dir() else []:
        if path.is_dir() and path.name not in known and not path.name.startswith("."):
            remedy = advice(path.name, parameters())
            yield f"{path}: no workload has this name, so its scripts are left out. {remedy}"


def named(path: Path) -> Path:
    """Return a script's path for a note: in full if it lies in a folder of the user's own."""
    return place(path) if path.is_relative_to(PROGRAM.path) else path
