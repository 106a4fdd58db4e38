"""Planted impossibilities are all found, each by its own rule; and the project's own files have none."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from orchestrator.cli.main import main
from orchestrator.compare.audit import audit
from orchestrator.compare.limits import least_seconds
from orchestrator.results.files import read_results, table_of, write_results

MEASURED = Path("docs/results/2026-11-25-cpu.parquet")
CARD = {
    "cell": "pytorch/rnn/cuda13/h200", "platform": "cuda13", "gpu": "h200", "gpu_name": "NVIDIA H200", "n_gpus": 1,
    "driver": "580.65.06", "proof": "parity on this card, run 1",
}  # fmt: skip


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    rows = read_results(MEASURED).to_pylist()
    return next(row for row in rows if (row["library"], row["workload"]) == ("pytorch", "rnn"))


def in_time(row: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The row as if it had taken this long, with all of its other times in proportion."""
    share = seconds / row["seconds"]
    times = {name: value * share for name, value in row.items() if "seconds" in name and isinstance(value, float)}
    return {**row, **times, "epoch_seconds": [epoch * share for epoch in row["epoch_seconds"]]}


def said(*rows: dict[str, Any]) -> list[str]:
    return [finding.what for finding in audit(rows)]


PLANTED: list[tuple[dict[str, Any], str]] = [
        ({"cell": "pytorch/rnn/cuda13/h200"}, "it is named"),
        ({"gpu": "h200", "cell": "pytorch/rnn/cpu/h200"}, "the platform cpu with the GPU h200"),
        ({"n_gpus": 1}, "a CPU's row names a card"),
        ({**CARD, "gpu_name": "Tesla T4"}, "the card is Tesla T4, not a h200"),
        ({**CARD, "gpu": "t4-sm90", "cell": "pytorch/rnn/cuda13/t4-sm90"}, "not a t4-sm90"),
        ({**CARD, "n_gpus": 0}, "a GPU's row used no card"),
        ({**CARD, "driver": "470.57"}, "driver 470.57 can't run cuda13, which needs 580"),
        ({**CARD, "driver": None}, "names no driver"),
        ({**CARD, "driver": "pretended", "gpu_name": "pretended NVIDIA H200"}, "its card is pretended"),
        ({**CARD, "n_gpus": 8}, "8 cards, but 1 worker"),
        ({**CARD, "cuda": "9.0.176"}, "the platform cuda13 with CUDA 9.0.176"),
        ({**CARD, "cuda": "12080"}, "the platform cuda13 with CUDA 12080"),
        ({**CARD, "capability": "3.7"}, "a H200 of capability 3.7, which is 9.0"),
        ({**CARD, "gpu": "k80", "gpu_name": "Tesla K80", "cell": "pytorch/rnn/cuda13/k80"},
         "cuda13 has no machine code for a K80"),
        ({"precision": "amp-bf16", "cell": "pytorch/rnn/cpu/amp-bf16"}, "a CPU's row in amp-bf16"),
        ({**CARD, "effective_precision": "tf32"}, "it was measured in tf32, not in fp32"),
        ({"platform": "own", "cell": "pytorch/rnn/own", "proof": "parity in this installation, run 1"},
         "its installation is unknown"),
        ({"workload": "mnist", "cell": "pytorch/mnist/cpu"}, "there is no workload mnist"),
        ({"metric": "auc", "quality": 0.85001}, "its quality is told as auc, not as accuracy"),
        ({"container_memory": 2**50}, "it held"),
        ({"cpu_used": 40.0}, "it used 4,000 % of its cores"),
        ({"cpu_used": -1.0}, "it used -100 % of its cores"),
        ({"cpu_in_kernel": 1.5}, "the kernel took 150 % of its processor time"),
        ({**CARD, "proof": None}, "its parity was not proved"),
        ({**CARD, "gpu": "v100", "gpu_name": "Tesla V100-SXM2-16GB", "cell": "pytorch/rnn/cuda13/v100/amp-bf16",
          "precision": "amp-bf16"}, "V100 has no amp-bf16"),
        ({"seconds": float("inf")}, "a time is not positive or not finite"),
        ({"seconds": 1.0}, "but its epochs add up to"),
        ({"epoch_seconds": [1.0]}, "1 epochs were timed, but 3 ran"),
        ({"epoch_losses": [0.1]}, "1 losses for 3 epochs"),
        ({"epoch_qualities": [0.8]}, "1 qualities for 3 epochs"),
        ({"epoch_qualities": [0.8, 0.9, 0.1]}, "but 0.1 after the last epoch"),
        ({"upload_seconds": 5.0}, "but its epochs add up to"),
        ({"epoch_losses": [0.1, -0.1, 0.1]}, "a loss is negative"),
        ({"epoch_losses": None}, "a value is missing"),
        ({"steps": 3}, "3 steps of 64 are not 3 epochs"),
        ({"samples": 64 * 1000, "steps": 3000}, "64,000 samples of a set that has"),
        ({"samples": 640, "steps": 30, "shortened": False}, "it is shorter than the published run"),
        ({"quality": 1.2}, "a quality of 1.2"),
        ({"quality": 0.8600001}, "right"),
        ({"quality": 0.5}, "marked ok with accuracy 0.500, outside 0.83–0.88"),
        ({"wall_seconds": 1.0}, "but the container's whole life 1.00 s"),
        ({"first_step_seconds": 1e6}, "its first step took 1,000,000.00 s"),
        ({"memory": 1}, "it held"),
        ({"cpu": None}, "the machine that it ran on is unknown"),
        ({"framework_version": None}, "the version that ran is unknown"),
        ({"started_us": 2, "now_us": 1}, "it starts in the future"),
]  # fmt: skip
"""Changes of a real row, each of which makes it impossible in another way, and what is said of it."""


