"""Interleaved rounds of two sides, with an engine that takes as long as it is told."""

import json
import random
from contextlib import nullcontext

import pytest

from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Outcome, Status
from orchestrator.compare.pairs import Clock, Verdict
from orchestrator.engines.output import success
from orchestrator.engines.protocol import FewerCores, Task
from orchestrator.plan.verdicts import plan_cells
from orchestrator.results import shared
from orchestrator.results.merging import gather
from orchestrator.results.paths import ResultsFolder
from orchestrator.run import screen
from orchestrator.run.context import Settings
from orchestrator.run.pairs import CONDITIONS, Contest, Limits, Run, Side, compare
from orchestrator.system.host import Host
from orchestrator.system.signals import Interruption
from orchestrator.system.slots import Slots
from tests.unit.run.test_running import Engine, document

USUAL = Limits(difference=0.05, rounds=24)


class Timed(Engine):
    """An engine whose cells take so many times a second as their library has, give or take 1 %."""

    def __init__(self, factors: dict[str, float], load: float = 0.1, stop_after: int | None = None) -> None:
        super().__init__(self.takes)
        self.factors, self.load, self.stop_after = factors, load, stop_after
        self.noise = random.Random(7)

    def takes(self, task: Task) -> Outcome | None:
        if self.stop_after is not None and len(self.ran) > self.stop_after:
            self.ran.pop()
            self.stopping = True
            raise KeyboardInterrupt
        processor = self.factors[task.cell.library] * self.noise.gauss(1, 0.01)
        wall = processor * (self.noise.uniform(1, 3) if self.load > 1 else 1)
        told = document(task.cell).model_copy(
            update={
                "seconds": wall,
                "epoch_seconds": [wall],
                "load_before": self.load,
                "load_after": self.load,
                "cpu_used": min(1.0, processor / wall),
            }
        )
        return success(told.model_copy(update={"environment": told.environment.model_copy(update={"cores": 1})}), "")


@pytest.fixture
def pit(tmp_path, capsys):
    """Compare libraries with PyTorch on an engine; what was found, the tally and the contests."""

    def side(engine: Engine, library: str) -> Side:
        cell = Cell(library, "rnn", data="synthetic", epochs=1, samples=64)

        def plan(cells, host, folder):
            return plan_cells(cells, engine, folder, host)

        return Side(library, cell, engine, Host(), plan, nullcontext)

    def pit(engine: Engine, *libraries: str, limits: Limits = USUAL):
        folder = ResultsFolder(tmp_path)
        contests = [
            Contest(name, (side(engine, "pytorch"), side(engine, name)), folder.comparison(name)) for name in libraries
        ]
        run = Run(Settings(tmp_path), screen.Json(), Interruption())
        return *compare(contests, limits, run), contests

    pit.folder = tmp_path
    return pit


def test_what_is_slower_faster_or_neither_is_found_and_each_run_has_a_row(pit):
    engine = Timed({"pytorch": 1.0, "jax": 1.3, "mxnet": 0.8, "chainer": 1.0})
    found, tally, contests = pit(engine, "jax", "mxnet", "chainer")
    assert [one.verdict for one in found] == [Verdict.SLOWER, Verdict.FASTER, Verdict.SAME]
    assert found[2].said == "no difference above 5 %"
    assert found[0].ratio == pytest.approx(1.3, rel=0.02)
    low, high = found[0].interval
    assert low < 1.3 < high
    assert len(engine.ran) == sum(2 * one.rounds for one in found)
    assert set(tally.statuses) == {"ok"}
    for contest, one in zip(contests, found, strict=True):
        for letter in "ab":
            rows = gather([contest.folder / letter]).select(["repeat", "status"]).to_pylist()
            assert sorted(row["repeat"] for row in rows) == list(range(one.rounds))
        told = [json.loads(line) for line in (contest.folder / CONDITIONS).read_text().splitlines()]
        assert [line["side"] == "b" for line in told[:8]] == list(contest.order(0))


