"""Comparisons by interleaved rounds: from the rows of both sides to a verdict for each cell of a table.

The tests are in ``sequential.py``; this module chooses the clock, words the verdict, and says why there is none yet.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from orchestrator.cell.contract import Status
from orchestrator.compare import sequential
from orchestrator.compare.causes import Row
from orchestrator.compare.noise import median, slowed_by, was_loaded
from orchestrator.compare.sequential import PAIRS, Evidence, Order, Rounds

BUSY = 0.25
"""The share of runs on an overloaded machine from which processor time counts, not the clock."""


class Verdict(StrEnum):
    """What came of a comparison of B with A."""

    FASTER = "faster"
    SLOWER = "slower"
    SAME = "no difference"
    UNSURE = "can't tell"
    FAILED = "failed"


BAD = (Verdict.SLOWER, Verdict.FAILED)
"""The verdicts that make a check fail."""


class Clock(StrEnum):
    """Which time is compared."""

    WALL = "wall"
    PROCESSOR = "processor"


@dataclass(frozen=True)
class Pairs:
    """A comparison as far as it has come: rows in the order in which they ran, and which of the runs were B's."""

    name: str
    rows: Sequence[Row] = ()
    orders: Sequence[Order] = ()

    @property
    def blocks(self) -> int:
        """The number of whole blocks."""
        return len(self.rows) // (2 * PAIRS)

    def of(self, side: bool) -> list[Row]:
        """The rows of B (True) or A so far."""
        ours = [mine for order in self.orders for mine in order]
        return [row for row, mine in zip(self.rows, ours, strict=False) if mine == side]

    def seconds(self, side: bool, clock: Clock) -> list[float]:
        """The times of B (True) or A so far."""
        return [TIMES[clock](row) for row in self.of(side)]

    @property
    def failed(self) -> Row | None:
        """The first run that gave no time."""
        return next((row for row in self.rows if row["status"] != Status.OK or not (row["seconds"] or 0) > 0), None)

    def rounds(self, clock: Clock) -> Rounds:
        """The times of the whole blocks by a clock, as logarithms."""
        import numpy as np

        times = [TIMES[clock](row) for row in self.rows[: self.blocks * 2 * PAIRS]]
        return Rounds(np.log(np.asarray(times, float)).reshape(self.blocks, 2 * PAIRS), self.orders[: self.blocks])


def processor_seconds(row: Row) -> float | None:
    """Return the processor time of a run on a CPU, in seconds; None if it was not measured, or means little."""
    used, cores = row.get("cpu_used"), row.get("cores")
    if row["gpu"] != "none" or not used or not cores or not row["seconds"]:
        return None
    return float(used * cores * row["seconds"])


TIMES: Mapping[Clock, Any] = {Clock.WALL: lambda row: row["seconds"], Clock.PROCESSOR: processor_seconds}
"""The seconds of a row by each clock."""


def has_processor_time(rows: Sequence[Row]) -> bool:
    """Whether processor time tells how fast something is: no GPU, and the same number of cores on both sides."""
    return len({row["cores"] for row in rows}) == 1 and all(processor_seconds(row) is not None for row in rows)


def clock_of(pairs: Pairs, asked: Clock | None = None) -> Clock:
    """Return the clock that counts: wall time, or processor time if others kept the machine busy.

    The load alone decides it, which does not depend on whether a run was A's or B's, so the test stays exact.
    """
    if not pairs.rows or not has_processor_time(pairs.rows):
        return Clock.WALL
    busy = sum(map(was_loaded, pairs.rows)) >= BUSY * len(pairs.rows)
    return asked or (Clock.PROCESSOR if busy else Clock.WALL)


