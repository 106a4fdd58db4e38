"""What a campaign consists of on a machine, how long it takes, and what is left out of it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Outcome, Status
from orchestrator.cli import campaign_steps
from orchestrator.cli.campaign import nothing_to_run
from orchestrator.cli.main import main
from orchestrator.cli.options import Selection
from orchestrator.engines.output import success
from orchestrator.engines.protocol import Task
from orchestrator.plan import campaign
from orchestrator.plan.campaign import STEPS, Kind, Part, Wanted
from orchestrator.plan.verdicts import Planned, Verdict
from orchestrator.report.campaign import named
from orchestrator.results.files import read_results, table_of, write_results
from orchestrator.results.paths import ResultsFolder
from orchestrator.run import opponents
from orchestrator.run.budget import fitted
from orchestrator.run.estimates import COMPARISON, START, Estimate, Estimates
from orchestrator.system.host import Device, Host
from tests.unit.run.test_running import Engine, document

MATRIX = Path("matrix.yaml")
TWO = Host(tuple(Device("NVIDIA H200", f"GPU-pretended-{n}", capability=(9, 0)) for n in range(2)), (580, 65))
MEASURED = Path("docs/results/2026-11-25-cpu.parquet")


def ready(cells, step):
    return [Planned(cell, Verdict.READY, key=str(cell)) for cell in cells]


def parts(host: Host, **wanted) -> dict[str, list[Cell]]:
    found = campaign.parts(MATRIX, host, Wanted(**wanted), list, ready)
    return {part.step.name: [one.cell for one in part.planned] for part in found}


def test_on_two_cards_every_step_has_its_cells_and_none_runs_twice():
    found = parts(TWO)
    assert list(found) == [step.name for step in STEPS]
    assert {cell.precision for cell in found["precisions"]} == {"tf32", "amp-bf16"}
    assert {cell.repeat for cell in found["seeds"]} == {1, 2}
    assert {cell.n_gpus for cell in found["scaling"]} == {2}
    assert {cell.platform for cell in found["fp32"]} == {"cuda13"}  # of several that can run it the newest
    assert all(cell.parity and cell.data == "synthetic" for cell in found["parity"])
    every = [cell for cells in found.values() for cell in cells]
    assert len(every) == len(set(every))
    assert not {cell.library for cell in found["others"]} & {cell.library for cell in found["fp32"]}


def test_a_cpu_has_fp32_alone_and_no_scaling():
    for found in (parts(Host()), parts(TWO, cpu=True)):
        assert list(found) == ["doctor", "parity", "fp32", "opponents", "seeds", "others, parity", "others"]
        assert {(cell.platform, cell.precision) for cells in found.values() for cell in cells} == {("cpu", "fp32")}


def test_what_is_wanted_shortens_what_is_measured_and_not_what_is_proved():
    found = parts(Host(), seeds=1, only=["pytorch/rnn/*"], data="synthetic", epochs=1, samples=64)
    assert found["fp32"] == [Cell("pytorch", "rnn", data="synthetic", epochs=1, samples=64)]
    assert found["parity"] == [Cell("pytorch", "rnn", data="synthetic", parity=True)]
    assert "seeds" not in found


def test_an_older_cuda_stands_for_a_newer_one_that_can_not_run_it():
    def plan(cells, step):
        verdict = {"cuda12": Verdict.READY}
        return [Planned(cell, verdict.get(cell.platform, Verdict.INCOMPATIBLE), "no build") for cell in cells]

    found = campaign.parts(MATRIX, TWO, Wanted(only=["jax/rnn/*"]), list, plan)
    assert {one.cell.platform for part in found for one in part.planned} == {"cuda12"}
    assert campaign.impossible(found) == {}


# --- The budget -----------------------------------------------------------------------------------------------------
def cells(step: str, *names: str, verdict: Verdict = Verdict.READY) -> Part:
    planned = [Planned(Cell(name, "rnn"), verdict) for name in names]
    return Part(next(one for one in STEPS if one.name == step), planned)


def test_what_does_not_fit_is_left_out_from_the_end_and_nothing_later_slips_in():
    seconds = {"jax": 10.0, "pytorch": 20.0, "mxnet": 100.0, "cntk": 1.0}
    given = [
        Part(STEPS[0]),
        cells("fp32", "mxnet", "pytorch", "jax"),
        Part(next(s for s in STEPS if s.kind is Kind.OPPONENTS)),
        cells("others", "cntk"),
    ]
    found = fitted(given, 60, lambda one: Estimate(seconds[one.cell.library], ""), lambda part: 5.0)
    assert [one.fits for one in found] == [True, False, False, False]
    assert [one.cell.library for one in found[1].chosen] == ["jax", "pytorch"]
    assert [one.cell.library for one in found[1].left_out] == ["mxnet"]
    assert [one.cell.library for one in found[3].left_out] == ["cntk"]
    assert all(one.fits for one in fitted(given, float("inf"), lambda one: Estimate(1, ""), lambda part: 5.0))


def test_what_is_done_costs_nothing():
    (found,) = fitted([cells("fp32", "jax", verdict=Verdict.DONE)], 0, lambda one: Estimate(9, ""), lambda part: 0)
    assert found.fits
    assert found.seconds == 0
    assert len(found.chosen) == 1


# --- Estimates ------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def published():
    return read_results(MEASURED).drop_columns("started").to_pylist()


def test_every_estimate_says_where_it_comes_from(tmp_path, published):
    estimates = Estimates(tmp_path, published, cores=2)
    of = {
        "published rows of the same library on another CPU": Cell("pytorch", "rnn"),
        "2018's figures on a P100": Cell("pytorch", "cnn", "cuda13", "h200", precision="tf32"),
        "2018's figures on a K80": Cell("pytorch", "rnn", "cuda12", "k80"),
        "2018's figures on a P100, the median of 12 libraries": Cell("jax", "cnn", "cuda13", "h200"),
        "assumed, 5% of the machine's peak rate": Cell("jax", "resnet50"),
        f"assumed, {COMPARISON:.0f} s for each comparison": Cell("jax", "resnet50", parity=True),
    }
    for source, cell in of.items():
        found = estimates.of(cell)
        assert found.source == source
        assert found.seconds > 0


def test_a_shorter_run_takes_its_share(tmp_path, published):
    estimates = Estimates(tmp_path, published)
    card = Cell("pytorch", "cnn", "cuda13", "h200")
    full, half = (estimates.of(Cell(**{**vars(card), "epochs": epochs})).seconds for epochs in (10, 5))
    assert half - START == pytest.approx((full - START) / 2)
    whole, part = (estimates.of(Cell("pytorch", "rnn", epochs=epochs)).seconds for epochs in (3, 1))
    assert part < 0.5 * whole


def test_results_of_this_folder_count_most(tmp_path, published):
    row = next(row for row in published if row["cell"] == "pytorch/rnn/cpu")
    write_results(table_of([row]), ResultsFolder(tmp_path).merged)
    found = Estimates(tmp_path, published).of(Cell("pytorch", "rnn"))
    assert found == Estimate(row["wall_seconds"], "this folder's results")


# --- The command ----------------------------------------------------------------------------------------------------
@pytest.fixture
def card(tmp_path, monkeypatch):
    gpu = {"name": "NVIDIA H200", "uuid": "GPU-pretended-0", "capability": [9, 0]}
    path = tmp_path / "host.json"
    path.write_text(json.dumps({"driver": "580.65", "gpus": [gpu]}))
    monkeypatch.setenv("ROSETTA_HOST", str(path))


def dry(tmp_path, *words: str):
    words = ("campaign", "--dry-run", "--engine", "process", "--results", str(tmp_path / "results"), *words)
    return CliRunner().invoke(main, words)


def test_a_dry_run_on_a_pretended_card_says_what_how_long_and_why(card, tmp_path, monkeypatch):
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "cache"))  # in which there are no X-rays
    said = dry(tmp_path, "--only", "{pytorch,jax}/*", "--budget", "10m")
    assert said.exit_code == 0, said.output
    for text in (
        "1 × NVIDIA H200 (h200), driver 580.65",
        "(2018's figures on a P100)",
        "left out for lack of time",
        "its data is missing: run 'rosetta data fetch chestxray14'",
        "min of 10 min",
    ):
        assert text in said.stdout
    assert not (tmp_path / "results").exists()


def test_a_dry_run_for_programs_has_each_cell(card, tmp_path):
    every = json.loads(dry(tmp_path, "--only", "jax/*", "--json", "--repeats", "2").stdout)
    assert {one["step"] for one in every} >= {"parity", "fp32", "precisions", "seeds"}
    assert {one["seed"] for one in every} == {0, 1}
    assert all(one["seconds"] > 0 and one["source"] for one in every)


def test_a_selection_of_nothing_is_refused(tmp_path):
    said = dry(tmp_path, "--only", "no-such/*")
    assert said.exit_code == 4
    assert "nothing to run here" in said.stderr


def test_an_installation_without_the_machines_cards_is_sent_to_its_cpu():
    assert "--cpu" in nothing_to_run([], cpu_may_do=True).remedy
    assert not nothing_to_run([], cpu_may_do=False).remedy


def test_the_same_cells_on_two_cards_are_told_apart():
    both = [Planned(Cell("jax", "rnn", gpu=gpu), Verdict.READY) for gpu in ("h200", "t4")]
    assert named(both) == "rnn H200: jax; rnn T4: jax"
    assert named(both[:1]) == "rnn: jax"


def test_an_installed_package_says_that_it_has_no_opponents(monkeypatch):
    assert not opponents.unavailable()
    monkeypatch.setattr(opponents, "ROOT", None)
    assert "from a checkout" in opponents.unavailable()


# --- From its first step to its page, with an engine that does as it is told -----------------------------------------
PROVED = {"scores": 1e-6, "loss": 1e-6, "parameters": 1e-6, "updates": 1e-6}


class Obedient(Engine):
    """Ends every cell well, unless told otherwise, and has a machine without a card."""

    version, image_folder = "an engine of the tests", None

    def run(self, task: Task, on_event) -> Outcome:
        self.ran.append(task.cell)
        said = document(task.cell)
        if task.cell.parity:
            said = said.model_copy(update={"parity": PROVED, "metric": "parity", "quality": 1.0, "samples_tested": 64})
        return self.does(task) or success(said, "said")

    def machine(self) -> Host:
        return Host(lacks="no driver")

    def machine_code(self, image) -> None:
        return None


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Makes the campaign of one library's GRU in a folder, with two seeds and without opponents."""
    monkeypatch.setattr(opponents, "ROOT", None)

    def started(engine: Engine) -> campaign_steps.Campaign:
        wanted = Wanted(seeds=2, only=["pytorch/rnn/*"], data="synthetic", epochs=1, samples=64)

        def plan(cells: list[Cell], step) -> list[Planned]:
            return campaign_steps.plan_of(engine, None, tmp_path, step)(cells, Host())

        found = campaign.parts(MATRIX, Host(), wanted, list, plan)
        selection = Selection(None, "full", (), (), (), tmp_path, None, None, False)
        return campaign_steps.Campaign(
            selection, engine, None, Host(), found, Estimates(tmp_path), Console(quiet=True), "rosetta campaign"
        )

    return started


