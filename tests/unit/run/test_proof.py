"""Before a card's first timed cell its image is proved there, once; with an engine that does as it is told."""

import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Outcome, Status
from orchestrator.cli.cells import set_aside
from orchestrator.engines.output import success
from orchestrator.engines.protocol import Task
from orchestrator.plan import verdicts
from orchestrator.results.claims import Claims
from orchestrator.results.files import read_results, write_row
from orchestrator.results.paths import ResultsFolder
from orchestrator.run import proof, proof_files, running, scheduling, screen
from orchestrator.run.context import Settings
from orchestrator.system import file_locks
from orchestrator.system.host import Device, Host, together
from orchestrator.system.signals import Interruption
from tests.unit.run.test_running import Engine, document

CARD = {"name": "NVIDIA H200", "uuid": "GPU-1", "driver": "580.65"}
HOST = Host((Device("NVIDIA H200", "GPU-1", capability=(9, 0)),), (580, 65))
CELL = Cell("pytorch", "rnn", "cuda13", "h200", data="synthetic", epochs=1, samples=64)
CELLS = [CELL, replace(CELL, repeat=1), replace(CELL, precision="amp-bf16")]
GOOD = {"scores": 1e-7, "loss": 1e-7, "parameters": 1e-7, "updates": 1e-5}


def answer(cell: Cell, driver: str, errors: dict[str, float]) -> Outcome:
    """What a real card would answer."""
    said = document(cell)
    environment = said.environment.model_validate(
        {**said.environment.model_dump(), "gpus": [{**CARD, "driver": driver}]}
    )
    facts = {"platform": cell.platform, "n_gpus": 1, "precision": cell.precision, "environment": environment}
    if cell.gpu == "none":
        facts |= {"n_gpus": 0, "environment": said.environment}
    steps = {"steps": 5, "samples_tested": 64, "epoch_losses": []}
    proving = {"parity": errors, "metric": "parity", "quality": 1.0, **steps} if cell.parity else {}
    return success(said.model_copy(update={**facts, **proving}), "said")


@pytest.fixture
def go(tmp_path, monkeypatch):
    """Run the cells on a machine; the cells that the engine ran, and the rows by repeat and precision."""
    monkeypatch.setenv("ROSETTA_LOCKS", str(tmp_path / "locks"))

    def go(cells=CELLS, host=HOST, errors=GOOD, driver="580.65", does=None, digest="", **settings):
        engine = Engine(
            lambda task: replace(
                (does(task) if does else None) or answer(task.cell, driver, errors), image_digest=digest
            )
        )
        engine.machine_code = lambda image: None
        engine.prepare = lambda wanted, say: {image.tag: digest for image in wanted}
        planned = verdicts.plan_cells(cells, engine, tmp_path, host)
        with (tmp_path / "shown").open("w") as file:
            running.run(planned, engine, Settings(tmp_path, **settings), host, screen.Lines(Console(file=file)))
        rows = read_results(ResultsFolder(tmp_path).merged).to_pylist()
        timed = {(row["repeat"], row["precision"]): row for row in rows if row["parity"] is None}
        return engine.ran, timed

    go.folder = tmp_path
    return go


def test_an_image_is_proved_once_on_a_card_whatever_the_repeat_and_precision(go):
    ran, rows = go()
    assert [(cell.parity, cell.precision) for cell in ran if cell.parity] == [(True, "fp32")]
    assert ran[0] == proof.proving(CELL)
    assert {row["status"] for row in rows.values()} == {"ok"}
    (proved,) = ResultsFolder(go.folder).parity.results()
    (row,) = read_results(proved[1]).to_pylist()
    assert {each["proof"] for each in rows.values()} == {
        f"parity on this card, run {row['run']}, {when}" for when in ("just before", "less than a day before")
    }
    again, _ = go([*CELLS, replace(CELL, repeat=2)])
    assert again == [replace(CELL, repeat=2)]


ON_CPU = Cell("pytorch", "rnn", data="synthetic", epochs=1, samples=64)


FULL = [
    Cell(library, "rnn", data="synthetic", epochs=3, samples=24960, repeat=repeat)
    for repeat in (0, 1)
    for library in ("pytorch", "jax", "mxnet")
]


