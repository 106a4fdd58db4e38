"""Whether B takes longer than A, tested while rounds still come in: false alarms stay rare however often one looks.

Rounds come in blocks of four pairs, whose eight runs are in an order drawn at random. If A and B are equal, every order
of a block is equally likely to have given its times, whatever the noise looks like, drifts, or comes from: so the test
is exact by the draw alone (Fisher 1935; Edgington & Onghena, Randomization Tests). Times are logarithms of seconds.

- The test: times aligned by the median of their block, and by a drift that all blocks share; the sum of B's ranks,
  against all orders that might have been drawn (Hodges & Lehmann 1962).
- Looking often: each look has a share of the whole risk, and all shares together are one (alpha spending, Lan & DeMets
  1983, by Bonferroni's sum).
- Many cells: Holm (1979), so that the chance of any false alarm in the whole table is bounded, not of one per cell.

benchmarks/statistics shows how often it errs, and what it costs.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

from orchestrator.compare.noise import CONFIDENCE

PAIRS = 4
"""Rounds of each side in a block: the fewest that can tell anything."""

MOST_BLOCKS = 15
"""Most further blocks that the user is told it takes: sixty rounds; more would be no advice."""

RISK = 1 - CONFIDENCE
"""The chance that any cell of a table is called slower or faster though it is not."""

Order = tuple[bool, ...]
"""The runs of a block, in order: True is a run of B."""


def order(name: str, block: int) -> Order:
    """Draw the order of a block's eight runs at random, always the same for the same comparison."""
    drawn = random.Random(f"{name} {block}").sample(range(2 * PAIRS), PAIRS)  # a string seeds the same everywhere
    return tuple(place in drawn for place in range(2 * PAIRS))


