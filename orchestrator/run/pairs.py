"""Interleaved rounds of two sides, block by block, until each comparison has its answer or nothing is left to spend.

Each run is a run as any other: claimed, written to a file of its own, and not run again. So Ctrl-C loses nothing, and a
second call goes on within the block where the first one stopped.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from orchestrator.cell.cell import Cell
from orchestrator.compare import sequential
from orchestrator.compare.pairs import Clock, Found, Pairs, Verdict, judge
from orchestrator.compare.sequential import PAIRS
from orchestrator.engines.protocol import Engine
from orchestrator.plan.verdicts import Planned
from orchestrator.plan.verdicts import Verdict as Plan
from orchestrator.results.files import read_results
from orchestrator.results.paths import ResultsFolder
from orchestrator.results.rows import Row
from orchestrator.run import running
from orchestrator.run.context import Settings, Tally
from orchestrator.run.progress import Progress
from orchestrator.system.clocks import state
from orchestrator.system.host import Host, is_here
from orchestrator.system.signals import Interruption

CONDITIONS = "conditions.jsonl"
"""Beside the rows of both sides: load and clocks of this machine before and after each run, a line each."""


@dataclass(frozen=True)
class Side:
    """One of the two: a cell and where it runs. ``inside`` is the context in which it is planned and run."""

    name: str
    cell: Cell
    engine: Engine
    host: Host
    plan: Callable[[list[Cell], Host, Path], list[Planned]]
    inside: Callable[[], AbstractContextManager[None]]
    cores: int | None = None

    def planned(self, repeat: int, folder: Path) -> Planned:
        """One of its rounds, whose result lies in a folder."""
        with self.inside():
            return self.plan([replace(self.cell, repeat=repeat)], self.host, folder)[0]


@dataclass
class Contest:
    """Two sides and the folder of their rows; ``rows`` are those so far, in the order in which they were drawn."""

    name: str
    sides: tuple[Side, Side]
    folder: Path
    rows: list[Row] = field(default_factory=list)

    @property
    def pairs(self) -> Pairs:
        """The comparison so far, to be judged."""
        return Pairs(self.name, self.rows, [self.order(block) for block in range(len(self.rows) // (2 * PAIRS) + 1)])

    def order(self, block: int) -> sequential.Order:
        """Return the order of a block's runs."""
        return sequential.order(self.folder.name, block)

    def runs(self) -> Iterator[tuple[bool, int]]:
        """Yield whose runs they are, from the first on: B's (True) or A's, and the repeat, which sets the seed."""
        block = 0
        while True:
            seen = [0, 0]
            for mine in self.order(block):
                yield mine, block * PAIRS + seen[mine]
                seen[mine] += 1
            block += 1

    def folder_of(self, mine: bool) -> Path:
        """Return the folder of a side's rows."""
        return self.folder / ("b" if mine else "a")

    def next_run(self) -> tuple[bool, int]:
        """Return the side and the repeat of the next run."""
        runs = self.runs()
        for _ in self.rows:
            next(runs)
        return next(runs)

    def take_in(self) -> None:
        """Read the rows that are there already, up to the first that is missing."""
        while row := self.row(*self.next_run()):
            self.rows.append(row)

    def row(self, mine: bool, repeat: int) -> Row | None:
        """The row of a run; None if it has none yet."""
        side, folder = self.sides[mine], self.folder_of(mine)
        planned = side.planned(repeat, folder)
        path = ResultsFolder(folder).result(planned.key, side.cell.id)
        # Without the time of its start: to make one of it, Arrow would import pandas, for half a second.
        return dict(read_results(path).drop_columns("started").to_pylist()[0]) if path.is_file() else None


@dataclass(frozen=True)
class Limits:
    """When to stop: the difference that matters, as a share; rounds of each side of a cell; seconds in all, or None.

    ``clock`` is the one that counts, None for the one that tells most.
    """

    difference: float
    rounds: int
    budget: float | None = None
    clock: Clock | None = None


@dataclass(frozen=True)
class Run:
    """What all runs of a comparison share."""

    settings: Settings
    progress: Progress
    interruption: Interruption


def compare(contests: Sequence[Contest], limits: Limits, run: Run) -> tuple[list[Found], Tally]:
    """Run blocks of comparisons without an answer, those with the fewest rounds and nearest to an answer first.

    Returns what is known then of all; the tally says whether it was interrupted.
    """
    run.progress.open_ended = True
    tally, end = Tally(), time.monotonic() + (limits.budget or float("inf"))
    try:
        for contest in contests:
            contest.take_in()
        while (place := next_of(contests, limits)) is not None:
            if not run_block(contests[place], end, run, tally):
                break
            found = judged(contests, limits)[place]
            run.progress.say(f"{found.name}: {found.rounds} rounds of each side, {found.said}")
    except KeyboardInterrupt:
        tally.interrupted = True
    finally:
        if run.settings.results.is_dir():
            running.give_to_owner(run.settings.results)
    return judged(contests, limits), tally


def judged(contests: Sequence[Contest], limits: Limits) -> list[Found]:
    """Return the judgement of each comparison so far."""
    return judge([contest.pairs for contest in contests], limits.difference, limits.clock)


def next_of(contests: Sequence[Contest], limits: Limits) -> int | None:
    """The place of the comparison whose block comes next; None if all have their answer or all of their rounds."""
    found = judged(contests, limits)
    waiting = [
        (one.rounds, one.needed if one.needed is not None else limits.rounds, place)
        for place, one in enumerate(found)
        if one.verdict is Verdict.UNSURE and one.rounds + PAIRS <= limits.rounds
    ]
    return min(waiting)[2] if waiting else None


def run_block(contest: Contest, end: float, run: Run, tally: Tally) -> bool:
    """Run what is left of a block; False if it was not finished: no time left, interrupted, or a run without a row."""
    left = 2 * PAIRS - len(contest.rows) % (2 * PAIRS)
    for _ in range(left):
        if time.monotonic() >= end:
            run.progress.say("the budget is spent")
            return False
        mine, repeat = contest.next_run()
        run_once(contest, mine, repeat, run, tally)
        row = None if tally.interrupted or tally.error else contest.row(mine, repeat)
        if row is None:
            return False
        contest.rows.append(row)
        if contest.pairs.failed:
            return True
    return True


def run_once(contest: Contest, mine: bool, repeat: int, run: Run, tally: Tally) -> None:
    """One run of one side, with load and clocks of this machine before and after."""
    side, folder = contest.sides[mine], contest.folder_of(mine)
    here = is_here(side.engine.host)
    with side.inside():
        planned = side.planned(repeat, folder)
        before = state() if here else {}
        settings = replace(run.settings, results=folder, cores=side.cores)
        found = running.run([planned], side.engine, settings, side.host, run.progress, run.interruption)
    tally.include(found)
    if planned.verdict is Plan.READY and not found.interrupted and not found.error:
        note(contest.folder, {"side": "b" if mine else "a", "repeat": repeat, "key": planned.key} | {
            "before": before, "after": state() if here else {},
        })  # fmt: skip


def note(folder: Path, facts: dict[str, Any]) -> None:
    """Add a line to the conditions of a comparison."""
    with (folder / CONDITIONS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(facts) + "\n")
