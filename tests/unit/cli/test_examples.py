"""What the documents and --help tell a reader to type selects cells."""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from orchestrator.cell.cell import Cell
from orchestrator.cli.main import main
from orchestrator.plan.combinations import cells_of_file
from orchestrator.plan.selection import known_words, select
from orchestrator.system.checkout import ROOT

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

COMMAND = re.compile(r"\brosetta ([^`\n]*?--only [^`\n]*?)(?:  *#.*)?$", re.M)
WORD = re.compile(r"--(only|skip|profile) (?:'([^']+)'|([\w/.*{},-]+))")

CARDS = ("a100", "rtx-4090")
"""What is here, for examples that name a card which no profile does."""

OF_OTHERS = ("mylib", "tinygrad")
"""Libraries of a reader's own."""

Example = tuple[str, tuple[str, ...], tuple[str, ...]]
"""A profile, and what --only and --skip say."""


def helped(command: click.Command) -> Iterator[str]:
    """The help of a command and of all below it."""
    yield command.help or ""
    for each in getattr(command, "commands", {}).values():
        yield from helped(each)


def examples() -> Iterator[Example]:
    """Yield what each command in documents and help selects, libraries of a reader's own aside."""
    for text in [*(path.read_text() for path in DOCUMENTS), *helped(main)]:
        for line in COMMAND.findall(text):
            found: dict[str, list[str]] = {"only": [], "skip": [], "profile": []}
            for option, quoted, plain in WORD.findall(line):
                found[option].append(quoted or plain)
            if found["only"] and not found["only"][0].startswith(OF_OTHERS):
                yield (found["profile"] or ["full"])[0], tuple(found["only"]), tuple(found["skip"])


@cache
def cells(profile: str) -> list[Cell]:
    """The cells of a profile, on a machine with these cards."""
    return cells_of_file(Path(ROOT) / "matrix.yaml", profile, known_words(), {"repeat": [0, 7]}, lambda: CARDS)


EXAMPLES = sorted(set(examples()))


def test_the_examples_are_found():
    assert len(EXAMPLES) > 25


@pytest.mark.parametrize(("profile", "only", "skip"), EXAMPLES)
def test_an_example_selects_cells(profile, only, skip):
    assert select(cells(profile), only, skip)