def ends(made: campaign_steps.Campaign, budget: float = 3600) -> tuple[list[dict], str]:
    campaign_steps.carry_out(made, budget)
    campaign_steps.finish(made)
    reports = ResultsFolder(made.folder).reports
    return read_results(reports / "campaign.parquet").to_pylist(), (reports / "campaign.md").read_text()


def test_a_campaign_ends_with_its_rows_and_a_page_and_goes_on_where_it_was(started):
    engine = Obedient()
    rows, page = ends(started(engine))
    assert [cell.parity for cell in engine.ran] == [True, False, False]
    assert sorted((row["repeat"], row["parity"] is None, row["status"]) for row in rows) == [
        (0, False, "ok"), (0, True, "ok"), (1, True, "ok"),
    ]  # fmt: skip
    for text in (
        "| fp32 |",
        "| PyTorch |",
        "same model",
        "an installed package has no benchmarks/",
        "time and losses are those of run",
    ):
        assert text in page
    again, _ = ends(started(engine))
    assert len(engine.ran) == 3
    assert [row["run"] for row in again] == [row["run"] for row in rows]


def test_without_time_nothing_begins_and_what_is_left_out_is_named(started):
    engine = Obedient()
    campaign_steps.carry_out(made := started(engine), 20)  # enough for the doctor
    campaign_steps.finish(made)
    assert engine.ran == []
    assert [told.left_out for told in made.told] == ["", "rnn: pytorch", "rnn: pytorch", "", "rnn seed 1: pytorch"]
    assert not ResultsFolder(made.folder).reports.exists()
    (made := started(engine)).told.clear()
    rows, page = ends(made)
    assert len(rows) == 3
    assert "left out for lack of time" not in page


def test_a_cell_that_fails_ends_nothing_else_and_is_counted(started):
    engine = Obedient(lambda task: Outcome(Status.FAILED, "exit code 1") if task.cell.repeat == 1 else None)
    made = started(engine)
    rows, page = ends(made)
    assert {told.name: (told.done, told.bad) for told in made.told if told.done or told.bad} == {
        "parity": (1, 0), "fp32": (1, 0), "seeds": (0, 1),
    }  # fmt: skip
    assert sorted(row["status"] for row in rows) == ["failed", "ok", "ok"]
    assert "1 of 1 cell did not end ok" in page