def test_on_a_cpu_all_proofs_are_made_before_the_first_timed_cell_and_their_load_fades(go, monkeypatch):
    monkeypatch.setattr(scheduling, "FADES", 1.5)
    ends: dict[Cell, float] = {}
    begins: dict[Cell, float] = {}

    def does(task: Task) -> None:
        begins[task.cell] = time.monotonic()
        threading.Event().wait(0.1)
        ends[task.cell] = time.monotonic()

    ran, rows = go(FULL, does=does, proof=True, jobs=2)
    assert sorted(map(str, ran[:3])) == sorted(str(proof.proving(cell)) for cell in FULL[:3])
    assert sorted(map(FULL.index, ran[3:])) == list(range(6))
    quiet = min(begins[cell] for cell in FULL) - max(ends[proof.proving(cell)] for cell in FULL)
    assert quiet >= 1.5
    assert (go.folder / "shown").read_text().count("timing on the CPU starts in") == 1
    assert all(row["proof"].endswith(", less than a day before") for row in rows.values())


def test_what_is_proved_keeps_nobody_waiting(go, monkeypatch):
    go([replace(cell, epochs=1) for cell in FULL[:3]], proof=True)
    monkeypatch.setattr(scheduling, "FADES", 1e9)
    ran, _ = go(FULL, proof=True, jobs=2)
    assert sorted(map(FULL.index, ran)) == list(range(6))


def test_a_full_length_cell_on_a_cpu_whose_proof_fails_is_not_timed(go, monkeypatch):
    monkeypatch.setattr(scheduling, "FADES", 0.0)
    ran, rows = go(FULL, errors={**GOOD, "scores": 0.5}, proof=True)
    assert sorted(map(str, ran)) == sorted(str(proof.proving(cell)) for cell in FULL[:3])
    assert {row["status"] for row in rows.values()} == {"failed"}
    lost = Outcome(Status.TIMEOUT, "not finished after 3,600 s")
    cells = [replace(cell, repeat=cell.repeat + 2) for cell in FULL]
    set_aside(cells, go.folder, "failed", proof=True)
    ran, rows = go(cells, does=lambda task: lost if task.cell.parity else None, proof=True)
    assert [cell.parity for cell in ran] == [True] * 3, "what failed for a passing reason is not tried twice in a run"


@pytest.mark.parametrize(("workload", "variant"), [("densenet121", "resized-crop"), ("resnet50", "pretrained")])
def test_a_variant_that_parity_can_not_tell_from_the_reference_has_its_proof(workload, variant):
    cell = Cell("pytorch", workload)
    assert proof.proving(replace(cell, variant=variant)) == proof.proving(cell)
    assert proof.proving(replace(cell, variant="tuned")) != proof.proving(cell)


@pytest.mark.parametrize("where", ["host", "folder"])
def test_who_waits_for_anothers_proof_ends_when_the_run_is_interrupted(where, tmp_path, monkeypatch):
    monkeypatch.setenv("ROSETTA_LOCKS", str(tmp_path / "locks"))
    engine = Engine(lambda task: answer(task.cell, "580.65", GOOD))
    engine.machine_code = lambda image: None
    planned = verdicts.plan_cells([CELL], engine, tmp_path, HOST)
    known = SimpleNamespace(engine=engine, host=HOST, settings=Settings(tmp_path), builder=SimpleNamespace(digests={}))
    wanted = proof_files.wanted(proof.proving(CELL), planned[0], known)
    places = {"host": file_locks.host_folder(), "folder": Claims(tmp_path).folder}  # that another host shares
    other = file_locks.take(places[where] / f"proof-{wanted.key}.lock")
    interruption = Interruption()
    threading.Timer(1, lambda: setattr(interruption, "came", True)).start()
    with (tmp_path / "shown").open("w") as file:
        lines = screen.Lines(Console(file=file))
        tally = running.run(planned, engine, Settings(tmp_path), HOST, lines, interruption)
    assert other.is_locked  # to the end: nobody has waited for it
    other.release()
    assert (tally.interrupted, engine.ran) == (True, [])


