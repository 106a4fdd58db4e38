"""Which files of a results folder may be shared, by name, and how each is validated.

Names and content may come from anywhere: a name that is not listed here is never written, and a file is looked at
before it gets its name.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.cell import contract
from orchestrator.errors import ResultError
from orchestrator.results import checking
from orchestrator.results.files import read_results, table_of
from orchestrator.results.paths import CELLS, COMPARE, INCOMPATIBLE, LOG, MERGED, PARITY, PASSING, REPORTS, SUPERSEDED
from orchestrator.results.rows import row_by_hand

Check = Callable[[Path, re.Match[str]], None]
"""Raises ResultError unless the file at a path is what its matched name promises."""

MB = 2**20
WORD = r"[A-Za-z0-9_+=@,-][A-Za-z0-9_.+=@,-]{0,99}"
CELL = rf"(?:{PARITY}/)?{CELLS}/(?P<key>[0-9a-f]{{16}})/(?P<cell>{WORD}(?:/{WORD}){{2,7}})"


def is_result(path: Path, name: re.Match[str]) -> None:
    """A cell's file has one row, which is about that cell and has that key."""
    if read_results(path).select(["key", "cell"]).to_pylist() != [name.groupdict()]:
        raise ResultError(f"{path} does not hold the result that its name says.")


def is_table(path: Path, name: re.Match[str]) -> None:
    """A table has rows of the schema."""
    read_results(path)


def is_document(path: Path, name: re.Match[str]) -> None:
    """A document is what a container run by hand has left."""
    row = row_by_hand(path)
    if said := checking.wrong(row):
        raise ResultError(f"{path} is refused: {said}.")
    table_of([row], path)


def is_text(path: Path, name: re.Match[str]) -> None:
    """Text for people may be anything."""


@dataclass(frozen=True)
class Kind:
    """A kind of file: its ``names``, its ``largest`` size in bytes, and the ``check`` of its content."""

    names: str
    largest: int
    check: Check


KINDS = (
    Kind(rf"{CELL}\.parquet(?<!{re.escape(PASSING)})", 16 * MB, is_result),
    Kind(rf"{CELL}{re.escape(LOG)}", 64 * MB, is_text),
    Kind(rf"(?:{PARITY}/)?{Path(INCOMPATIBLE).stem}-[0-9a-f]{{12}}\.parquet", 64 * MB, is_table),
    Kind(rf"(?:by-hand/{WORD}/)?{WORD}\.json", contract.LARGEST_DOCUMENT, is_document),
    Kind(rf"{REPORTS}(?:/{WORD}){{1,8}}", 512 * MB, is_text),
)

PRIVATE = r"(?:.*/)?(?:{}|{}|.*{})|.*{}|{}/.*".format(
    *map(re.escape, (MERGED, INCOMPATIBLE, PASSING, SUPERSEDED, COMPARE))
)
"""Files that are not shared: made from the rest, no result yet, no result any more, or one of a comparison."""


def kind_of(name: str) -> Kind | None:
    """Return the kind of a file by its name, or None if such files are not shared."""
    return next((kind for kind in KINDS if re.fullmatch(kind.names, name, re.A)), None)


def is_private(name: str) -> bool:
    """Whether a file of this name belongs to a results folder but is not shared."""
    return re.fullmatch(PRIVATE, name) is not None


def check(path: Path, name: str) -> None:
    """Validate a file that is to get this name, as a merge would; raises ResultError, which uses that name."""
    kind = kind_of(name)
    match = re.fullmatch(kind.names, name, re.A) if kind else None
    try:
        if kind is None or match is None:
            raise ResultError(f"{path} is not the name of a result.")
        if path.stat().st_size > kind.largest:
            raise ResultError(f"{path} is larger than the {kind.largest:,} bytes it may have.")
        kind.check(path, match)
    except ResultError as error:
        raise ResultError(*(text.replace(str(path), name) for text in (error.what, error.why))) from None
