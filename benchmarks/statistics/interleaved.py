"""What `rosetta compare` finds, how often it errs, and what it costs, on runs of which the truth is known.

    python benchmarks/statistics/interleaved.py [TABLES]

Tables of 20 cells, B slower than A by 0, 3, 5 and 10 % in five cells each, or equal in all of them. Runs are drawn in
the order in which the command makes them, cell by cell, so that drift and foreign load come and go over the table, and
are judged by the program's own code. Seeds are fixed: the same program prints the same tables.

The plain time is what one ordinary table of the same cells costs: 20 cells, two sides, four rounds each, which are the
fewest of which `diff` tells anything. The comparison has three times that to spend, and all of it counts as its cost.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from orchestrator.compare import sequential
from orchestrator.compare.sequential import PAIRS, RISK, Evidence, Order, Rounds

PLANTED: Sequence[float] = (0.0,) * 5 + (0.03,) * 5 + (0.05,) * 5 + (0.10,) * 5
EQUAL: Sequence[float] = (0.0,) * 20
LIMIT = 0.05
"""The command's own: a difference that matters."""

PLAIN_ROUNDS, BUDGET = PAIRS, 3.0
"""Rounds of each side of a plain table; what may be spent, in plain times."""

Draw = Callable[[np.random.Generator, int], Any]
"""Logarithms of the times of the next runs of a machine, whichever cell they are of."""


def normal(deviation: float) -> Draw:
    """Symmetric."""
    return lambda rng, runs: np.log(np.maximum(0.05, rng.normal(1, deviation, runs)))


def log_normal(deviation: float) -> Draw:
    """Some runs take much longer than usual."""
    return lambda rng, runs: rng.normal(0, deviation, runs)


def bimodal(deviation: float) -> Draw:
    """Two kinds of runs, as of a processor with two clocks."""
    return lambda rng, runs: np.log(1 + deviation * (rng.choice((-1, 1), runs) + rng.normal(0, 0.1, runs)))


class Drifting:
    """Normal noise, and each run takes longer than the one before by a share."""

    def __init__(self, share: float, deviation: float) -> None:
        self.share, self.deviation, self.ran = share, deviation, 0

    def __call__(self, rng: np.random.Generator, runs: int) -> Any:
        """The next runs."""
        moments = self.ran + np.arange(runs)
        self.ran += runs
        return rng.normal(0, self.deviation, runs) + np.log1p(self.share) * moments


class Loaded:
    """Others come and go, and stay for ``stay`` runs on average: alone a run has noise of 1 %.

    In company it takes 30 to 120 % longer by the clock, and 4 to 8 % more processor time, for caches are shared.
    """

    def __init__(self, processor: bool, stay: float) -> None:
        self.processor, self.stay, self.company = processor, stay, False

    def __call__(self, rng: np.random.Generator, runs: int) -> Any:
        """The next runs."""
        times = rng.normal(0, 0.01, runs)
        for run in range(runs):
            self.company ^= bool(rng.random() < 1 / self.stay)
            if self.company:
                times[run] += np.log1p(rng.uniform(0.04, 0.08) if self.processor else rng.uniform(0.3, 1.2))
        return times


NOISES: Mapping[str, Callable[[], Draw]] = {
    "normal, 1 %": lambda: normal(0.01),
    "normal, 2 %": lambda: normal(0.02),
    "log-normal, 2 %": lambda: log_normal(0.02),
    "bimodal, 2 %": lambda: bimodal(0.02),
    "drift of 1 % a run, 2 %": lambda: Drifting(0.01, 0.02),
    "foreign load, processor time": lambda: Loaded(True, 20),
    "foreign load, the clock": lambda: Loaded(False, 20),
    "load that comes and goes, processor time": lambda: Loaded(True, 5),
    "normal, 3 %": lambda: normal(0.03),
    "log-normal, 8 %": lambda: log_normal(0.08),
}


