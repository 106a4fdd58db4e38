"""How often a verdict errs: tables of false alarms, power and coverage on rounds of which the truth is known.

    python benchmarks/statistics [TABLES]

Rounds are drawn, TABLES tables of 20 cells each (default 400), judged by the program's own code, and counted. Every
draw has a fixed seed: the same program prints the same tables. A folder, since a statistics.py beside the other
benchmarks would stand in the way of Python's own.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from orchestrator.compare.comparison import Baseline, Compared, Verdict, tested, verdict_of
from orchestrator.compare.evidence import adjusted, drift
from orchestrator.compare.noise import ENOUGH, interval

CELLS, ROUNDS = 20, range(1, 11)
TOLERANCE = 0.02
"""Of the verdict: what is slower by no more is as fast. Smaller than all that is planted, so that chance decides."""

Noise = Callable[[np.random.Generator, tuple[int, ...], float], Any]
"""Draws times around 1 s, in the shape asked for, with a relative standard deviation."""


def normal(rng: np.random.Generator, shape: tuple[int, ...], deviation: float) -> Any:
    """Symmetric."""
    return np.maximum(0.05, rng.normal(1, deviation, shape))


def log_normal(rng: np.random.Generator, shape: tuple[int, ...], deviation: float) -> Any:
    """Some rounds take much longer, as when something else runs meanwhile."""
    return rng.lognormal(0, deviation, shape)


def bimodal(rng: np.random.Generator, shape: tuple[int, ...], deviation: float) -> Any:
    """Two kinds of rounds, as of a processor with two clocks."""
    return 1 + deviation * (rng.choice((-1, 1), shape) + rng.normal(0, 0.1, shape))


NOISES: Mapping[str, Noise] = {"normal": normal, "log-normal": log_normal, "bimodal": bimodal}


def drifting(times: Any, share: float) -> Any:
    """The same when each round takes longer than the one before it by a share: (..., both sides, rounds)."""
    rounds = times.shape[-1]
    moments = np.arange(2 * rounds).reshape(2, rounds)  # ours first, then theirs
    return times * (1 + share) ** moments


def verdicts(pairs: Any) -> list[Verdict]:
    """The verdicts of a table: (cells, 2, rounds), theirs and then ours, in seconds."""
    found = [tested(list(ours), Baseline(list(theirs), "drawn", {})) for theirs, ours in pairs]
    chances = iter(adjusted([p for p, _ in found if p is not None]))
    every = []
    for (theirs, ours), (p, between) in zip(pairs, found, strict=True):
        ratio = float(np.median(ours) / np.median(theirs))
        one = Compared("drawn", 1, "real", Verdict.UNSURE, ratio=ratio, interval=between, p=p)
        judged = verdict_of(one_of_all(one, chances), TOLERANCE)
        every.append(Verdict.UNSURE if drift([list(ours), list(theirs)], ratio - 1) is not None else judged)
    return every


def one_of_all(one: Compared, chances: Any) -> Compared:
    """The comparison with its p among all of its table."""
    return Compared(**{**vars(one), "p_of_all": None if one.p is None else next(chances)})


def false_alarms(noise: Noise, deviation: float, rounds: int, tables: int, share: float = 0.0) -> tuple[float, float]:
    """The share of tables of equal cells that call any of them slower or faster, and the share of cells so called."""
    rng = np.random.default_rng(rounds)
    called = [
        [verdict in (Verdict.SLOWER, Verdict.FASTER) for verdict in verdicts(drifting(drawn, share))]
        for drawn in noise(rng, (tables, CELLS, 2, rounds), deviation)
    ]
    return float(np.mean([any(table) for table in called])), float(np.mean(called))


def found(noise: Noise, deviation: float, rounds: int, tables: int, slowdown: float, slow: int) -> float:
    """The share of the slower cells that are called so, ``slow`` of the 20 being slower by ``slowdown``."""
    rng = np.random.default_rng(rounds)
    times = noise(rng, (tables, CELLS, 2, rounds), deviation)
    times[:, :slow, 1] *= 1 + slowdown
    return float(np.mean([[v is Verdict.SLOWER for v in verdicts(table)[:slow]] for table in times]))


def coverage(noise: Noise, rounds: int, draws: int) -> float | None:
    """How often the interval of a median holds the true one; None where there is no interval."""
    rng = np.random.default_rng(rounds)
    truth = float(np.median(noise(rng, (200_000,), 0.08)))
    intervals = [interval(list(times)) for times in noise(rng, (draws, rounds), 0.08)]
    held = [between[0] <= truth <= between[1] for between in intervals if between is not None]
    return float(np.mean(held)) if held else None


def coverage_of_ratio(noise: Noise, rounds: int, draws: int) -> float | None:
    """How often the interval of the ratio of two equal libraries holds 1."""
    rng = np.random.default_rng(rounds)
    drawn = noise(rng, (draws, 2, rounds), 0.08)
    intervals = [tested(list(ours), Baseline(list(theirs), "drawn", {}))[1] for ours, theirs in drawn]
    held = [between[0] <= 1 <= between[1] for between in intervals if between is not None]
    return float(np.mean(held)) if held else None


def against_published(noise: Noise, rounds: int, draws: int) -> float | None:
    """How often a library as fast as a single published figure is called slower or faster than that."""
    if rounds < ENOUGH:
        return None
    rng = np.random.default_rng(rounds)
    figures, ours = noise(rng, (draws,), 0.08), noise(rng, (draws, rounds), 0.08)
    chances = [tested(list(a), Baseline([b], "", {}, published=True))[0] for a, b in zip(ours, figures, strict=True)]
    return float(np.mean([p is not None and p <= 0.05 for p in chances]))


def print_table(title: str, lines: Sequence[tuple[str, Sequence[float | None]]]) -> None:
    """A table in Markdown, a column for each number of rounds."""
    print(f"\n{title}\n\n| rounds on each side | {' | '.join(map(str, ROUNDS))} |\n| --- |{' ---: |' * len(ROUNDS)}")
    for name, values in lines:
        print(f"| {name} | " + " | ".join("–" if value is None else f"{100 * value:.1f} %" for value in values) + " |")


def main(tables: int) -> None:
    """Print all of them."""
    equal = {name: [false_alarms(noise, 0.08, n, tables) for n in ROUNDS] for name, noise in NOISES.items()}
    lines = [(f"{name}, tables", [one[0] for one in each]) for name, each in equal.items()]
    lines += [(f"{name}, cells", [one[1] for one in each]) for name, each in equal.items()]
    print_table("False alarms: 20 equal cells, noise of 8 %. Tables with any, and cells", lines)
    drifts = [
        (f"2 % a round, noise of {100 * d:.0f} %", [false_alarms(normal, d, n, tables // 4, 0.02)[1] for n in ROUNDS])
        for d in (0.002, 0.01, 0.02, 0.04, 0.08)
    ]
    print_table("Drift: cells called slower or faster for it alone, ours having run after theirs", drifts)
    power = [
        (f"{slow} of 20, {100 * by:.0f} % slower, {name}, {100 * d:.0f} %", [
            found(noise, d, n, max(1, tables // 4), by, slow) for n in ROUNDS
        ])
        for slow, by in ((20, 0.05), (4, 0.05), (1, 0.05), (4, 0.10))
        for name, noise, d in (("normal", normal, 0.02), ("log-normal", log_normal, 0.02), ("normal", normal, 0.08))
    ]  # fmt: skip
    print_table("Power: slower cells that are called slower, among 20; noise", power)
    held = [(f"median, {name}", [coverage(noise, n, 10 * tables) for n in ROUNDS]) for name, noise in NOISES.items()]
    held += [
        (f"ratio, {name}", [coverage_of_ratio(noise, n, 10 * tables) for n in ROUNDS]) for name, noise in NOISES.items()
    ]
    print_table("Coverage of the 95 % intervals", held)
    single = [(name, [against_published(noise, n, 10 * tables) for n in ROUNDS]) for name, noise in NOISES.items()]
    print_table("Against a single published figure: called slower or faster, being equal (a cell by itself)", single)


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 400)