def test_on_a_cpu_a_proof_that_is_there_is_named_and_none_is_made_unless_asked_for(go):
    ran, rows = go([ON_CPU])
    assert (ran, rows[0, "fp32"]["proof"]) == ([ON_CPU], None)
    ran, rows = go([replace(ON_CPU, repeat=1)], proof=True)
    assert ran == [proof.proving(ON_CPU), replace(ON_CPU, repeat=1)]
    assert rows[1, "fp32"]["proof"].startswith("parity of this script and image, run ")
    ran, rows = go([replace(ON_CPU, repeat=2)])
    assert ran == [replace(ON_CPU, repeat=2)]
    assert rows[2, "fp32"]["proof"].endswith(", less than a day before")


@pytest.mark.parametrize(
    ("changes", "asked", "needed"),
    [
        ({"data": "real"}, None, True),
        ({"data": "real", "samples": 5000}, None, False),
        ({"data": "real", "epochs": 1}, None, False),
        ({"data": "synthetic"}, None, False),
        ({"data": "real"}, False, False),
        ({"data": "synthetic"}, True, True),
        ({"data": "real", "parity": True}, True, False),
    ],
)
def test_on_a_cpu_what_may_be_ranked_is_proved_first_unless_somebody_decides_otherwise(changes, asked, needed):
    planned = SimpleNamespace(cell=Cell("pytorch", "rnn", **changes))
    active = SimpleNamespace(settings=Settings(Path(), proof=asked), host=HOST)
    assert proof.is_needed(planned, active) is needed


def test_on_a_cpu_what_has_failed_parity_is_not_timed_if_that_is_asked_and_else_not_ranked(go):
    bad = {**GOOD, "scores": 0.5}
    ran, rows = go([ON_CPU], errors=bad, proof=True)
    assert ran == [proof.proving(ON_CPU)]
    assert rows[0, "fp32"]["reason"].startswith("not proved of this script and image, so not timed")
    _, rows = go([replace(ON_CPU, repeat=1)])
    assert (rows[1, "fp32"]["status"], rows[1, "fp32"]["proof"]) == ("ok", None)


def test_what_is_not_proved_is_not_timed_and_says_why(go):
    ran, rows = go(errors={**GOOD, "scores": 0.5})
    assert [cell.parity for cell in ran] == [True]
    assert {row["status"] for row in rows.values()} == {"failed"}
    reason = "not proved on this card, so not timed: not the same model: scores differ by 0.5"
    assert all(row["reason"].startswith(reason) for row in rows.values())
    ran, rows = go(errors={**GOOD, "scores": 0.5})
    assert ran == []  # that the model differs is kept; the cells are still ready
    assert {row["status"] for row in rows.values()} == {"failed"}
    assert all(row["reason"].endswith("; 'rosetta run --rerun failed' tries again") for row in rows.values())


def test_a_proof_that_ran_on_the_cpu_is_none(go):
    refusal = Outcome(Status.FAILED, "exit code 1: the cell was given GPU-1 but nothing of it used the card")
    ran, rows = go([CELL], does=lambda task: refusal)
    assert [cell.parity for cell in ran] == [True]
    assert "nothing of it used the card" in rows[0, "fp32"]["reason"]


def test_cells_without_gpu_and_comparisons_need_none(go):
    cells = [replace(CELL, platform="cpu", gpu="none"), proof.proving(CELL)]
    ran, _ = go([cells[0]], does=lambda task: success(document(task.cell), "said"))
    assert ran == cells[:1]
    ran, _ = go([cells[1]])
    assert ran == cells[1:]


def test_on_a_machine_that_is_only_imagined_nothing_can_be_proved(go):
    card = Device("NVIDIA H200", "GPU-pretended-0", capability=(9, 0))
    ran, rows = go([CELL], Host((card,), (580, 65), imagined=True))
    assert ran == [CELL]
    assert rows[0, "fp32"]["proof"] is None


# --- What is kept ---------------------------------------------------------------------------------------------------
NEWER = replace(HOST, driver=(590, 1))
TIMED_OUT = Outcome(Status.TIMEOUT, "not finished after 3,600 s")


def proofs(go, end: str = ".parquet") -> list[Path]:
    """What lies among the comparisons with the reference and ends so."""
    return sorted(path for path in (go.folder / "parity" / "cells").rglob(f"*{end}"))


