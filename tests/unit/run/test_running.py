"""What a run refuses before it starts, and what becomes of its cells: with an engine that does as it is told."""

import json
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from orchestrator.cell import contract, quality
from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Outcome, Status
from orchestrator.cell.events import Epoch
from orchestrator.engines.output import success
from orchestrator.engines.protocol import OnThisHost, Task
from orchestrator.errors import BuildError, DiskError, EngineError, GpuError, ResultError, SelectionError, StorageError
from orchestrator.plan import verdicts
from orchestrator.plan.verdicts import Planned, Verdict
from orchestrator.results.claims import Claims
from orchestrator.results.files import forget, read_results
from orchestrator.results.paths import MERGED
from orchestrator.run import attempts, progress, running, scheduling, screen
from orchestrator.run.context import Settings, Tally
from orchestrator.system.host import Host
from orchestrator.system.signals import Interruption
from tests.unit.results.test_results import DOCUMENT, adding_up


def hopeless(cell: Cell, reason: str, lacks_gpu: bool = False) -> list[Planned]:
    return [Planned(cell, Verdict.INCOMPATIBLE, reason, lacks_gpu=lacks_gpu)]


def test_a_missing_gpu_is_told_from_cells_that_run_nowhere():
    cell = Cell("pytorch", "rnn", "cuda13", "h200")
    with pytest.raises(GpuError, match="no NVIDIA driver"):
        running.refuse_hopeless(hopeless(cell, "no NVIDIA driver on this machine", lacks_gpu=True), Host())
    with pytest.raises(SelectionError, match="not implemented yet"):
        running.refuse_hopeless(hopeless(cell, "not implemented yet: no image"), Host())


def test_one_cell_that_can_run_is_enough():
    done = Planned(Cell("pytorch", "rnn"), Verdict.DONE)
    running.refuse_hopeless([*hopeless(Cell("knet", "rnn"), "no"), done], Host())


def test_a_full_disk_is_noticed_before_the_first_cell(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "LEAST_FREE", 2**60)
    with pytest.raises(DiskError, match="MB free"):
        running.prepare_folder(tmp_path)


# --- Cells ----------------------------------------------------------------------------------------------------------
CELLS = [
    Cell(library, "rnn", data="synthetic", repeat=repeat, epochs=1, samples=64)
    for repeat in (0, 1)
    for library in ("pytorch", "jax", "mxnet")
]
LOST = Outcome(Status.HOST_LOST, "the engine stopped answering")


class Engine(OnThisHost):
    """Runs nothing; ``does`` may give a cell another outcome than a good one."""

    name, host, stopping = "docker", "here", False

    def __init__(self, does: Callable[[Task], Outcome | None] = lambda task: None) -> None:
        self.does = does
        self.ran: list[Cell] = []
        self.orphans: dict[str, str] = {}
        self.prepared: list[str] = []

    def built_on(self, image) -> str:
        return ""

    def unavailable(self, image) -> None:
        return None

    def prepare(self, wanted, say) -> dict[str, str]:
        self.prepared += [image.name for image in wanted]
        return {image.tag: "" for image in wanted}

    def run(self, task: Task, on_event) -> Outcome:
        self.ran.append(task.cell)
        on_event(Epoch(event="epoch", epoch=1, epochs=1, loss=0.5))
        return self.does(task) or success(document(task.cell), "said")

    def cells(self) -> dict[str, str]:
        return dict(self.orphans)

    def remove(self, handle: str) -> None:
        del self.orphans[handle]

    def stop(self) -> None:
        self.stopping = True


def document(cell: Cell) -> contract.Document:
    epochs, samples = quality.asked(cell)
    said = {"library": cell.library, "data": cell.data, "seed": cell.repeat, "epochs": epochs, "samples": samples}
    return contract.Document.model_validate(
        adding_up({**DOCUMENT, **said, "seconds": 0.001, "seconds_warm": None, "phases": {}}, {**said, "phases": {}})
    )


