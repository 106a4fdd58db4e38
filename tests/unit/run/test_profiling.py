"""Cells under a profiler: what is kept of them, and that none of it is a result."""

import gzip
from collections.abc import Callable

import pytest

from orchestrator.cell import profile
from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Outcome, Status
from orchestrator.engines.output import success
from orchestrator.engines.protocol import Task
from orchestrator.errors import GpuError, ResultError, SelectionError
from orchestrator.plan import verdicts
from orchestrator.plan.verdicts import Verdict
from orchestrator.results.claims import Claims
from orchestrator.results.files import read_results
from orchestrator.results.merging import merge
from orchestrator.results.paths import ResultsFolder
from orchestrator.results.profiles import read_profile, read_trace
from orchestrator.run import profiling
from orchestrator.run.profiling import Settings
from orchestrator.system.host import Host
from tests.unit.cell.test_profile import EVENTS, files
from tests.unit.run.test_running import Engine, document

CELLS = [Cell(library, "rnn", data="synthetic") for library in ("pytorch", "jax")]


def profiled(task: Task) -> Outcome:
    """What an engine gives back of a cell that has left a profile."""
    left = files(library=task.cell.library, steps=task.profile)
    return Outcome(Status.OK, recording=profile.parse(left, task.cell, task.profile))


@pytest.fixture
def go(tmp_path):
    """Plan and profile cells with an engine."""

    def go(does: Callable[[Task], Outcome] = profiled, cells: list[Cell] = CELLS, steps: int = 3):
        engine = Engine(does)
        planned = verdicts.plan_cells(cells, engine, tmp_path, Host())
        settings = Settings(steps, tmp_path, deadline=60.0)
        return list(profiling.profile(planned, engine, settings, Host(), lambda text: None)), engine

    return go


def test_each_cell_has_a_profile_and_a_trace_and_no_cell_is_done(go, tmp_path):
    found, engine = go()
    assert engine.ran == CELLS
    assert [each.outcome.recording.profile.library for each in found] == ["pytorch", "jax"]
    assert found[0].trace == tmp_path / "profiles/pytorch/rnn/cpu.trace.json.gz"
    assert read_profile(tmp_path, "pytorch/rnn/cpu") == found[0].outcome.recording.profile
    assert read_trace(tmp_path, "pytorch/rnn/cpu") == EVENTS
    planned = verdicts.plan_cells(CELLS, engine, tmp_path, Host())
    assert {each.verdict for each in planned} == {Verdict.READY}
    assert list(ResultsFolder(tmp_path).results()) == []
    assert list(tmp_path.rglob("*.parquet")) == []
    assert [path.name for path in (tmp_path / ".claims").iterdir() if path.suffix != ".lock"] == ["id"]


def test_no_table_is_made_of_a_profile(go, tmp_path):
    go()
    merge([tmp_path], tmp_path / "all.parquet")
    assert read_results(tmp_path / "all.parquet").num_rows == 0


def test_the_newest_profile_of_a_cell_takes_the_place_of_the_last(go, tmp_path):
    go(steps=3)
    go(steps=7)
    assert read_profile(tmp_path, "jax/rnn/cpu").steps == 7


def test_a_cell_that_fails_leaves_its_log_and_stops_no_other(go, tmp_path):
    def does(task: Task) -> Outcome:
        failed = task.cell.library == "pytorch"
        return Outcome(Status.FAILED, "exit code 1: no", log="it said no") if failed else profiled(task)

    found, _ = go(does)
    assert [each.trace is None for each in found] == [True, False]
    assert "it said no" in (tmp_path / "profiles/pytorch/rnn/cpu.profile.log").read_text()


def test_an_engine_that_times_in_place_of_profiling_is_no_profile(go, tmp_path):
    found, _ = go(lambda task: success(document(task.cell), "said"))
    assert [each.trace for each in found] == [None, None]
    assert list(tmp_path.rglob("*.parquet")) == []


def test_a_task_is_claimed_and_told_how_many_steps(go):
    seen = []

    def does(task: Task) -> Outcome:
        seen.append((task.claim, task.arguments[-2:]))
        return profiled(task)

    go(does, CELLS[:1])
    ((claim, words),) = seen
    assert len(claim.rpartition("/")[2]) == 16
    assert words == ["--profile", "3"]


def test_a_cell_that_somebody_else_runs_is_refused(go, tmp_path):
    (planned, *_) = verdicts.plan_cells(CELLS, Engine(), tmp_path, Host())
    claim = Claims(tmp_path).take(planned.key)
    with pytest.raises(SelectionError, match="is running already"):
        go()
    claim.release()


def test_what_several_processes_share_is_refused(go):
    with pytest.raises(SelectionError, match="runs in several processes"):
        go(cells=[Cell("pytorch", "densenet121", n_gpus=2, data="synthetic")])


def test_what_can_not_run_says_why(go):
    with pytest.raises(SelectionError, match="not implemented yet"):
        go(cells=[Cell("knet", "nothing", data="synthetic")])


def test_a_gpu_that_somebody_has_is_told(tmp_path):
    task = Task(Cell("pytorch", "rnn", "cuda13", "h200"), None, "0" * 16, "run", profile=1)
    claims = Claims(tmp_path)
    with pytest.raises(GpuError, match="Every h200 is in use"):
        profiling.run_claimed(task, Engine(), claims, Host())
    assert claims.take("0" * 16) is not None


@pytest.mark.parametrize("cell", ["../secret", "/etc/passwd", "a/../../b", "a\0b", "x" * 5000, ""])
def test_a_cell_of_a_hostile_row_leads_nowhere(tmp_path, cell):
    (tmp_path / "results").mkdir()
    (tmp_path / "secret.profile.json").write_bytes(files()["profile.json"])
    assert read_profile(tmp_path / "results", cell) is None


def test_what_was_planted_among_profiles_is_not_read(go, tmp_path):
    go()
    path = ResultsFolder(tmp_path).profile("jax/rnn/cpu")
    path.write_text("{}")
    assert read_profile(tmp_path, "jax/rnn/cpu") is None
    path.unlink()
    path.symlink_to(ResultsFolder(tmp_path).profile("pytorch/rnn/cpu"))
    assert read_profile(tmp_path, "jax/rnn/cpu") is None
    with pytest.raises(ResultError):
        profile.parse({"profile.json": b"{}", "trace.json.gz": gzip.compress(b"{}")}, CELLS[1], 3)
