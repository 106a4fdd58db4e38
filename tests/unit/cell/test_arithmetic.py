"""Runs that were not what they say, found out by arithmetic alone."""

import json

import pytest

from benchmarks.agreeing import agreeing
from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Outcome, Status
from orchestrator.cell.parameters import parameters
from orchestrator.compare import published_2018
from orchestrator.results import checking
from orchestrator.results.files import read_results
from orchestrator.system.checkout import ROOT
from tests.unit.report.test_tables import ran
from tests.unit.results.test_results import V100, document, row

HONEST = {"steps_watched": 8, "steps_moved": 8, "scores": 1e-7, "dropout": None}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"steps": 1}, "1 steps of 64 are not 3 epochs of 24,960 samples"),
        ({"steps": 585}, "585 steps of 64"),
        ({"samples_tested": 64}, "tested on 64 samples instead of 24,960"),
        ({"epoch_seconds": [100.0, 100.25, 80.25]}, "its time, 300.5 s, differs from the sum of its epochs, 280.5 s"),
        ({"epoch_seconds": [150.0, 150.5]}, "2 times of 3 epochs"),
        ({"epoch_losses": [0.6, 0.5]}, "2 losses of 3 epochs"),
        ({"epoch_losses": [0.6, 0.6, 0.6]}, "the loss is 0.6 in every epoch: nothing was trained"),
        ({"epoch_qualities": [0.8, 0.857]}, "2 qualities of 3 epochs"),
        ({"epoch_qualities": [0.8, 0.85, 0.9]}, "the quality is 0.857, but 0.9 after the last epoch"),
        ({"epoch_losses": [0.6, 0.5, -0.1]}, "a loss is negative or not finite"),
        ({"metric": "kittens"}, "its quality is told as kittens, not as accuracy"),
        ({"seconds_warm": 700.0}, "700 s warm, but its first step and epochs make 300.75 s"),
        ({"seconds_warm": 1e-9}, "1e-09 s warm, but its first step and epochs make 300.75 s"),
        ({"phases": {"train": 301.0, "first_step": 50.0}}, "300.75 s warm, but its first step and epochs make 250.7"),
        ({"seconds": 300.3, "epoch_seconds": [100.0, 100.25, 100.25]}, "differs from the sum of its epochs, 300.5 s"),
        ({"checks": {**HONEST, "steps_moved": 0}}, "its weights moved in 0 of 8 steps"),
        ({"checks": {**HONEST, "steps_watched": 0, "steps_moved": 0}}, "0 of 1,170 steps were watched"),
        ({"checks": {**HONEST, "steps_watched": 2, "steps_moved": 2}}, "2 of 1,170 steps were watched"),
        (
            {
                "checks": {**HONEST, "steps_watched": 3, "steps_moved": 3},
                "phases": {"train": 301.0, "first_step": 50.0},
                "seconds_warm": 250.5 * 1170 / 1169,
            },
            "3 of 1,170 steps were watched",
        ),
        ({"checks": {**HONEST, "steps_watched": 10**6, "steps_moved": 10**6}}, "1000000 of 1,170 steps were watched"),
        (
            {"phases": {"train": 301.0, "validate": 600.0}, "seconds_warm": 0.75},
            "validation took 600 s, all epochs 300.5 s",
        ),
        ({"phases": {"train": 301.0, "validate": 6.0}}, "rnn has no validation, but 6 s of it"),
        ({"phases": {"train": 301.0, "first_step": 300.4}}, "the first step took 300.4 s, the first epoch 100 s"),
        ({"phases": {"train": 0.001}}, "its epochs add up to 300.5 s, the phase of training to 0.001 s"),
        ({"checks": {**HONEST, "steps_moved": 9}}, "its weights moved in 9 of 8 steps"),
        ({"checks": {**HONEST, "dropout": [0.9]}}, "dropout was counted at the rates [0.9], not ()"),
        ({"checks": {**HONEST, "scores": 0.5}}, "its scores are not those of its final weights: 0.5 of the largest"),
        ({"precision": "amp-bf16", "checks": {**HONEST, "scores": 0.5}}, "instead of 'fp32'"),
        ({"seconds": 1e300}, "seconds"),
    ],
)
def test_a_document_that_does_not_add_up_is_a_failed_row_with_its_reason(changes, said):
    made = row(**{**({"epoch_seconds": [1e8] * 3} if "seconds" in changes else {}), **changes})
    assert (made["status"], made["seconds"]) == ("failed", None)
    assert made["reason"].startswith("the result is ")
    assert said in made["reason"]