@dataclass
class Cell:
    """One of a table: what is planted in it, its runs so far, and what they have told."""

    slowdown: float
    times: list[Any] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    told: Evidence = field(default_factory=Evidence)
    verdict: str = ""

    def run_block(self, draw: Draw, rng: np.random.Generator, name: str, cells: int) -> None:
        """Eight more runs, and what they tell."""
        self.orders.append(sequential.order(name, len(self.orders)))
        self.times.append(draw(rng, 2 * PAIRS) + np.log1p(self.slowdown) * np.array(self.orders[-1], float))
        share = sequential.shares(cells)[len(self.orders) - 1]
        if share:
            rounds = Rounds(np.array(self.times), self.orders)
            self.told = sequential.looked(self.told, rounds, share, float(np.log1p(LIMIT)))


def table(draw: Draw, planted: Sequence[float], seed: int) -> tuple[list[str], float]:
    """The verdicts of a table, and what it has cost in plain times; as the command does, within its budget."""
    rng, cells = np.random.default_rng(seed), [Cell(slowdown) for slowdown in planted]
    blocks, spent = int(BUDGET * len(cells) * PLAIN_ROUNDS / PAIRS), 0
    while spent < blocks and (waiting := [place for place, cell in enumerate(cells) if not cell.verdict]):
        nearest = min(
            waiting, key=lambda p: (len(cells[p].orders), min(cells[p].told.different, cells[p].told.bounded))
        )
        cells[nearest].run_block(draw, rng, f"{seed} {nearest}", len(cells))
        spent += 1
        judge(cells)
    return [cell.verdict for cell in cells], spent * PAIRS / (len(cells) * PLAIN_ROUNDS)


def judge(cells: Sequence[Cell]) -> None:
    """Give those a verdict that can have one."""
    bounded = sequential.known([cell.told.bounded for cell in cells])
    different = sequential.known([cell.told.different for cell in cells])
    for cell, same, other in zip(cells, bounded, different, strict=True):
        if not cell.verdict and (same or other):
            cell.verdict = "same" if same else "slower" if cell.told.slower else "faster"


@dataclass(frozen=True)
class Rates:
    """Of many tables: the share with a false alarm, of each slowdown the share that was found, and the mean cost.

    ``same`` is the share of equal cells that are said to be so, ``missed`` the share of tables in which that is said of
    any that is slower by the limit or more.
    """

    alarms: float
    found: Mapping[float, float]
    same: float
    missed: float
    cost: float


def rates(noise: str, planted: Sequence[float], tables: int) -> Rates:
    """What becomes of so many tables with a kind of noise."""
    every = [table(NOISES[noise](), planted, seed) for seed in range(tables)]
    said = np.array([verdicts for verdicts, _ in every])
    truth = np.array(planted)
    return Rates(
        alarms=share(np.isin(said[:, truth == 0], ("slower", "faster")).any(axis=1)),
        found={slowdown: share(said[:, truth == slowdown] == "slower") for slowdown in sorted(set(planted) - {0.0})},
        same=share(said[:, truth == 0] == "same"),
        missed=share((said[:, truth >= LIMIT] == "same").any(axis=1)),
        cost=float(np.mean([cost for _, cost in every])),
    )


def share(truths: Any) -> float:
    """How many of some are true."""
    return float(np.mean(truths))


def main(tables: int) -> None:
    """Print the table in Markdown."""
    print(f"{tables} tables of 20 cells, risk {RISK:.0%}, a budget of {BUDGET:g} plain times")
    heads = ("noise of a run", "alarms, all equal", "cost", "alarms", "3 %", "5 %", "10 %", "same", "missed", "cost")
    print(f"\n| {' | '.join(heads)} |")
    print("| --- |" + " ---: |" * 9)
    for noise in NOISES:
        none, some = rates(noise, EQUAL, tables), rates(noise, PLANTED, tables)
        values = [none.alarms, some.alarms, *some.found.values(), some.same, some.missed]
        first, *others = [f"{100 * value:.1f} %" for value in values]
        print(f"| {noise} | {first} | {none.cost:.2f} × | {' | '.join(others)} | {some.cost:.2f} × |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 200)