@pytest.mark.parametrize(("planted", "what"), PLANTED)
def test_each_planted_impossibility_is_found(ours, planted, what):
    found = said({**ours, **planted})
    assert any(what in each for each in found), found


def test_of_all_planted_rows_and_sound_ones_in_one_file_the_planted_ones_alone_are_found(ours):
    def numbered(n: int, planted: dict[str, Any]) -> dict[str, Any]:
        losses = [loss + n / 1e6 for loss in ours["epoch_losses"]]  # or they would be copies of each other
        return {**ours, "epoch_losses": losses, "run": str(n), **planted}

    every = [numbered(n, planted) for n, (planted, _) in enumerate(PLANTED)]
    sound = [numbered(n, {}) for n in range(100, 120)]
    assert len(PLANTED) >= 20
    assert {finding.run for finding in audit([*sound, *every])} == {row["run"] for row in every}


def test_what_is_uploaded_and_compiled_ahead_is_part_of_the_time(ours):
    tuned = {**ours, "seconds": ours["seconds"] + 7.0, "upload_seconds": 2.0, "compile_seconds": 5.0}
    tuned["wall_seconds"] = ours["wall_seconds"] + 7.0
    assert said(tuned) == []
    assert any("but its epochs add up to" in each for each in said({**tuned, "compile_seconds": 4.0}))


def test_a_time_below_the_machines_peak_rate_is_found_on_a_cpu_and_on_a_card(ours):
    assert [each for each in said(in_time(ours, 0.5)) if "peak rate" in each]
    card = {**ours, **CARD}
    least = least_seconds(card)
    assert least is not None
    assert not said(in_time(card, 2 * least))
    (found,) = said(in_time(card, least / 2))
    assert found.endswith("was it in TF32?")
    assert not said(in_time({**card, "precision": "tf32", "cell": f"{card['cell']}/tf32"}, least / 2))


def test_a_copied_row_is_found(ours):
    assert said(ours, {**ours, "repeat": 7, "run": "another"}) == [f"time and losses are those of run {ours['run']}"]


def test_a_copied_row_without_losses_is_found_by_both_of_its_times(ours):
    predicts = {**ours, "epoch_losses": None}
    assert f"both times are those of run {ours['run']}" in said(predicts, {**predicts, "run": "another"})
    assert not any("both times" in each for each in said(predicts, {**predicts, "run": "b", "wall_seconds": 150.0}))


@pytest.mark.parametrize(
    "odd",
    [
        {"gpu": "b300", "gpu_name": "NVIDIA B300", "capability": "10.3", "cell": "pytorch/rnn/cuda13/b300"},
        {"gpu": "h200-1g-18gb", "gpu_name": "NVIDIA H200 MIG 1g.18gb", "cell": "pytorch/rnn/cuda13/h200-1g-18gb"},
        {"n_gpus": 1, "workers": None},
        {"capability": "9.0", "cuda": "13000", "effective_precision": "fp32", "cpu_used": 1.4},
        {"platform": "own", "cell": "pytorch/rnn/own/h200", "cuda": "12.9", "installation": '{"module": "torch"}'},
        {"status": "failed", "seconds": None, "epoch_seconds": None, "quality": None, "driver": None},
    ],
)
def test_honest_rows_of_odd_machines_pass(ours, odd):
    assert said({**ours, **CARD, **odd}) == []


def test_rows_that_claim_nothing_are_left_alone(ours):
    assert not said({**ours, "status": "failed", "seconds": None, "epoch_seconds": None, "quality": None})


def test_the_projects_own_rows_are_sound():
    done = CliRunner().invoke(main, ["audit", "docs/results", "docs/shortened", "docs/busy"])
    assert done.exit_code == 0, done.output
    assert done.stdout.endswith(" rows, 0 findings\n")


def test_a_file_with_an_impossible_row_is_refused(ours, tmp_path):
    write_results(table_of([in_time(ours, 0.1)]), tmp_path / "sent.parquet")
    done = CliRunner().invoke(main, ["audit", str(tmp_path / "sent.parquet"), "--json"])
    assert done.exit_code == 8
    assert any("peak rate" in finding["what"] for finding in json.loads(done.stdout))
    assert "1 of 1 row failed the audit" in done.stderr


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_file_that_can_not_be_read_is_a_finding_beside_sound_ones(ours, tmp_path, words):
    write_results(table_of([ours]), tmp_path / "sound.parquet")
    write_results(table_of([{**ours, "run": "another", "samples": -640}]), tmp_path / "sent.parquet")
    done = CliRunner().invoke(main, ["audit", str(tmp_path), *words])
    assert done.exit_code == 8
    assert "1 refusal failed the audit" in done.stderr
    if words:
        assert [finding["what"].partition(" is ")[2] for finding in json.loads(done.stdout)] == [
            "refused: samples: must be 1 or more."
        ]
    else:
        assert done.stdout == "1 row, 1 finding\n"


def test_nothing_is_no_success(tmp_path):
    done = CliRunner().invoke(main, ["audit", str(tmp_path)])
    assert done.exit_code == 8
    assert "There is nothing to audit." in done.stderr