@dataclass(frozen=True)
class Found:
    """What is known of one comparison. ``ratio`` is B's time over A's by the ``clock`` that counts.

    ``limit`` is the difference that matters, as a share; ``needed`` the further rounds of each side, None for more than
    sixty. ``ratios`` has each clock's, where it tells anything.
    """

    name: str
    verdict: Verdict
    rounds: int
    limit: float
    clock: Clock = Clock.WALL
    seconds: tuple[float, float] | None = None
    ratio: float | None = None
    interval: tuple[float, float] | None = None
    ratios: Mapping[str, float] | None = None
    needed: int | None = None
    reasons: tuple[str, ...] = ()

    @property
    def said(self) -> str:
        """The verdict in words."""
        if self.verdict is Verdict.SAME:
            return f"no difference above {100 * self.limit:g} %"
        if self.verdict is not Verdict.UNSURE:
            return str(self.verdict)
        more = f"over {sequential.MOST_BLOCKS * PAIRS}" if self.needed is None else str(self.needed)
        return f"can't tell: needs {more} more rounds"

    def as_json(self) -> dict[str, Any]:
        """The form of ``--json``."""
        return {**asdict(self), "said": self.said}


def judge(every: Sequence[Pairs], limit: float, asked: Clock | None = None) -> list[Found]:
    """Return the verdicts of a table: any false alarm in it is as rare as one of a single cell.

    ``limit`` is the difference that matters, as a share: what surely is no larger is no difference.
    """
    import numpy as np

    clocks, within = [clock_of(pairs, asked) for pairs in every], float(np.log1p(limit))
    told = [
        Evidence() if pairs.failed or not pairs.blocks else sequential.evidence(pairs.rounds(clock), len(every), within)
        for pairs, clock in zip(every, clocks, strict=True)
    ]
    different = sequential.known([one.different for one in told])
    bounded = sequential.known([one.bounded for one in told])
    undecided = sum(not (a or b) for a, b in zip(different, bounded, strict=True))
    found = []
    for place, (pairs, clock, one) in enumerate(zip(every, clocks, told, strict=True)):
        verdict = Verdict.SLOWER if one.slower else Verdict.FASTER
        verdict = Verdict.SAME if bounded[place] else verdict if different[place] else Verdict.UNSURE
        found.append(described(pairs, clock, Verdict.FAILED if pairs.failed else verdict, limit, len(every), undecided))
    return found


def described(pairs: Pairs, clock: Clock, verdict: Verdict, limit: float, cells: int, undecided: int) -> Found:
    """Return a verdict with all that a person wants to know besides."""
    import numpy as np

    done, reasons = pairs.blocks * PAIRS, tuple(doubts(pairs))
    if pairs.failed or not pairs.blocks:
        first = next(look for look, share in enumerate(sequential.shares(cells), 1) if share)
        return Found(pairs.name, verdict, done, limit, clock, needed=first * PAIRS, reasons=reasons)
    rounds, needed = pairs.rounds(clock), None
    if verdict is Verdict.UNSURE:
        blocks = sequential.blocks_needed(rounds, cells, undecided, float(np.log1p(limit)))
        needed = None if blocks is None else blocks * PAIRS
    clocks = Clock if has_processor_time(pairs.rows) else (Clock.WALL,)
    return Found(
        pairs.name,
        verdict,
        done,
        limit,
        clock,
        seconds=(median(pairs.seconds(False, clock)), median(pairs.seconds(True, clock))),
        ratio=rounds.ratio(),
        interval=sequential.interval(rounds, cells),
        ratios={str(each): pairs.rounds(each).ratio() for each in clocks},
        needed=needed,
        reasons=reasons,
    )


def doubts(pairs: Pairs) -> list[str]:
    """Return what a person should know about the runs: why one failed, and what disturbed them."""
    if row := pairs.failed:
        said = next(iter((row["reason"] or "").splitlines()), "")
        return [f"{row['cell']}, round {row['repeat']}: {row['status']}: {said}".removesuffix(": ")]
    loads = [row[name] for row in pairs.rows for name in ("load_before", "load_after") if row.get(name) is not None]
    found = [f"the load per core was {min(loads):.1f} to {max(loads):.1f}"] if loads else []
    slowed = sorted({reason for row in pairs.rows for reason in slowed_by(row)})
    return found + ([f"GPUs were slowed down: {', '.join(slowed)}"] if slowed else [])