def test_the_order_is_drawn_for_each_block_and_both_sides_have_the_same_seeds(pit):
    engine = Timed({"pytorch": 1.0, "jax": 1.3})
    (found,), _, (contest,) = pit(engine, "jax")
    for block in range(found.rounds // 4):
        ran = engine.ran[8 * block : 8 * block + 8]
        assert [cell.library == "jax" for cell in ran] == list(contest.order(block))
        for library in ("pytorch", "jax"):
            assert [c.repeat for c in ran if c.library == library] == list(range(4 * block, 4 * block + 4))


def test_after_an_interruption_the_same_call_goes_on_within_the_block(pit):
    whole = {"pytorch": 1.0, "jax": 1.3}
    first = Timed(whole, stop_after=5)
    (found,), tally, _ = pit(first, "jax")
    assert tally.interrupted
    assert (found.verdict, found.rounds) == (Verdict.UNSURE, 0)
    second = Timed(whole)
    (found,), tally, (contest,) = pit(second, "jax")
    assert (tally.interrupted, found.verdict) == (False, Verdict.SLOWER)
    ran = [*first.ran, *second.ran]
    assert [cell.library == "jax" for cell in ran[:8]] == list(contest.order(0))
    assert len(ran) == 2 * found.rounds
    assert not pit(Timed(whole), "jax")[1].statuses, "what is known is not run again"


def test_a_spent_budget_or_too_few_rounds_leave_it_open_and_say_how_many_are_lacking(pit):
    engine = Timed({"pytorch": 1.0, "jax": 1.02, "mxnet": 1.02})
    found, _, _ = pit(engine, "jax", "mxnet", limits=Limits(0.001, rounds=4))
    assert [one.rounds for one in found] == [4, 4]
    assert all(one.said.startswith("can't tell: needs ") for one in found)
    assert all(one.needed is None or one.needed >= 4 for one in found)
    before = len(engine.ran)
    found, tally, _ = pit(engine, "jax", limits=Limits(0.001, rounds=24, budget=1e-9))
    assert (len(engine.ran), tally.statuses) == (before, {})


def test_a_run_that_fails_ends_its_comparison_and_no_other(pit):
    engine = Timed({"pytorch": 1.0, "jax": 1.3, "mxnet": 1.3})
    timed = engine.does

    def does(task: Task) -> Outcome | None:
        return Outcome(Status.FAILED, "exit code 1") if task.cell.library == "mxnet" else timed(task)

    engine.does = does
    found, _, _ = pit(engine, "mxnet", "jax")
    assert [one.verdict for one in found] == [Verdict.FAILED, Verdict.SLOWER]
    assert "exit code 1" in found[0].reasons[0]


def test_under_load_processor_time_counts_unless_somebody_asks_for_the_clock(pit):
    engine = Timed({"pytorch": 1.0, "jax": 1.1}, load=3.0)
    (found,), _, _ = pit(engine, "jax")
    assert (found.clock, found.verdict) == (Clock.PROCESSOR, Verdict.SLOWER)
    assert found.ratios[Clock.PROCESSOR] == pytest.approx(1.1, rel=0.02)
    assert found.reasons[0] == "the load per core was 3.0 to 3.0"
    (by_clock,), _, _ = pit(engine, "jax", limits=Limits(0.05, rounds=4, clock=Clock.WALL))
    assert (by_clock.clock, by_clock.verdict) == (Clock.WALL, Verdict.UNSURE)


def test_neither_merge_nor_sync_takes_a_comparison_for_results(pit):
    pit(Timed({"pytorch": 1.0, "jax": 1.3}), "jax")
    assert gather([pit.folder]).num_rows == 0
    files = [path.relative_to(pit.folder).as_posix() for path in pit.folder.rglob("*.parquet")]
    assert files
    assert all(shared.is_private(name) for name in files)  # to sync it is nobody else's business


def test_fewer_cores_are_the_first_of_those_that_a_cell_would_have():
    slots = FewerCores(Slots(Host(), (), 1), 1)
    lease = slots.take("none")
    assert lease is not None
    assert len(lease.cores) == 1
    assert slots.take("none") is None
    slots.give_back(lease, "none")
    assert slots.take("none") is not None
