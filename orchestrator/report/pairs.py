"""Comparisons by interleaved rounds for a person: a line per cell, and below it what disturbed its runs."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from orchestrator.compare.pairs import Clock, Found, Verdict
from orchestrator.report.fields import duration
from orchestrator.system.terminal import plain

if TYPE_CHECKING:
    from rich.console import Console

COLOURS = {Verdict.FASTER: "green", Verdict.SAME: "green", Verdict.UNSURE: "yellow"}
CLOCKS = {Clock.WALL: "by the clock", Clock.PROCESSOR: "by processor time"}


def show(every: Sequence[Found], names: tuple[str, str], console: "Console") -> None:
    """Print the whole table, and what a person should know about the runs."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "A", "B", "B ÷ A", "rounds", "B is"):
        words = heading in ("", "B is")  # which fold where the screen is too narrow
        made.add_column(heading, justify="left" if words else "right", no_wrap=not words, overflow="fold", min_width=9)
    for one in every:
        said = Text(one.said, COLOURS.get(one.verdict, "red"))
        made.add_row(*map(Text, (plain(one.name), *numbers(one), str(one.rounds))), said)
    console.print(made)
    for one in every:
        for reason in (*clocks(one), *one.reasons):
            console.print(Text(f"{plain(one.name)}: {plain(reason)}", style="dim"), soft_wrap=True)
    for letter, name in zip("AB", names, strict=True):
        console.print(Text(f"{letter}: {plain(name)}", style="dim"), soft_wrap=True)


def numbers(one: Found) -> tuple[str, ...]:
    """Times of A and B, and their ratio with its interval; empty where nothing is known."""
    if one.seconds is None or one.ratio is None:
        return ("",) * 3
    low, high = one.interval or (None, None)
    between = "" if low is None else f" ({low:.2f}–{high:.2f})"
    return (*map(duration, one.seconds), f"{one.ratio:.3f}{between}")


def clocks(one: Found) -> Iterator[str]:
    """Yield a note if processor time is compared, and B ÷ A by the other clock."""
    other = [clock for clock in one.ratios or {} if clock != one.clock]
    if one.clock is Clock.PROCESSOR:
        yield "compared by processor time, which other work on the machine changes least"
    for clock in other:
        yield f"{CLOCKS[Clock(clock)]} B ÷ A is {(one.ratios or {})[clock]:.3f}"
