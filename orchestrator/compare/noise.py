"""What rounds of a measurement say: median, spread, interval, whether one library is faster, and whether to rank it.

All times in seconds. Nothing here draws at random without a fixed seed: the same rows give the same figures.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from orchestrator.cell.workloads import ranks_synthetic

if TYPE_CHECKING:
    import numpy as np

    Numbers = Sequence[float] | np.ndarray[Any, np.dtype[Any]]

CONFIDENCE = 0.95
"""Of intervals; what is left of it is how often two equal libraries may be called different."""

RESAMPLES = 10_000
LARGEST_EXACT = 25
"""Values on each side up to which the rank test counts every arrangement; beyond, the normal law is as good."""

NOISY = 0.10
"""Relative spread from which on rounds are too far apart to rank."""

ENOUGH = 4
"""Rounds on each side from which on the rank test can tell two libraries apart."""


class Doubt(StrEnum):
    """Why a time is shown, but not ranked."""

    SYNTHETIC = "synthetic"
    SHORTENED = "shortened"
    THROTTLED = "throttled"
    SHARED = "shared"
    NOISY = "noisy"


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


def median(values: "Numbers") -> float:
    """The median; raises ValueError without values."""
    import numpy as np

    if not len(values):
        raise ValueError("no values")
    return float(np.median(values))


def spread(values: "Numbers") -> float | None:
    """How far apart the middle half of the values lies, as a share of the median; None for fewer than two.

    Quartiles, so that further rounds outvote one that was disturbed; the range would only ever grow.
    """
    import numpy as np

    if len(values) < 2:
        return None
    low, middle, high = np.percentile(values, (25, 50, 75))
    return float((high - low) / middle) if middle else None


def interval(values: "Numbers", seed: int = 0) -> tuple[float, float] | None:
    """Between which times the median lies with ``CONFIDENCE``, by bootstrap; None for fewer than two values."""
    return bounds(medians(values, seed)) if len(values) > 1 else None


def ratio_interval(a: "Numbers", b: "Numbers", seed: int = 0) -> tuple[float, float] | None:
    """The same for the median of A over that of B; a single value is taken as exact, two single ones give None."""
    if len(a) < 2 and len(b) < 2:
        return None
    return bounds(medians(a, seed) / medians(b, seed + 1))


def medians(values: "Numbers", seed: int) -> Any:
    """Medians of ``RESAMPLES`` samples drawn with replacement: (RESAMPLES,)."""
    import numpy as np

    drawn = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    return np.median(np.asarray(values)[drawn], axis=1)


def bounds(resampled: Any) -> tuple[float, float]:
    """The interval that holds the middle ``CONFIDENCE`` of some figures."""
    import numpy as np

    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(resampled, (tail, 100 - tail))
    return float(low), float(high)


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


def arrangements(n: int, m: int) -> Any:
    """In how many orders of n and m values U is 0, 1, … n·m: the coefficients of the Gaussian binomial (n+m over n)."""
    import numpy as np

    counts = np.zeros(n * m + 1, np.int64)
    counts[0] = 1
    for i in range(1, n + 1):
        counts[m + i :] -= counts[: -(m + i)].copy()  # times 1 - x^(m+i)
        for start in range(min(i, len(counts))):
            counts[start::i] = np.cumsum(counts[start::i])  # divided by 1 - x^i
    return counts


def normal_p(u: float, n: int, m: int, counts: "Numbers") -> float:
    """The same by the normal law; ``counts`` says how often each value occurs among all n + m."""
    import math

    import numpy as np

    total, ties = n + m, np.asarray(counts, float)
    variance = n * m / 12 * (total + 1 - float((ties**3 - ties).sum()) / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    z = max(0.0, abs(u - n * m / 2) - 0.5) / math.sqrt(variance)
    return math.erfc(z / math.sqrt(2))


# --- Which rows are ranked ------------------------------------------------------------------------------------------
def doubts(rows: Sequence[Mapping[str, Any]]) -> tuple[Doubt, ...]:
    """Why the rounds of one field, rows of the schema, are not ranked; empty if they are.

    Synthetic data is a doubt except where it was published as a column of its own.
    """
    found = {
        Doubt.SYNTHETIC: any(row["data"] != "real" and not ranks_synthetic(row["workload"]) for row in rows),
        Doubt.SHORTENED: any(row["shortened"] for row in rows),
        Doubt.THROTTLED: any(slowed_by(row) for row in rows),
        Doubt.SHARED: any(row.get("gpu_others") for row in rows),
        Doubt.NOISY: (spread([row["seconds"] for row in rows if row["seconds"] is not None]) or 0) > NOISY,
    }
    return tuple(doubt for doubt, holds in found.items() if holds)


def slowed_by(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What made the GPUs of a run slower than they are, by their driver, at its start, middle or end: heat, power."""
    moments = ("gpus_before", "gpus_during", "gpus_after")
    states = [state for moment in moments for state in json.loads(row.get(moment) or "[]")]
    return tuple(sorted({reason for state in states for reason in state.get("throttled") or ()}))