def test_nothing_takes_longer_than_its_container_lived():
    late = Outcome(Status.OK, document=document(), wall_seconds=0.9)
    assert "more than the 0.9 s its container ran" in row(outcome=late)["reason"]


def test_time_to_build_ahead_of_the_first_step_may_count():
    phases = {"build": 79.0, "train": 222.0}
    assert row(epoch_seconds=[70.0, 75.0, 76.5], phases=phases, seconds=300.5, seconds_warm=227.25)["status"] == "ok"
    assert row(epoch_seconds=[70.0, 75.0, 66.5], phases=phases, seconds=300.5, seconds_warm=None)["status"] == "failed"


@pytest.mark.parametrize(
    ("rates", "status"),
    [
        ([0.23, 0.27, 0.51], "ok"),
        ([0.0, 0.0, 0.0], "failed"),
        ([0.4, 0.1, 0.655], "failed"),
        ([0.25, 0.25, 0.5, 0.9], "failed"),
        ([0.25, 0.25, 0.75], "failed"),
        ([0.25, 0.25], "failed"),
        ([], "failed"),
        (None, "failed"),
    ],
)
def test_a_cnn_that_counted_other_rates_of_dropout_is_no_result(rates, status):
    length = {"workload": "cnn", "epochs": 10, "samples": 49984, "quality": 0.78}
    made = row(Cell("pytorch", "cnn"), **length, checks={**HONEST, "dropout": rates})
    assert made["status"] == status
    assert ("dropout was counted at the rates" in made["reason"]) == (status == "failed")


@pytest.mark.parametrize("rates", [["x", 0.25, 0.5], [None] * 3, [[0.25]] * 3, {"a": 1}, "abc", True, False])
def test_a_file_whose_rates_of_dropout_are_no_numbers_is_refused(rates):
    known = ran("pytorch", 99, 0.78, "cuda9", "p100", workload="cnn", run="ab" * 16)
    checks = json.dumps({**HONEST, "dropout": rates})
    assert "dropout was counted at the rates" in str(
        checking.wrong({**agreeing(known, quality=0.78), "checks": checks})
    )


def test_half_precision_may_skip_steps_and_errs_more():
    cell = Cell("pytorch", "rnn", "cuda9", gpu="v100", precision="amp-fp16")
    found = {**V100, "precision": "amp-fp16", "checks": {**HONEST, "steps_moved": 4, "scores": 0.01}}
    assert row(cell, **found)["status"] == "ok"
    assert row(cell, **{**found, "checks": {**HONEST, "steps_moved": 3}})["status"] == "failed"


@pytest.mark.parametrize(
    ("workload", "samples", "tested", "right"),
    [
        ("resnet50", 1280, 8, True),
        ("resnet50", 1280, 1, False),
        ("resnet50", 1280, 10**6, False),
        ("densenet121", 87296, 17198, True),
        ("densenet121", 87296, 1, False),
        ("densenet121", 64, 7, True),
        ("densenet121", 64, 10**9, False),
    ],
)
def test_features_and_x_rays_are_tested_on_as_many_as_there_are(workload, samples, tested, right):
    length = {"epochs": parameters()[workload].get("epochs", 1), "samples": samples}
    known = ran("pytorch", 99, 0.8, "cuda9", "p100", workload=workload, run="ab" * 16, **length)
    said = checking.wrong({**agreeing(known), "samples_tested": tested})
    assert ("tested on" not in (said or "")) == right, said


def test_shortened_and_synthetic_runs_test_on_their_part():
    assert row(Cell("pytorch", "rnn", samples=1280), samples=1280)["status"] == "ok"
    assert row(Cell("pytorch", "rnn", data="synthetic", samples=6400), samples=6400, data="synthetic")["quality"]
    wrong = row(Cell("pytorch", "rnn", samples=1280), samples=1280, samples_tested=640)
    assert "tested on 640 samples instead of 1,280" in wrong["reason"]


def test_every_row_that_was_published_adds_up():
    files = sorted((ROOT / "docs").rglob("*.parquet"))
    rows = [row for path in files for row in read_results(path).to_pylist()]
    assert len(rows) > 140
    assert {row["library"] for row in rows} > set(published_2018.LIBRARIES) - {"knet", "keras-r"}
    assert [checking.wrong(row) for row in rows] == [None] * len(rows)


def test_the_reason_is_one_that_a_program_can_read():
    assert json.dumps(row(steps=1)["reason"]).isascii()