def again(count: int) -> Cell:
    """A cell that has the same proof and has not run."""
    return replace(CELL, repeat=count)


def test_each_driver_has_its_proof_and_machines_that_share_a_folder_keep_theirs(go):
    machines = [(HOST, "580.65"), (NEWER, "590.1")] * 3
    ran = [go([again(n)], host, driver=driver)[0] for n, (host, driver) in enumerate(machines)]
    assert [[cell.parity for cell in cells] for cells in ran] == [[True, False]] * 2 + [[False]] * 4
    assert {read_results(path)["driver"].to_pylist()[0] for path in proofs(go)} == {"580.65", "590.1"}
    assert proofs(go, ".superseded") == []


@pytest.mark.parametrize(
    "outcome", [TIMED_OUT, Outcome(Status.OOM, "killed"), Outcome(Status.FAILED, "the card fell off the bus")]
)
def test_what_says_nothing_of_the_model_is_tried_again_by_the_next_run_and_not_in_this_one(go, outcome):
    ran, rows = go([CELL, again(1)], does=lambda task: outcome if task.cell.parity else None)
    assert [cell.parity for cell in ran] == [True]
    reason = f"not proved on this card, so not timed: {outcome.reason}; the next 'rosetta run' tries again"
    assert [row["reason"] for row in rows.values()] == [reason] * 2
    (kept,) = proofs(go)
    (row,) = read_results(kept).to_pylist()
    assert (kept.name, row["status"], row["driver"]) == ("h200.passing.parquet", outcome.status, "580.65")
    ran, rows = go([CELL, again(1)])
    assert [cell.parity for cell in ran] == [True, False, False]
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert [path.name for path in proofs(go)] == ["h200.parquet"]


def test_a_proof_is_not_bound_by_the_time_of_a_cell(go):
    tasks = []
    go([CELL], does=tasks.append, deadline=1.0)
    assert [(task.cell.parity, task.deadline) for task in tasks] == [(True, proof.LONGEST), (False, 1.0)]


@pytest.mark.parametrize("what", ["failed", "all", "pytorch/*"])
def test_rerun_has_a_model_that_differed_compared_again(go, what):
    go([CELL], errors={**GOOD, "scores": 0.5})
    set_aside([CELL], go.folder, what)
    ran, rows = go([CELL])
    assert ([cell.parity for cell in ran], rows[0, "fp32"]["status"]) == ([True, False], "ok")


def test_rerun_of_all_proves_again_what_is_proved_and_leaves_what_needs_no_proof(go):
    go([CELL])
    set_aside([CELL], go.folder, "failed")
    assert proofs(go, ".superseded") == []
    set_aside([CELL], go.folder, "all")
    assert [cell.parity for cell in go([CELL])[0]] == [True, False]
    go([ON_CPU], proof=True)
    set_aside([ON_CPU], go.folder, "all")
    assert go([ON_CPU], proof=True)[0] == [ON_CPU]
    set_aside([ON_CPU], go.folder, "all", proof=True)
    assert go([ON_CPU], proof=True)[0] == [proof.proving(ON_CPU), ON_CPU]


# --- Several nodes --------------------------------------------------------------------------------------------------
OTHER = Device("NVIDIA L40S", "GPU-9", capability=(8, 9))


def nodes(*drivers: tuple[int, ...]) -> Host:
    """A cluster with an H200 behind each driver, and an older driver where another card is."""
    devices = [replace(HOST.devices[0], uuid=f"GPU-{n}") for n in range(len(drivers))]
    return together([*map(Host, [(each,) for each in devices], drivers), Host((OTHER,), (525, 1))])


def test_on_several_nodes_it_is_the_driver_of_those_with_the_card_that_counts(go):
    go([CELL], nodes((580, 65), (580, 65)))
    assert go([again(1)], nodes((580, 65)))[0] == [again(1)]
    assert go([again(2)])[0] == [again(2)]
    ran, _ = go([again(3)], nodes((590, 1)), driver="590.1")
    assert [cell.parity for cell in ran] == [True, False]


