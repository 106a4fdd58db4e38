"""Whether one series of rounds is faster than another, and how surely: no verdict without evidence.

Nothing here takes noise to be of some shape, except against a single published figure. benchmarks/statistics shows
how often it errs. All times in seconds.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from orchestrator.compare.noise import CONFIDENCE, ENOUGH

if TYPE_CHECKING:
    from orchestrator.compare.noise import Numbers

LARGEST_EXACT = 25
"""Most values per side for which the rank test counts every arrangement; beyond, the normal law is as good."""

DRIFTING = 0.05
"""The largest p at which a rise or fall from round to round counts as drift, not chance."""

SUSPECTED = 0.2
"""The same for one that would explain a difference: it has its sign, and what is judged ran later."""

MOST_ROUNDS = 60
"""Most rounds that the user is told a question takes; more would be no advice."""


@dataclass(frozen=True)
class Comparison:
    """Whether A is faster than B, by the Mann-Whitney test on ranks.

    ``u`` counts the pairs in which A took longer, half for a tie. ``p`` is two-sided: how often equal libraries would
    look at least as different. ``effect`` is the chance that a run of A takes less time than one of B: 1 always, 0.5 no
    difference, 0 never.
    """

    u: float
    p: float
    effect: float

    @property
    def verdict(self) -> str:
        """What may be said of A: ``faster``, ``slower``, or ``undecided``."""
        if self.p > 1 - CONFIDENCE:
            return "undecided"
        return "faster" if self.effect > 0.5 else "slower"


def compare(a: "Numbers", b: "Numbers") -> Comparison:
    """Is A faster than B? Raises ValueError if one has no values.

    Exact for few values without ties, else by the normal law with corrections for ties and for continuity. With fewer
    than ``ENOUGH`` values on each side no difference can be significant, however large.
    """
    import numpy as np

    if not len(a) or not len(b):
        raise ValueError("no values")
    difference = np.subtract.outer(np.asarray(a, float), np.asarray(b, float))
    u = float((difference > 0).sum() + (difference == 0).sum() / 2)
    pooled = np.concatenate([a, b])
    counts = np.unique(pooled, return_counts=True)[1]
    few = max(len(a), len(b)) <= LARGEST_EXACT and len(counts) == len(pooled)
    p = exact_p(u, len(a), len(b)) if few else normal_p(u, len(a), len(b), counts)
    return Comparison(u, p, 1 - u / difference.size)


def exact_p(u: float, n: int, m: int) -> float:
    """The share of all arrangements of n and m values without ties that lie at least as far from the middle as U."""
    counts = arrangements(n, m)
    tail = counts[: int(min(u, n * m - u)) + 1].sum() / counts.sum()
    return float(min(1.0, 2 * tail))


@lru_cache(maxsize=256)
def arrangements(n: int, m: int) -> Any:
    """Count the orders of n and m values by U, 0 to n·m: the coefficients of the Gaussian binomial (n+m over n)."""
    import numpy as np

    counts = np.zeros(n * m + 1, np.int64)
    counts[0] = 1
    for i in range(1, n + 1):
        counts[m + i :] -= counts[: -(m + i)].copy()  # times 1 - x^(m+i)
        for start in range(min(i, len(counts))):
            counts[start::i] = np.cumsum(counts[start::i])  # divided by 1 - x^i
    return counts


def normal_p(u: float, n: int, m: int, counts: "Numbers") -> float:
    """Return the same p by the normal law; ``counts`` says how often each value occurs among all n + m."""
    import numpy as np

    total, ties = n + m, np.asarray(counts, float)
    variance = n * m / 12 * (total + 1 - float((ties**3 - ties).sum()) / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    z = max(0.0, abs(u - n * m / 2) - 0.5) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2))


def ratio_interval(a: "Numbers", b: "Numbers") -> tuple[float, float] | None:
    """Return the ``CONFIDENCE`` interval of A's time over B's; None for fewer than the four rounds it takes.

    The rank test inverted: the factors by which B can be stretched so that the test finds no difference, found
    among the ratios of all pairs (Hodges & Lehmann 1963).
    """
    import numpy as np

    counts = arrangements(len(a), len(b)) if max(len(a), len(b)) <= LARGEST_EXACT else None
    rank = rank_by_count(counts) if counts is not None else rank_by_normal_law(len(a), len(b))
    if not rank:
        return None
    ratios = np.sort(np.divide.outer(np.asarray(a, float), np.asarray(b, float)), axis=None)
    return float(ratios[rank - 1]), float(ratios[-rank])


def rank_by_count(counts: Any) -> int:
    """Return how many values of U each tail may have for both tails together to be rarer than 1 - ``CONFIDENCE``."""
    import numpy as np

    return int(np.searchsorted(2 * np.cumsum(counts) / counts.sum(), 1 - CONFIDENCE, side="right"))


def rank_by_normal_law(n: int, m: int) -> int:
    """Return the same for many values, by the normal law."""
    deviation = math.sqrt(n * m * (n + m + 1) / 12)
    return max(0, int(n * m / 2 - NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * deviation))


# --- Many comparisons -------------------------------------------------------------------------------------------------
def adjusted(chances: Sequence[float]) -> list[float]:
    """Return the p values of many comparisons adjusted for one another, in their order (Benjamini & Hochberg 1995).

    Where those up to 1 - ``CONFIDENCE`` are called different, no more than that share of the calls is false on average;
    where all are equal, no more than that share of such tables has a false call.
    """
    order = sorted(range(len(chances)), key=lambda place: chances[place], reverse=True)
    found, least = [1.0] * len(chances), 1.0
    for place, rank in zip(order, range(len(chances), 0, -1), strict=True):
        least = min(least, chances[place] * len(chances) / rank)
        found[place] = least
    return found


def rounds_for(comparisons: int) -> int:
    """Return the fewest rounds per side with which one difference can show among so many comparisons."""
    return next(
        (n for n in range(ENOUGH, MOST_ROUNDS) if 2 / math.comb(2 * n, n) <= (1 - CONFIDENCE) / max(1, comparisons)),
        MOST_ROUNDS,
    )


# --- Drift ------------------------------------------------------------------------------------------------------------
def drift(series: Sequence["Numbers"], toward: float = 0.0) -> float | None:
    """Return by what share times change from round to round if all series together show it, else None.

    Each in the order in which it was run. A change of the sign of ``toward`` is suspected sooner. Kendall's test for a
    trend, of all series together and exact (Mann 1945); then the median of the slopes of all pairs (Theil 1950, Sen
    1968).
    """
    import numpy as np

    slopes = [
        math.log(later / earlier) / (j - i)
        for rounds in series
        for (i, earlier), (j, later) in itertools.combinations(enumerate(rounds), 2)
    ]
    score = int(np.sign(slopes).sum()) if slopes else 0
    counts = falling_pairs(tuple(len(rounds) for rounds in series))
    tail = counts[: (len(slopes) - abs(score)) // 2 + 1].sum()
    level = SUSPECTED if score * toward > 0 else DRIFTING
    return math.expm1(float(np.median(slopes))) if slopes and 2 * tail <= level else None


@lru_cache(maxsize=256)
def falling_pairs(lengths: tuple[int, ...]) -> Any:
    """Return the chances that 0, 1, 2, … pairs of rounds fall, in series of these lengths without a trend."""
    import numpy as np

    chances = np.ones(1)
    for length in lengths:
        for places in range(2, length + 1):  # the next round falls behind none of those before it, or one, or two, …
            chances = np.convolve(chances, np.full(places, 1 / places))
    return chances


# --- Against one figure -----------------------------------------------------------------------------------------------
def against_figure(rounds: "Numbers", figure: float) -> tuple[float, tuple[float, float]]:
    """Return p and the interval of the ratio for some rounds against somebody else's single time.

    That time is taken to be as noisy as the rounds, and the noise to be log-normal: Student's test for one further
    value. At least two rounds.
    """
    import numpy as np

    logs = np.log(np.asarray(rounds, float))
    centre, error = float(logs.mean()), float(logs.std(ddof=1)) * math.sqrt(1 + 1 / len(logs))
    distance = centre - math.log(figure)
    reach = student_limit(len(logs) - 1) * error
    p = student_p(distance / error, len(logs) - 1) if error else float(distance == 0)
    return p, (math.exp(distance - reach), math.exp(distance + reach))


def student_p(t: float, freedom: int) -> float:
    """Return how often Student's t lies further from 0 than ``t`` (Abramowitz & Stegun 26.7.3 and 26.7.4)."""
    angle = math.atan(abs(t) / math.sqrt(freedom))
    odd = freedom % 2
    term, total = (math.cos(angle), 0.0) if odd else (1.0, 0.0)
    for step in range(2 + odd, freedom + 1, 2):
        total += term
        term *= math.cos(angle) ** 2 * (step - 1) / step
    within = 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
    return max(0.0, 1 - within)


@lru_cache(maxsize=256)
def student_limit(freedom: int) -> float:
    """Return the limit within which t lies with ``CONFIDENCE``, by bisection."""
    low, high = 0.0, 1000.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if student_p(middle, freedom) > 1 - CONFIDENCE else (low, middle)
    return high
