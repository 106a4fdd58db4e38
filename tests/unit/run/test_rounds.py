"""--until-stable: which cells get further rounds, with an engine that takes as long as it is told."""

import itertools

import pytest

from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Outcome, Status
from orchestrator.engines.output import success
from orchestrator.engines.protocol import Task
from orchestrator.plan import verdicts
from orchestrator.run import rounds
from orchestrator.run.context import Tally
from orchestrator.run.rounds import Target
from orchestrator.system.host import Host
from tests.unit.run.test_running import Engine, document, go  # noqa: F401

CELLS = [Cell(library, "rnn", data="synthetic", epochs=1, samples=64) for library in ("pytorch", "jax")]
STEADY, NOISY = [1.0], [1.0, 1.3, 0.7, 1.2]


def timed(pytorch: list[float], jax: list[float]) -> Engine:
    """An engine whose cells take these seconds, over and over."""
    seconds = {"pytorch": itertools.cycle(pytorch), "jax": itertools.cycle(jax)}

    def does(task: Task) -> Outcome:
        took = next(seconds[task.cell.library])
        return success(document(task.cell).model_copy(update={"seconds": took, "epoch_seconds": [took]}), "")

    return Engine(does)


@pytest.fixture
def steadily(go):  # noqa: F811
    """Run until steady; the rounds that were said, and the tally."""

    def steadily(engine: Engine, target: Target, cells: list[Cell] = CELLS) -> tuple[list[str], Tally]:
        said: list[str] = []

        def once(wanted):
            tally, _ = go(engine, wanted)
            return verdicts.plan_cells(wanted, engine, go.folder, Host()), tally

        return said, rounds.run_until_steady(cells, go.folder, target, once, said.append)

    return steadily


def repeats(engine: Engine, library: str) -> list[int]:
    return [cell.repeat for cell in engine.ran if cell.library == library]


def test_only_what_spreads_gets_further_rounds_up_to_the_limit(steadily):
    engine = timed(STEADY, NOISY)
    said, tally = steadily(engine, Target(0.05, 6))
    assert repeats(engine, "pytorch") == [0, 1, 2, 3]
    assert repeats(engine, "jax") == [0, 1, 2, 3, 4, 5]
    assert [cell.repeat for cell in engine.ran] == sorted(cell.repeat for cell in engine.ran)  # rounds over all cells
    assert tally.statuses == {"ok": 10}
    assert said == [
        *["one more round: times of 1 cell are more than 5 % apart"] * 2,
        "still more than 5 % apart after 6 rounds: jax/rnn/cpu",
    ]


def test_too_few_rounds_are_said_to_be(steadily):
    said, _ = steadily(timed(STEADY, STEADY), Target(0.05, 1))
    assert said == ["3 more of 4 rounds needed: pytorch/rnn/cpu, jax/rnn/cpu"]


def test_it_ends_when_the_quartiles_are_near_enough(steadily):
    engine = timed(STEADY, [1.0, 1.5, 1.01, 1.0, 1.01, 1.0])
    steadily(engine, Target(0.05, 10))
    assert len(repeats(engine, "jax")) == 5  # the one that was disturbed is outvoted


def test_it_goes_on_where_it_stopped(steadily):
    engine = timed(STEADY, NOISY)
    steadily(engine, Target(0.05, 4))
    again = timed(STEADY, [1.7])
    said, tally = steadily(again, Target(0.05, 6))
    assert repeats(again, "jax") == [4, 5]
    assert repeats(again, "pytorch") == []
    assert tally.statuses == {"ok": 2}
    assert len(said) == 3


def test_what_fails_is_not_repeated(steadily):
    engine = Engine(lambda task: Outcome(Status.FAILED, "exit code 1") if task.cell.repeat == 1 else None)
    _, tally = steadily(engine, Target(0.0001, 10), CELLS[:1])
    assert repeats(engine, "pytorch") == [0, 1, 2, 3]
    assert tally.bad == 1


def test_rounds_that_were_asked_for_are_run_in_any_case(steadily):
    engine = timed(STEADY, STEADY)
    cells = [Cell(**{**vars(CELLS[0]), "repeat": n}) for n in range(5)]
    steadily(engine, Target(0.05, 10), cells)
    assert repeats(engine, "pytorch") == [0, 1, 2, 3, 4]
