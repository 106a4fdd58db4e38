"""Comparisons for a person, on a screen and as Markdown: a line per cell, and below it what may be the reason."""

import html
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from orchestrator.compare.comparison import BAD, Compared, Verdict
from orchestrator.report.fields import duration
from orchestrator.report.markdown import escaped
from orchestrator.system.terminal import one_line, plain
from orchestrator.system.words import part_of

if TYPE_CHECKING:
    from rich.console import Console

NARROWEST = 76
"""Least width of the table in columns; a terminal that has fewer breaks its lines."""

COLOURS = {Verdict.FAST: "green", Verdict.FASTER: "green", Verdict.UNSURE: "yellow", Verdict.NONE: "bright_black"}


def show(every: Sequence[Compared], console: "Console") -> None:
    """Print what was compared, and then in few lines what was not, by reason."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, width=NARROWEST if console.width < NARROWEST else None)
    for heading, right in (("", False), ("here", True), ("baseline", True), ("ratio", True), ("verdict", False)):
        # the cell's id is what folds where the screen is too narrow
        made.add_column(
            heading, justify="right" if right else "left", no_wrap=bool(heading), overflow="fold", min_width=12
        )
    for one in every:
        if one.verdict is not Verdict.NONE:
            made.add_row(*map(Text, (name(one), *numbers(one))), Text(one.verdict, COLOURS.get(one.verdict, "red")))
    if made.row_count:
        console.print(made, crop=False)
    for one in every:
        for reason in one.reasons[int(one.verdict is Verdict.NONE) :]:
            console.print(Text(f"{name(one)}: {plain(reason)}", style="dim"), soft_wrap=True)
    for reason, names in by_reason(one for one in every if one.verdict is Verdict.NONE).items():
        console.print(Text(f"not compared, {plain(reason)}: {', '.join(names)}", style="dim"), soft_wrap=True)
    sources = dict.fromkeys(plain(one.source) for one in every if one.source)
    for source in sources:
        console.print(Text(f"baseline: {source}", style="dim"), soft_wrap=True)


def as_markdown(every: Sequence[Compared], missing: Sequence[str] = ()) -> str:
    """The same as Markdown: the bad ones first, their reasons below the table, what was not compared folded.

    ``missing`` are cells that only the baseline has.
    """
    compared = sorted((one for one in every if one.verdict is not Verdict.NONE), key=lambda one: one.verdict not in BAD)
    bad = sum(one.verdict in BAD for one in compared)
    blocks = [f"**{part_of(bad, len(compared), 'cell', 'are')} slower, or failed.**"]
    if compared:
        lines = ["| cell | here | baseline | ratio | verdict |", "| --- | ---: | ---: | ---: | --- |"]
        for one in compared:
            verdict = f"**{one.verdict}**" if one.verdict in BAD else one.verdict
            lines.append(f"| {' | '.join(map(escaped, (name(one), *numbers(one))))} | {verdict} |")
        blocks.append("\n".join(lines))
    reasons = [f"- {escaped(f'{name(one)}: {plain(reason)}')}" for one in compared for reason in one.reasons]
    if reasons:
        blocks.append("\n".join(reasons))
    uncompared = by_reason(one for one in every if one.verdict is Verdict.NONE)
    for reason, names in {**uncompared, **({"only in the baseline": missing} if missing else {})}.items():
        blocks.append(f"<details><summary>Not compared: {html.escape(one_line(reason))}</summary>\n")
        blocks.append(escaped(", ".join(names)) + "\n\n</details>")
    return "\n\n".join(blocks) + "\n"


def name(one: Compared) -> str:
    """A cell, and what its id does not say."""
    several = f" × {one.n_gpus}" if one.n_gpus > 1 else ""
    data = "" if one.data == "real" else f" {one.data}"
    length = f" ({one.length})" if one.length else ""
    return f"{one_line(one.cell)}{several}{data}{length}"


def numbers(one: Compared) -> tuple[str, str, str]:
    """Time here, time of the baseline, ratio; each with its rounds or its interval."""
    if one.seconds is None or one.baseline is None or one.ratio is None:
        return "", "", ""
    low, high = one.interval or (None, None)
    between = "" if low is None else f" ({low:.2f}–{high:.2f})"
    return rounds(one.seconds, one.rounds), rounds(one.baseline, one.baseline_rounds), f"{one.ratio:.2f}{between}"


def rounds(seconds: float, count: int) -> str:
    """Format a time with the number of rounds that it is the median of."""
    return duration(seconds) + (f", n={count}" if count > 1 else "")


def by_reason(every: Iterable[Compared]) -> dict[str, list[str]]:
    """The names of cells by the first of their reasons."""
    found: dict[str, list[str]] = {}
    for one in every:
        found.setdefault(one.reasons[0], []).append(name(one))
    return found
