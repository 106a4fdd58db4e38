"""Types of options and arguments: click's own with plain messages, and what they let through refused."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import click

from orchestrator.errors import StorageError
from orchestrator.system.terminal import quoted
from orchestrator.system.text_files import refuse_other
from orchestrator.system.words import did_you_mean

NAME_ANOTHER = "Name another file."
MOST = 10**9


class Choice(click.Choice[str]):
    """One of some words; the message about another one names the nearest."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        """Return click's message, and which word was probably meant."""
        said = super().get_invalid_choice_message(value, ctx)
        return " ".join(filter(None, (said, did_you_mean(str(value), self.choices))))


class Whole(click.IntRange):
    """A whole number in a range; one above ``MOST`` is nowhere meant, and results have no room for it."""

    name = "whole number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number."""
        number = int(super().convert(value, param, ctx))
        if number > MOST:
            self.fail(f"{str(value)!r} is more than {MOST:,}.", param, ctx)
        return number


class Number(click.FloatRange):
    """A number in a range. Neither "nan" nor "inf" is one: comparisons with them would silently come out one way."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number; what is not finite is refused."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{str(value)!r} is not a finite number.", param, ctx)
        return number


class Duration(click.ParamType[float]):
    """An amount of time as people write it, in seconds: 90, 30m, 1h30m, 2 h, 1d; "none" is no limit."""

    name = "duration"
    UNITS: ClassVar = {"d": 86400.0, "h": 3600.0, "m": 60.0, "min": 60.0, "s": 1.0, "": 1.0}
    PART = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|min|m|s|$)")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds; zero, and what is no amount of time, is refused."""
        word = str(value).strip().lower()
        if word == "none":
            return math.inf
        seconds = sum(float(number) * self.UNITS[unit] for number, unit in self.PART.findall(word))
        if self.PART.sub("", word).strip() or not seconds:
            self.fail(f"{value!r} is not a duration: use 90s, 30m, 2h, 1d or none", param, ctx)
        return seconds


class Glob(click.ParamType[str]):
    """A pattern for cells."""

    name = "glob"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the pattern; an empty one, as an unset variable of a shell makes it, is refused."""
        if not str(value).strip():
            self.fail("the pattern is empty. Name cells, such as 'pytorch/rnn/*'; '*' is all of them.", param, ctx)
        return str(value)


class Columns(click.ParamType[Sequence[str]]):
    """Names of columns, separated by commas."""

    name = "columns"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Sequence[str]:
        """Return the names in this order; an unknown one is refused."""
        from orchestrator.report.costs import COSTS

        names = list(filter(None, (word.strip() for word in str(value).split(","))))
        for name in names:
            if name not in COSTS:
                near = did_you_mean(name, COSTS)
                self.fail(f"there is no column {name!r}. {near} Choose from {', '.join(COSTS)}.", param, ctx)
        return names


class OutputFile(click.Path):
    """A file to be written, with one of the suffixes if there are any.

    It is checked before anything is done, and anything but a regular file is left as it is. One that ``must_exist`` is
    read first, which says what is missing.
    """

    def __init__(self, *suffixes: str, why: str = "", must_exist: bool = False) -> None:
        super().__init__(path_type=Path, dir_okay=False, readable=False)
        self.suffixes, self.why, self.must_exist = suffixes, why, must_exist

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path; raises StorageError where nothing can be written."""
        path = Path(value)
        if self.suffixes and path.suffix.lower() not in self.suffixes:
            self.fail(f"'{path}' does not end in {' or '.join(self.suffixes)}. {self.why}".strip(), param, ctx)
        refuse_unwritable(path, self.must_exist)
        return path


def refuse_unwritable(path: Path, must_exist: bool = False) -> None:
    """Raise StorageError for an output that is no regular file, or whose folder is missing: it may be a slip."""
    refuse_other(path, NAME_ANOTHER)
    if not must_exist and not path.parent.is_dir():
        remedy = f"Make it, {quoted('mkdir', '-p', path.parent)}, or name another file."
        raise StorageError(f"{path} can't be written.", f"There is no folder {path.parent}.", remedy)
