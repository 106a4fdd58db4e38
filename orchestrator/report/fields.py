"""Rows → fields of a table: a time, its quality, and marks for what makes it doubtful."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.cell.contract import Status
from orchestrator.compare.engines import ran_bare
from orchestrator.compare.noise import Doubt, agree, doubts
from orchestrator.compare.published_2018 import Figure
from orchestrator.report.rows import contest_of, distance, started
from orchestrator.results.rows import Row

SHORT, BARE, BAD, ABSENT, NOTED = "†", "‡", "✗", "–", "·"
SLOWED, SHARED, UNSTEADY, BUSY, IDLE, UNPROVED, DOUBTED = "§", "‖", "≈", "#", "¶", "°", "?"
MARKS = {
    Doubt.SHORTENED: SHORT,
    Doubt.SYNTHETIC: SHORT,
    Doubt.THROTTLED: SLOWED,
    Doubt.SHARED: SHARED,
    Doubt.NOISY: UNSTEADY,
    Doubt.LOADED: BUSY,
    Doubt.CORES: IDLE,
    Doubt.UNPROVED: UNPROVED,
}

COMPILES = 0.2
"""The share of the time from which compilation counts as a good part, and times without it are ranked: a table of 2018
had one library compile inside its clock and another outside, a difference of 100 s in 300, and called it speed."""


@dataclass(frozen=True)
class Entry:
    """One field of a table: a time (or a word instead) and its quality, marks, and the spread over repeats below.

    ``seconds`` is None where the field has no time; ``length`` says how much was trained on, ``amount`` in short.
    ``rounds`` are the times to rank by, none where it is not ranked; ``runs`` are those behind it, the newest last.
    ``warm`` are the times of the rounds without what only the first step costs, where all tell; ``compiles`` says that
    this was a good part. Only fields of one ``contest`` are ranked. Where the field has no time but another number,
    ``value`` is it, in ``unit``.
    """

    time: str = ""
    quality: str = ""
    marks: str = ""
    spread: str = ""
    status: str = ""
    seconds: float | None = None
    length: str = ""
    amount: str = ""
    rounds: tuple[float, ...] = ()
    runs: tuple[str, ...] = ()
    fastest: bool = False
    warm: tuple[float, ...] = ()
    compiles: bool = False
    contest: tuple[str, ...] = ()
    value: float | None = None
    unit: str = ""


def entry(rows: Sequence[Row], incompatible: bool) -> Entry:
    """A field: the median over repeats of one program and length, the most complete one that was run.

    The last run decides which; one that failed so early that it knows neither its library's version nor its card does
    not.
    """
    if not rows:
        return Entry(ABSENT, status=Status.INCOMPATIBLE) if incompatible else Entry()
    nearest = min(distance(row) for row in rows)
    rows = [row for row in rows if distance(row) == nearest]
    last = max([row for row in rows if any(row[name] is not None for name in SAME)] or rows, key=started)
    rows = [row for row in rows if (row["epochs"], row["samples"]) == (last["epochs"], last["samples"])]
    rows = [row for row in rows if agree(row, last, SAME)]
    good = [row for row in rows if row["status"] == Status.OK]
    if not good:
        return Entry(word(last["status"]), status=Status.FAILED, runs=(last["run"],))
    seconds = [row["seconds"] for row in good]
    found = doubts(good)
    bare = BARE if any(map(ran_bare, good)) else ""
    warm = [row["seconds_warm"] for row in good if row["seconds_warm"] is not None]
    compiles = nearest == 0 and len(warm) == len(good) and first_cost(seconds, warm) > COMPILES
    below = [spread(seconds, len(rows))] if len(rows) > 1 else []
    below += [f"{duration(statistics.median(warm))} warm"] if compiles else []
    return Entry(
        duration(statistics.median(seconds)),
        share(statistics.median(row["quality"] for row in good)),
        "".join(dict.fromkeys(MARKS[doubt] for doubt in found)) + bare,
        ", ".join(below),
        Status.OK,
        statistics.median(seconds),
        length(last),
        f"{last['epochs']} × {last['samples']:,}" if last["epochs"] and last["samples"] else "",
        () if found else tuple(seconds),
        tuple(row["run"] for row in sorted(good, key=started)),
        warm=tuple(warm) if len(warm) == len(good) and not found else (),
        compiles=compiles,
        contest=contest_of(last),
    )


SAME = ("framework_version", "threads", "gpu_name", "input")
"""What rounds of one field have in common; the image may be another, say for a later check in the harness."""


def first_cost(seconds: Sequence[float], warm: Sequence[float]) -> float:
    """Return the share of the time that only the first step cost, above all compilation."""
    return 1 - statistics.median(warm) / statistics.median(seconds)


def figure_entry(figure: Figure | None, unknown: str = "") -> Entry:
    """A field of 2018: a single unseeded run, so never ranked."""
    if figure is None:
        return Entry(unknown)
    quality = "" if figure.quality is None else share(figure.quality)
    return Entry(figure.shown, quality, DOUBTED if figure.doubt else "", seconds=figure.seconds)


def length(row: Row) -> str:
    """How much was trained on: "2 epochs of 1,280 synthetic samples"."""
    epochs, samples = row["epochs"], row["samples"]
    kind = "samples" if row["data"] == "real" else f"{row['data']} samples"
    amount = f"{samples:,} {kind}" if samples is not None else kind
    return f"{epochs} epoch{'s' if epochs != 1 else ''} of {amount}" if epochs is not None else amount


def word(status: str) -> str:
    """A status instead of a time."""
    return "failed" if status == Status.FAILED else f"failed: {status.replace('_', ' ')}"


def spread(seconds: Sequence[float], runs: int) -> str:
    """The second line of a field: "28–31 s, n=3", or "n=2 of 3" where one has failed."""
    low, high = duration(min(seconds)), duration(max(seconds))
    of = f"n={len(seconds)}" + (f" of {runs}" if len(seconds) < runs else "")
    return f"{low.removesuffix(' s')}–{high}, {of}" if low != high else of


def duration(seconds: float) -> str:
    """Format seconds with at least two digits."""
    digits = 0 if seconds >= 9.95 else 1 if seconds >= 0.995 else 2
    return f"{seconds:,.{digits}f} s"


def share(value: float) -> str:
    """Format a share as the literature does: .857."""
    return f"{value:.3f}".removeprefix("0")