@dataclass(frozen=True)
class Rounds:
    """The whole blocks of a cell so far: ``times`` of shape (blocks, 8) as logarithms, in the order of ``orders``."""

    times: Any
    orders: Sequence[Order]

    @property
    def blocks(self) -> int:
        """The number of blocks."""
        return len(self.orders)

    def first(self, blocks: int) -> "Rounds":
        """Return the blocks of an earlier look; of a later one, as if the same came again and again."""
        import numpy as np

        repeated = -(-blocks // self.blocks)
        return Rounds(np.tile(self.times, (repeated, 1))[:blocks], ((*self.orders,) * repeated)[:blocks])

    def ratio(self) -> float:
        """How many times as long B takes as A: the median over all pairs of a block, of all blocks."""
        import numpy as np

        aligned, ours = self.aligned(0.0), np.asarray(self.orders, bool)
        pairs = [np.subtract.outer(row[mine], row[~mine]).ravel() for row, mine in zip(aligned, ours, strict=True)]
        return float(np.exp(np.median(np.concatenate(pairs))))

    def aligned(self, shift: float) -> Any:
        """Return the times minus B's assumed ``shift``, the drift, and the median of each block."""
        import numpy as np

        times = self.times - shift * np.asarray(self.orders, float)
        place = np.arange(2 * PAIRS) - (2 * PAIRS - 1) / 2
        centred = times - times.mean(axis=1, keepdims=True)
        drift = (centred @ place).sum() / (len(times) * (place @ place))
        straight = times - drift * place
        return straight - np.median(straight, axis=1, keepdims=True)


def chances(rounds: Rounds, shift: float = 0.0) -> tuple[float, float]:
    """How often a random order would make B look at least as slow, and at least as fast, if it took ``shift`` longer.

    Exact: the distribution of the sum of ranks is that of each block, of 70 orders, convolved with all others.
    """
    import numpy as np

    aligned, ours = rounds.aligned(shift), np.asarray(rounds.orders, bool)
    ranks = np.empty(aligned.size, np.int64)
    ranks[np.argsort(aligned, axis=None, kind="stable")] = np.arange(aligned.size)
    ranks = ranks.reshape(aligned.shape)
    sums = ranks[:, arrangements()].sum(axis=2)
    least, counts = sums.min(axis=1), np.ones(1)
    for row, smallest in zip(sums, least, strict=True):
        counts = np.convolve(counts, np.bincount(row - smallest))
    place = int(ranks[ours].sum() - least.sum())
    total = counts.sum()
    return float(counts[place:].sum() / total), float(counts[: place + 1].sum() / total)


@lru_cache(maxsize=1)
def arrangements() -> Any:
    """The 70 choices of four of eight places, (70, 4)."""
    import numpy as np

    return np.array(list(combinations(range(2 * PAIRS), PAIRS)))


@lru_cache(maxsize=256)
def shares(cells: int) -> tuple[float, ...]:
    """Return the part of the risk that each look may spend if so many cells are compared; together they are one.

    A part is 0 if even runs as different as can be would tell nothing. The first that can tell anything has a third,
    or as much more as it needs, the second two thirds of what is left, each later one half of what is left: most is
    spent up to three times the rounds of a plain table, and something is left for as long as one likes.
    """
    first = next(look for look in range(1, MOST_BLOCKS) if least_share(cells, look) <= LARGEST_FIRST)
    spent = max(1 / 3, least_share(cells, first))
    found, left = [*[0.0] * (first - 1), spent], 1 - spent
    found.append(left * 2 / 3)
    left /= 3
    while len(found) < 4 * MOST_BLOCKS:
        left /= 2
        found.append(left)
    return tuple(found)


LARGEST_FIRST = 0.6
"""The largest part of the risk that a first look may spend: that of a single cell after four rounds needs 0.57."""


def least_share(cells: int, look: int) -> float:
    """Return the least part of the risk with which a look can tell anything about one of so many cells."""
    return float(2 * cells / len(arrangements()) ** look / RISK)


# --- What a cell's rounds say -----------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Evidence:
    """What the looks at a cell have told so far, before it is judged among the others.

    ``different`` is the chance that counts against "A and B are equal", ``bounded`` that against "they differ by more
    than the limit", each the smallest of all looks after it was divided by the look's share. Both are 1 at first.
    """

    different: float = 1.0
    bounded: float = 1.0
    slower: bool = False


def evidence(rounds: Rounds, cells: int, limit: float) -> Evidence:
    """Return the evidence of all looks so far at one of so many cells; ``limit`` is a difference in logarithms."""
    found = Evidence()
    for look, share in enumerate(shares(cells)[: rounds.blocks], 1):
        if share:
            found = looked(found, rounds.first(look), share, limit)
    return found


def looked(before: Evidence, rounds: Rounds, share: float, limit: float) -> Evidence:
    """Return the evidence after one more look, with its share of the risk."""
    longer, shorter = chances(rounds)
    different = 2 * min(longer, shorter) / share
    within = max(chances(rounds, limit)[1], chances(rounds, -limit)[0]) / share
    slower = longer < shorter if different < before.different else before.slower
    return Evidence(min(different, before.different), min(within, before.bounded), slower)


def interval(rounds: Rounds, cells: int) -> tuple[float, float] | None:
    """Return the interval of B's time over A's, valid after every look; None if nothing can be told yet.

    The test inverted: the shifts that it does not reject at the last look (repeated confidence intervals, Jennison
    & Turnbull 1989), for this cell alone.
    """
    import numpy as np

    share = shares(cells)[rounds.blocks - 1] if rounds.blocks else 0.0
    if least_share(1, rounds.blocks) > share:
        return None
    centre = float(np.log(rounds.ratio()))
    reach = float(np.ptp(rounds.times, axis=1).max()) + 1e-9
    ends = [end(rounds, centre, centre + side * 2 * reach, share, side) for side in (-1, 1)]
    return float(np.exp(ends[0])), float(np.exp(ends[1]))


def end(rounds: Rounds, inside: float, outside: float, share: float, side: int) -> float:
    """Return where the test begins to reject a shift, by bisection."""
    for _ in range(24):
        middle = (inside + outside) / 2
        longer, shorter = chances(rounds, middle)
        refused = 2 * (shorter if side > 0 else longer) / share <= RISK
        inside, outside = (inside, middle) if refused else (middle, outside)
    return outside


# --- Of a whole table -------------------------------------------------------------------------------------------------
def known(chances: Sequence[float]) -> list[bool]:
    """Return which hypotheses are rejected, so that all rejections together are right with ``CONFIDENCE``.

    Holm 1979: the smallest against the risk of all, the next against that of all but one, and so on.
    """
    found = [False] * len(chances)
    for behind, place in enumerate(sorted(range(len(chances)), key=lambda place: chances[place])):
        if chances[place] > (1 + 1e-9) * RISK / (len(chances) - behind):
            break
        found[place] = True
    return found


def blocks_needed(rounds: Rounds, cells: int, undecided: int, limit: float) -> int | None:
    """Return how many more blocks it takes if they are like those so far; None for more than ``MOST_BLOCKS``.

    ``undecided`` is the number of cells without a verdict: the others no longer count.
    """
    for look in range(rounds.blocks + 1, rounds.blocks + MOST_BLOCKS + 1):
        share = shares(cells)[look - 1]
        if share:
            then = looked(Evidence(), rounds.first(look), share, limit)
            if min(then.different, then.bounded) <= RISK / max(1, undecided):
                return look - rounds.blocks
    return None
