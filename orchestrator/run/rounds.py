"""Further rounds of cells whose times lie too far apart, until they don't or there were enough."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Status
from orchestrator.compare.noise import ENOUGH, spread
from orchestrator.plan.verdicts import Planned, Verdict
from orchestrator.results.files import read_results
from orchestrator.results.paths import ResultsFolder
from orchestrator.run.context import Tally
from orchestrator.system.words import counted


@dataclass(frozen=True)
class Target:
    """The relative spread to reach, as a share, and the rounds after which a cell is left as it is."""

    spread: float
    most: int


Run = Callable[[list[Cell]], tuple[list[Planned], Tally]]
"""Plans some cells, runs them, and merges."""


def run_until_steady(
    cells: Iterable[Cell], folder: Path, target: Target, run: Run, say: Callable[[str], None]
) -> Tally:
    """Run the cells in as many rounds as they need, each round over all that need it; what is done is not run again."""
    every: list[Planned] = []
    tally = Tally()
    wanted = list(dict.fromkeys([*cells, *in_rounds(cells, min(ENOUGH, target.most))]))
    while wanted and not tally.interrupted and not tally.error:
        planned, found = run(wanted)
        every += planned
        tally.include(found)
        wanted = next_round(every, folder, target)
        if wanted:
            say(
                f"one more round: times of {counted(len(wanted), 'cell')} are more than {100 * target.spread:g} % apart"
            )
    for line in still_missing(every, folder, target):
        say(line)
    return tally


def still_missing(planned: Sequence[Planned], folder: Path, target: Target) -> Iterator[str]:
    """Yield which cells can't be judged yet or still lie too far apart, and how many rounds are missing."""
    found: dict[str, list[str]] = defaultdict(list)
    for cell, rounds in by_cell(planned, folder).items():
        good = [row["seconds"] for row in rounds if row is not None and row["status"] == Status.OK]
        if 0 < len(good) < ENOUGH:
            found[f"{ENOUGH - len(good)} more of {ENOUGH} rounds needed"].append(cell.id)
        elif (spread(good) or 0) > target.spread:
            found[f"still more than {100 * target.spread:g} % apart after {len(good)} rounds"].append(cell.id)
    for what, names in found.items():
        yield f"{what}: {', '.join(names)}"


def by_cell(planned: Sequence[Planned], folder: Path) -> Mapping[Cell, Sequence[Mapping[str, Any] | None]]:
    """The rows of each cell's rounds, None for one that has none yet."""
    rows = rows_by_key(folder)
    groups: dict[Cell, dict[str, Mapping[str, Any] | None]] = defaultdict(dict)
    for each in planned:
        if each.verdict is not Verdict.INCOMPATIBLE:
            groups[replace(each.cell, repeat=0)][each.key] = rows.get(each.key)
    return {cell: list(found.values()) for cell, found in groups.items()}


def in_rounds(cells: Iterable[Cell], most: int) -> list[Cell]:
    """Each cell in the rounds from 0 to ``most`` - 1."""
    return list(dict.fromkeys(replace(cell, repeat=n) for n in range(most) for cell in cells))


def next_round(planned: Sequence[Planned], folder: Path, target: Target) -> list[Cell]:
    """One more repeat of each cell that is not steady yet.

    ``planned`` are all rounds so far, which ``folder`` has merged. A cell of which a round did not end ok is left
    alone: it would not get steadier.
    """
    rows = rows_by_key(folder)
    groups: dict[Cell, list[Planned]] = defaultdict(list)
    for each in planned:
        if each.verdict is not Verdict.INCOMPATIBLE:
            groups[replace(each.cell, repeat=0)].append(each)
    more = []
    for cell, rounds in groups.items():
        last = max(each.cell.repeat for each in rounds)
        if last + 1 < target.most and is_unsteady([rows.get(each.key) for each in rounds], target):
            more.append(replace(cell, repeat=last + 1))
    return more


def is_unsteady(rounds: Sequence[Mapping[str, Any] | None], target: Target) -> bool:
    """Whether all rounds ended ok, and lie too far apart."""
    good = [row["seconds"] for row in rounds if row is not None and row["status"] == Status.OK]
    apart = spread(good)
    return len(good) == len(rounds) and apart is not None and apart > target.spread


def rows_by_key(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Status and seconds of what a folder has merged, by content hash."""
    table = read_results(ResultsFolder(folder).merged).select(["key", "status", "seconds"])
    return {row["key"]: row for row in table.to_pylist()}