def test_where_nodes_have_several_drivers_no_proof_is_reused_and_none_counts_for_another(go):
    both = nodes((580, 65), (590, 1))
    go([CELL])
    ran, rows = go([again(1)], both)
    assert [cell.parity for cell in ran] == [True, False]
    assert rows[1, "fp32"]["proof"].startswith("parity on this card, run ")
    assert go([again(2)])[0] == [again(2)]  # each driver's proof lies where a single machine finds it
    elsewhere = answer(again(3), "590.1", GOOD)
    ran, rows = go([again(3)], both, does=lambda task: None if task.cell.parity else elsewhere)
    assert (rows[3, "fp32"]["status"], rows[3, "fp32"]["proof"]) == ("ok", None)


# --- What is believed -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "change",
    [
        {"key": "0" * 16},
        {"image": "another"},
        {"image_digest": "sha256:" + "0" * 64},
        {"recipe": "0" * 16},
        {"engine": "ray"},
        {"driver": None},
        {"driver": "pretended"},
        {"host": "here (pretended GPUs)"},
        {"gpu_name": "pretended NVIDIA H200"},
        {"run": "\x1b[2Jrun"},
        {"status": "incompatible"},
        {"status": "failed"},
        {"status": "quality"},
        {"parity": "{}", "status": "quality"},
        {"parity": None},
    ],
    ids=str,
)
def test_a_row_that_is_no_proof_of_this_cell_is_set_aside(go, change):
    go([CELL], digest="sha256:here")
    (path,) = proofs(go)
    (row,) = read_results(path).to_pylist()
    write_row(row, path)
    assert go([again(1)], digest="sha256:here")[0] == [again(1)]
    write_row({**row, **change}, path)
    ran, rows = go([again(2)], digest="sha256:here")
    assert [cell.parity for cell in ran] == [True, False]
    assert rows[2, "fp32"]["status"] == "ok"
    assert len(proofs(go, ".superseded")) == 1


@pytest.mark.parametrize("what", ["folder", "link to itself", "nothing in it"])
def test_what_is_no_file_of_results_is_set_aside(go, what):
    go([CELL])
    (path,) = proofs(go)
    path.unlink()
    {"folder": path.mkdir, "link to itself": lambda: path.symlink_to(path), "nothing in it": path.touch}[what]()
    ran, rows = go([again(1)])
    assert ([cell.parity for cell in ran], rows[1, "fp32"]["status"]) == ([True, False], "ok")
    assert len(proofs(go, ".superseded")) == 1


def test_an_image_that_is_built_anew_is_proved_anew(go):
    ran = [go([again(n)], digest=f"sha256:{digit}")[0] for n, digit in enumerate("abab")]
    assert [[cell.parity for cell in cells] for cells in ran] == [[True, False]] * 2 + [[False]] * 2


@pytest.mark.parametrize(("driver", "counts"), [("580.65", True), ("590.1", False)])
def test_what_rosetta_parity_has_left_counts_and_stays(go, driver, counts):
    go([CELL])
    (path,) = proofs(go)
    (row,) = read_results(path).to_pylist()
    path.unlink()
    (planned,) = verdicts.plan_cells([proof.proving(CELL)], engine_without_code(), go.folder / "parity", HOST)
    left = ResultsFolder(go.folder).parity.result(planned.key, CELL.id)
    write_row({**row, "key": planned.key, "driver": driver}, left)
    ran, _ = go([again(1)])
    assert [cell.parity for cell in ran] == ([False] if counts else [True, False])
    assert left.is_file()
    assert proofs(go, ".superseded") == []


def engine_without_code() -> Engine:
    """For plans."""
    engine = Engine()
    engine.machine_code = lambda image: None
    return engine


def test_an_image_of_somebody_elses_brings_its_script_and_is_proved_by_its_digest(tmp_path):
    builder = SimpleNamespace(digests={})
    active = SimpleNamespace(settings=Settings(tmp_path), host=HOST, engine=Engine(), builder=builder)
    theirs = Cell("a-library-that-is-not-here", "rnn", data="synthetic")
    image = SimpleNamespace(tag="theirs")
    names = {
        proof_files.wanted(theirs, SimpleNamespace(image=image, columns={}, digest=f"sha256:{digit * 64}"), active).path
        for digit in "ab"
    }
    assert len(names) == 2
