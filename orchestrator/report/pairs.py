"""Comparisons by interleaved rounds for a person: a line per cell, and below it what disturbed its runs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.compare.pairs import Clock, Found, Verdict
from orchestrator.report.fields import duration
from orchestrator.system.terminal import plain

if TYPE_CHECKING:
    from rich.console import Console

COLOURS = {Verdict.FASTER: "green", Verdict.SAME: "green", Verdict.UNSURE: "yellow"}
CLOCKS = {Clock.WALL: "", Clock.PROCESSOR: ", by processor time"}


def show(every: Sequence[Found], names: tuple[str, str], console: "Console") -> None:
    """Print all of a table, and what a person should know of the runs."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "A", "B", "B ÷ A", "wall", "processor", "rounds", "B is"):
        made.add_column(heading, justify="left" if heading in ("", "B is") else "right", overflow="fold")
    for one in every:
        said = Text(f"{one.said}{CLOCKS[one.clock]}", COLOURS.get(one.verdict, "red"))
        made.add_row(*map(Text, (plain(one.name), *numbers(one), str(one.rounds))), said)
    console.print(made)
    for one in every:
        for reason in one.reasons:
            console.print(Text(f"{plain(one.name)}: {plain(reason)}", style="dim"), soft_wrap=True)
    for letter, name in zip("AB", names, strict=True):
        console.print(Text(f"{letter}: {plain(name)}", style="dim"), soft_wrap=True)


def numbers(one: Found) -> tuple[str, ...]:
    """Times of A and B, their ratio with its interval, and the ratio by each clock; empty where nothing is known."""
    if one.seconds is None or one.ratio is None:
        return ("",) * 5
    low, high = one.interval or (None, None)
    between = "" if low is None else f" ({low:.2f}–{high:.2f})"
    ratios = one.ratios or {}
    each = [f"{ratios[clock]:.3f}" if clock in ratios else "" for clock in Clock]
    return (*map(duration, one.seconds), f"{one.ratio:.3f}{between}", *each)
