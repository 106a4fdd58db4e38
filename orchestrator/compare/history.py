"""A measurement over months: what it was each day, and where it changed. Times in seconds.

A point is the median of a day's rounds: they share the state that the machine was in that day, and counted one by one
they would make steps of it. Where a series changes is found by splitting it, and its parts again, at the place where
the rank test tells the two sides apart most surely. Its chance counts once for each place that was tried, so that
noise of whatever shape makes a step in at most one of twenty pages.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from orchestrator.compare.evidence import compare
from orchestrator.compare.noise import CONFIDENCE, ENOUGH

Run = Mapping[str, Any]
"""A row of the schema."""

FIRST_DAY = "2015-01-01"
"""No library here ran before it: an earlier date is of a clock that was wrong, as one in the future is."""


def is_known(started: str | None) -> bool:
    """Whether it is known when a run began; ``started`` is text that begins with the date, as in ISO 8601."""
    return bool(started) and str(started)[: len(FIRST_DAY)] >= FIRST_DAY


@dataclass(frozen=True)
class Day:
    """The rounds of a day, the newest last, and the range and median of their times."""

    date: str
    runs: Sequence[Run]
    low: float
    median: float
    high: float


@dataclass(frozen=True)
class Step:
    """A change: the place of the first day after it, and the medians of what lies before and after, up to the next."""

    place: int
    before: float
    after: float

    @property
    def change(self) -> float:
        """How much longer it takes since then: 0.1 is a tenth more."""
        return self.after / self.before - 1


def days(runs: Sequence[tuple[str, float, Run]]) -> list[Day]:
    """Group (date, seconds, row) tuples, in the order in which the runs began, into one point per date."""
    found: Mapping[str, list[tuple[float, Run]]] = defaultdict(list)
    for date, seconds, run in runs:
        found[date].append((seconds, run))
    made = []
    for date, pairs in sorted(found.items()):
        times = [seconds for seconds, _ in pairs]
        made.append(Day(date, [run for _, run in pairs], min(times), statistics.median(times), max(times)))
    return made


def steps(values: Sequence[float], series: int = 1) -> list[Step]:
    """Return where values change for good; ``series`` is how many series are examined together."""
    places = sorted(splits(values, 0, (1 - CONFIDENCE) / series))
    ends = [0, *places, len(values)]
    levels = [statistics.median(values[start:end]) for start, end in pairwise(ends)] if values else []
    return [Step(place, *pair) for place, pair in zip(places, pairwise(levels), strict=True)]


def splits(values: Sequence[float], offset: int, level: float) -> Iterator[int]:
    """The places at which a part of a series is split, and its parts in turn; none where no split is sure enough."""
    places = range(ENOUGH, len(values) - ENOUGH + 1)
    if not places:
        return
    chances = {place: compare(values[:place], values[place:]).p for place in places}
    best = min(places, key=chances.__getitem__)
    if chances[best] * len(places) > level:
        return
    yield offset + best
    yield from splits(values[:best], offset, level)
    yield from splits(values[best:], offset + best, level)
