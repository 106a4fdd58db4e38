"""Which libraries there are, in which versions: the tables of README.md and docs/platforms.md, made from images/."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path

from orchestrator.errors import RosettaError
from orchestrator.images.definitions import Framework, frameworks
from orchestrator.report.markdown import escaped, put_into, replaced
from orchestrator.system.checkout import ROOT
from orchestrator.system.gpus import PLATFORMS

BEGIN, END = "<!-- begin of versions, by 'rosetta images table --write' -->", "<!-- end of versions -->"


def tables() -> Mapping[str, str]:
    """The table of each document, as Markdown."""
    every = list(frameworks().values())
    return {"README.md": by_python(every), "docs/platforms.md": by_platform(every)}


def write(root: Path | None = ROOT) -> Iterator[tuple[str, bool]]:
    """Put the tables into a checkout's documents; yields each with whether that changed it. Raises ResultError."""
    for document, table in tables().items():
        yield document, put_into(place(root, document), table, BEGIN, END)


def check(root: Path | None = ROOT) -> None:
    """Raise RosettaError if a checkout's documents have other tables; ResultError if they have no place for them."""
    for document, table in tables().items():
        old, new = replaced(place(root, document), table, BEGIN, END)
        if old != new:
            why = "Its table of versions does not match images/."
            raise RosettaError(f"{document} is out of date.", why, "Run 'rosetta images table --write'.")


def place(root: Path | None, document: str) -> Path:
    """Return the path of a document; raises RosettaError if there is no checkout."""
    if root is None:
        raise RosettaError("An installed package has no documents.", remedy="Run it in a checkout.")
    return root / document


def by_python(frameworks: Sequence[Framework]) -> str:
    """Library and version, two columns for each version of Python, the newest first: the lines live side by side."""
    lines: dict[tuple[int, ...], list[tuple[str, str]]] = {}
    for framework in frameworks:
        platform = next((name for name in PLATFORMS if name in framework.platforms), None)
        if platform is not None:
            python = tuple(map(int, framework.platforms[platform].python.split(".")))
            for name, library in framework.libraries.items():
                lines.setdefault(python, []).append((library.title, framework.version(name, platform)))
    newest_first = sorted(lines, reverse=True)
    headings = [text for python in newest_first for text in (f"on Python {'.'.join(map(str, python))}", "version")]
    columns = [sorted(lines[python], key=lambda line: line[0].lower()) for python in newest_first]
    rows = zip_longest(*columns, fillvalue=("", ""))
    return as_table(headings, ([text for pair in row for text in pair] for row in rows))


def by_platform(frameworks: Sequence[Framework]) -> str:
    """Image × platform: the version of the package it is named after, – where there is none."""
    rows = [
        [
            ", ".join(library.title for library in framework.libraries.values()),
            *(framework.platforms[name].version if name in framework.platforms else "–" for name in PLATFORMS),
        ]
        for framework in sorted(frameworks, key=lambda framework: framework.framework)
    ]
    return as_table(["libraries of an image", *PLATFORMS], rows)


def as_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [headings, ["---"] * len(headings), *(map(escaped, row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
