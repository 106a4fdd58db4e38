"""Before a card's first timed cell its image is proved there, once; with an engine that does as it is told."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Outcome, Status
from orchestrator.engines.output import success
from orchestrator.plan import verdicts
from orchestrator.results.files import read_results
from orchestrator.results.paths import ResultsFolder
from orchestrator.run import proof, running, screen
from orchestrator.run.context import Settings
from orchestrator.system.host import Device, Host
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

    def go(cells=CELLS, host=HOST, errors=GOOD, driver="580.65", does=None, **settings):
        engine = Engine(lambda task: (does(task) if does else None) or answer(task.cell, driver, errors))
        engine.machine_code = lambda image: None
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


def test_another_driver_asks_for_another_proof(go):
    go([CELL])
    ran, _ = go([replace(CELL, repeat=1)], replace(HOST, driver=(590, 1)), driver="590.1")
    assert [cell.parity for cell in ran] == [True, False]
    assert len(list((go.folder / "parity").rglob("*.superseded"))) == 1


def test_what_is_not_proved_is_not_timed_and_says_why(go):
    ran, rows = go(errors={**GOOD, "scores": 0.5})
    assert [cell.parity for cell in ran] == [True]
    assert {row["status"] for row in rows.values()} == {"failed"}
    reason = "not proved on this card, so not timed: not the same model: scores differ by 0.5"
    assert all(row["reason"].startswith(reason) for row in rows.values())
    ran, rows = go(errors={**GOOD, "scores": 0.5})
    assert ran == []  # the failed proof is kept; the cells are still ready
    assert {row["status"] for row in rows.values()} == {"failed"}


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


def test_an_image_of_somebody_elses_brings_its_script_and_is_proved_by_its_digest(tmp_path):
    active = SimpleNamespace(settings=Settings(tmp_path), host=HOST, engine=Engine(lambda task: success({})))
    theirs = Cell("a-library-that-is-not-here", "rnn", data="synthetic")
    names = {
        proof.place_of(theirs, SimpleNamespace(image=object(), digest=f"sha256:{digit * 64}"), active)[0]
        for digit in "ab"
    }
    assert len(names) == 2