@pytest.fixture
def go(tmp_path, monkeypatch):
    """Plan and run the cells with an engine; the tally and the rows."""
    monkeypatch.setattr(attempts, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(scheduling, "LOOK_AGAIN", 0.0)

    def go(engine: Engine, cells: list[Cell] = CELLS, **settings) -> tuple[Tally, list[dict[str, Any]]]:
        planned = verdicts.plan_cells(cells, engine, tmp_path, Host())
        shown = screen.Lines(Console(file=(tmp_path / "shown").open("w")))
        with shown.console.file:
            tally = running.run(planned, engine, Settings(tmp_path, **settings), Host(), shown)
        return tally, read_results(tmp_path / MERGED).to_pylist()

    go.folder = tmp_path
    return go


def test_every_cell_has_one_row_and_a_second_run_does_nothing(go):
    engine = Engine()
    tally, rows = go(engine)
    assert (tally.statuses, len(rows)) == ({"ok": 6}, 6)
    assert [cell.repeat for cell in engine.ran] == [0, 0, 0, 1, 1, 1]
    merged = (go.folder / MERGED).stat()
    tally, rows = go(engine)
    assert (tally.statuses, len(rows), len(engine.ran)) == ({}, 6, 6)
    assert (go.folder / MERGED).stat().st_mtime_ns == merged.st_mtime_ns
    assert [path.name for path in (go.folder / ".claims").iterdir() if path.suffix != ".lock"] == ["id"]


def test_a_cell_whose_host_is_lost_is_tried_again_and_one_that_fails_is_not(go):
    lost, failed = [CELLS[0], CELLS[0]], CELLS[1]

    def does(task: Task) -> Outcome | None:
        if task.cell in lost:
            lost.remove(task.cell)
            return LOST
        return Outcome(Status.FAILED, "exit code 1") if task.cell == failed else None

    engine = Engine(does)
    tally, rows = go(engine)
    assert tally.statuses == {"ok": 5, "failed": 1}
    assert (engine.ran.count(CELLS[0]), engine.ran.count(failed), len(rows)) == (3, 1, 6)
    assert "again  in 0 s: the engine stopped answering" in (go.folder / "shown").read_text()


def test_a_cell_that_stays_lost_has_a_row_and_is_run_next_time(go):
    tally, rows = go(Engine(lambda task: LOST if task.cell == CELLS[0] else None))
    assert tally.statuses == {"ok": 5, "host_lost": 1}
    assert sorted(row["status"] for row in rows) == ["host_lost", *["ok"] * 5]
    engine = Engine()
    tally, rows = go(engine)
    assert (tally.statuses, engine.ran) == ({"ok": 1}, [CELLS[0]])
    assert [row["status"] for row in rows] == ["ok"] * 6


def test_an_image_that_can_not_be_built_stops_no_other(go):
    engine = Engine()

    def prepare(wanted, say) -> dict[str, str]:
        if wanted[0].name == "jax-cpu":
            raise BuildError("Building the images failed.")
        return {}

    engine.prepare = prepare  # type: ignore[method-assign]
    tally, rows = go(engine)
    assert isinstance(tally.error, BuildError)
    assert {(row["library"], row["status"]) for row in rows} == {("pytorch", "ok"), ("mxnet", "ok"), ("jax", "failed")}
    assert {row["reason"] for row in rows if row["library"] == "jax"} == {"no image: Building the images failed."}
    tally, rows = go(Engine())
    assert (tally.statuses, {row["status"] for row in rows}) == ({"ok": 2}, {"ok"})


def test_two_orchestrators_share_the_cells_and_both_wait_for_all(go):
    inside = threading.Barrier(2, timeout=30)
    engines = [Engine(), Engine()]

    tallies: list[Tally] = []

    def orchestrator(engine: Engine) -> None:
        planned = verdicts.plan_cells(CELLS, engine, go.folder, Host())
        inside.wait()
        with (go.folder / engine_names[id(engine)]).open("w") as file:
            shown = screen.Lines(Console(file=file))
            tallies.append(running.run(planned, engine, Settings(go.folder), Host(), shown))

    engine_names = {id(engine): f"shown{number}" for number, engine in enumerate(engines)}
    for engine in engines:
        engine.does = lambda task: time.sleep(0.2)
    threads = [threading.Thread(target=orchestrator, args=[engine]) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    ran = [cell for engine in engines for cell in engine.ran]
    assert sorted(map(CELLS.index, ran)) == list(range(6))
    assert all(engine.ran for engine in engines)
    assert sum(tally.elsewhere for tally in tallies) == 6
    assert len(read_results(go.folder / MERGED).to_pylist()) == 6


def test_orphans_of_this_folder_are_removed_and_no_others(go):
    engine = Engine()
    claims = Claims(go.folder)
    alive = claims.take("alive")
    mine, held, foreign = claims.label("0123"), claims.label("alive"), "another-folder/0123"
    engine.orphans = {"dead": mine, "alive": held, "foreign": foreign, "unmarked": ""}
    go(engine)
    assert sorted(engine.orphans) == ["alive", "foreign", "unmarked"]
    alive.release()


def test_measured_cells_on_a_cpu_wait_for_builds_and_short_ones_do_not(go):
    assert scheduling.needs_quiet(Cell("pytorch", "rnn"))
    assert not scheduling.needs_quiet(CELLS[0])
    assert not scheduling.needs_quiet(Cell("pytorch", "rnn", parity=True))
    assert not scheduling.needs_quiet(Cell("pytorch", "rnn", "cuda9", "v100"))
    built: list[str] = []
    first = threading.Event()

    def prepare(wanted, say) -> dict[str, str]:
        if wanted[0].name != "pytorch-cpu":
            first.wait(30)
        built.append(wanted[0].name)
        return {}

    def does(task: Task) -> None:
        assert built == ["pytorch-cpu"] or task.cell != CELLS[0]
        first.set()

    engine = Engine(does)
    engine.prepare = prepare  # type: ignore[method-assign]
    tally, _ = go(engine)
    assert tally.statuses == {"ok": 6}


def test_a_run_that_was_killed_is_merged_by_the_next(go):
    go(Engine())
    (go.folder / MERGED).rename(go.folder / "kept")
    go(Engine())
    assert (go.folder / MERGED).exists()
    before = (go.folder / MERGED).stat().st_mtime_ns
    (go.folder / ".claims" / "run-0123.lock").touch()
    go(Engine())
    assert (go.folder / MERGED).stat().st_mtime_ns > before


def test_changes_are_json_for_programs(go, capsys, tmp_path):
    engine = Engine()
    planned = verdicts.plan_cells(CELLS[:1], engine, tmp_path, Host())
    running.run(planned, engine, Settings(tmp_path), Host(), screen.Json())
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [event["event"] for event in events] == ["started", "epoch", "finished"]
    assert {event["cell"] for event in events} == {"pytorch/rnn/cpu"}
    assert (events[1]["loss"], events[2]["status"], events[2]["total"]) == (0.5, "ok", 1)


@pytest.mark.parametrize("error", [OverflowError, RecursionError, ValueError, TypeError, KeyError])
def test_what_can_not_be_taken_fails_its_own_cell_and_no_other(go, error):
    def does(task: Task) -> Outcome | None:
        if task.cell == CELLS[1]:
            raise error("int too large to convert to float")
        return None

    tally, rows = go(Engine(does))
    assert tally.statuses == {"ok": 5, "failed": 1}
    (failed,) = (row for row in rows if row["status"] == "failed")
    assert failed["cell"] == CELLS[1].id
    assert failed["reason"].startswith(f"its output or result can't be processed: {error.__name__}: ")
    tally, _ = go(Engine())
    assert tally.statuses == {}, "a restart does not try it again"


@pytest.mark.parametrize(
    "ends",
    [EngineError("Slurm's sbatch refuses: exit code -2"), Outcome(Status.FAILED, "exit code -2")],
    ids=["refused", "failed"],
)
def test_what_ctrl_c_has_ended_before_the_run_knows_of_it_did_not_fail(tmp_path, ends):
    interruption = Interruption()

    def does(task: Task) -> Outcome:
        interruption.came = True
        if isinstance(ends, Exception):
            raise ends
        return ends

    engine = Engine(does)
    planned = verdicts.plan_cells(CELLS[:1], engine, tmp_path, Host())
    with (tmp_path / "shown").open("w") as file:
        lines = screen.Lines(Console(file=file))
        tally = running.run(planned, engine, Settings(tmp_path), Host(), lines, interruption)
    assert (tally.interrupted, tally.statuses, tally.error) == (True, {}, None)
    assert list(tmp_path.rglob("cpu*.parquet")) == []


def test_a_document_that_does_not_add_up_is_a_failed_row(go):
    def does(task: Task) -> Outcome:
        return success(document(task.cell).model_copy(update={"steps": 2}), "said")

    tally, rows = go(Engine(does), CELLS[:1])
    assert tally.statuses == {"failed": 1}
    assert "2 steps of 64 are not 1 epochs of 64 samples" in rows[0]["reason"]


def test_bad_files_in_a_results_folder_end_no_run(go):
    go.folder.joinpath("notes.json").write_text("[]")
    go.folder.joinpath("broken.parquet").write_bytes(b"PAR1")
    tally, rows = go(Engine())
    assert (tally.statuses, len(rows)) == ({"ok": 6}, 6)
    shown = go.folder.joinpath("shown").read_text()
    assert "left alone: " in shown
    assert "broken.parquet is truncated" in shown


def test_what_a_row_is_made_of_is_given_up_when_the_row_is_there(go):
    rows_then: list[list[str]] = []

    def does(task: Task) -> Outcome:
        def settled() -> None:
            rows_then.append([path.name for path in (go.folder / "cells" / task.key).rglob("*.parquet")])

        return replace(success(document(task.cell), "said"), settled=settled)

    go(Engine(does), CELLS[:1])
    assert rows_then == [["cpu.parquet"]]


@pytest.mark.parametrize(("error", "called"), [(OSError("no room"), ["leave"]), (KeyboardInterrupt(), ["stop"])])
def test_an_error_leaves_what_can_go_on_alone_and_ctrl_c_stops_it(go, error, called):
    def does(task: Task) -> None:
        raise error

    engine, calls = Engine(does), []
    engine.stop, engine.leave = lambda: calls.append("stop"), lambda: calls.append("leave")
    with pytest.raises(OSError, match="no room") if isinstance(error, OSError) else nullcontext():
        go(engine, CELLS[:1])
    assert calls == called


def test_a_results_folder_that_can_not_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="sub can't be read or written") as error:
        running.prepare_folder(tmp_path / "file" / "sub")
    assert "--results DIR" in error.value.remedy


@pytest.mark.parametrize("replaced", [False, True])
def test_a_results_folder_that_vanishes_during_a_run_is_an_error(go, replaced):
    def does(task: Task) -> None:
        if task.cell == CELLS[2]:
            go.folder.rename(go.folder.with_name(f"{go.folder.name} taken away"))
            if replaced:
                go.folder.mkdir()

    tally, rows = go(Engine(does))
    assert isinstance(tally.error, ResultError)
    assert "was removed or replaced during the run" in tally.error.what
    assert len(rows) < len(CELLS)


def test_the_live_table_says_what_runs_and_when_it_ends():
    console = Console(force_terminal=True, width=120, record=True)
    live = screen.Live(console)
    from orchestrator.system.slots import Lease

    ordered = [Planned(cell, Verdict.READY) for cell in CELLS]
    with progress.Progress.running(live, ordered, lambda cell: 60.0, 2):
        live.started(CELLS[0], Lease((), (0,), 1))
        live.event(CELLS[0], Epoch(event="epoch", epoch=1, epochs=3, loss=0.25))
        assert 170 < live.left <= 180
        console.print(live.table())
    text = console.export_text()
    assert "pytorch/rnn/cpu" in text
    assert "1/3" in text
    assert "0.250" in text
    assert "0 of 6 cells, likely done" in text


def test_status_tells_from_files_what_runs_and_what_is_done(go):
    from orchestrator.run import status

    seen: list[status.Status] = []

    def does(task: Task) -> Outcome | None:
        if task.cell == CELLS[5]:
            seen.append(status.read(go.folder))
        return Outcome(Status.FAILED, "exit code 1") if task.cell == CELLS[0] else None

    go(Engine(does))
    (now,) = seen
    assert [cell["cell"] for cell in now.cells] == [CELLS[5].id]
    assert [run["cells"] for run in now.runs] == [6]
    assert now.done == {"ok": 4, "failed": 1}
    console = Console(width=120, record=True)
    status.show(now, console)
    assert f"{CELLS[5].id} #1" in console.export_text()
    forget(go.folder, CELLS[:1], "failed")
    after = status.read(go.folder)
    assert (after.runs, after.cells, after.done) == ((), (), {"ok": 5})
    go(Engine(lambda task: Outcome(Status.OOM, "out of memory")))
    assert status.read(go.folder).done == {"ok": 5, "oom": 1}
