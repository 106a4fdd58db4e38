"""Installations of others against ours and each other: what they are compared with, and which cause comes first."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.agreeing import checks_of
from orchestrator.cli.main import main
from orchestrator.compare import comparison, own
from orchestrator.compare.comparison import Compared, Verdict
from orchestrator.results.files import read_results, table_of, write_results
from orchestrator.results.paths import ResultsFolder
from tests.unit.compare.test_audit import in_time

MEASURED = Path("docs/results/2026-11-25-cpu.parquet")
TOLD = {
    "module": "torch", "version": "2.13.0", "cuda": None, "cudnn": None, "onednn": True, "blas": "mkl", "threads": 2,
    "cores": 2, "instructions": "AVX2", "cards": 0, "architectures": [], "switches": [], "machine_cards": 0,
    "packages": {"torch": "2.13.0", "numpy": "2.3.5"}, "variables": {},
}  # fmt: skip
H200 = {"gpu": "h200", "gpu_name": "NVIDIA H200", "platform": "cuda13", "cell": "pytorch/rnn/cuda13/h200", "n_gpus": 1}


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    rows = read_results(MEASURED).to_pylist()
    return next(row for row in rows if (row["library"], row["workload"]) == ("pytorch", "rnn"))


def theirs(row: dict[str, Any], name: str = "mine", seconds: float = 0, **told: Any) -> dict[str, Any]:
    """The same as an installation's, by default twice as slow."""
    return {
        **in_time(row, seconds or 2 * row["seconds"]),
        "cell": "pytorch/rnn/own",
        "platform": "own",
        "image": name,
        "run": f"{name}{seconds}",
        "engine": "process",
        "installation": json.dumps({**TOLD, **told}),
    }


def four(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Four rounds, as many as a verdict needs, without a drift, and with the row's time as their median."""
    return [
        {
            **in_time(row, share * row["seconds"]),
            "repeat": n,
            "key": f"{row['key']}-{n}",
            "run": f"{row['run']}-{n}",
            "started": row["started"] + timedelta(hours=n),
        }
        for n, share in enumerate((0.999, 1.002, 0.998, 1.001))
    ]


def compared(row: dict[str, Any], *baseline: dict[str, Any], cards: tuple[str, ...] = (), **source: Any) -> Compared:
    """Four rounds of an installation against four of each row of a baseline."""
    return judged(four(row), [each for theirs in baseline for each in four(theirs)], cards, **source)


def judged(
    rows: list[dict[str, Any]], baseline: list[dict[str, Any]], cards: tuple[str, ...] = (), **source: Any
) -> Compared:
    sources = [own.source_of("ours", table_of(baseline), **source)]
    (found,) = comparison.verify(table_of(rows), own.baselines(sources, cards), 0.1)
    return found


# --- Causes ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("told", "first"),
    [
        ({"onednn": False}, "no oneDNN: torch was built without it"),
        ({"threads": 1, "variables": {"OMP_NUM_THREADS": "1"}}, "1 thread on 2 cores: OMP_NUM_THREADS=1"),
        ({"onednn": False, "threads": 1}, "no oneDNN"),
        ({"blas": "open"}, "another BLAS: open, the baseline mkl"),
        ({"switches": ["anomaly detection"]}, "switched on: anomaly detection"),
        (
            {"variables": {"ATEN_CPU_CAPABILITY": "default"}, "instructions": "DEFAULT"},
            "PyTorch's own kernels use older",
        ),
        ({"instructions": "NO AVX"}, "no vector instructions"),
        ({"machine_cards": 1}, "a CPU-only build, although the machine has a GPU"),
        ({"machine_cards": 1, "cuda": "13.0"}, "built for CUDA 13.0, but it sees no GPU: the driver is too old"),
        (
            {"machine_cards": 1, "cuda": "13.0", "no_card_because": "RuntimeError: driver 535 is too old"},
            "built for CUDA 13.0, but it sees no GPU: RuntimeError: driver 535 is too old",
        ),
        ({"variables": {"JAX_DISABLE_JIT": "1"}}, "nothing is compiled: JAX_DISABLE_JIT=1"),
    ],
)
def test_what_an_installation_lacks_is_the_first_cause(ours, told, first):
    found = compared(theirs(ours, **told), ours)
    assert found.verdict is Verdict.SLOWER
    assert found.reasons[0].startswith(first)


def test_a_single_round_tells_nothing_and_yet_what_is_lacking(ours):
    found = judged([theirs(ours, onednn=False)], [ours])
    assert found.verdict is Verdict.UNSURE
    few, lacking = found.reasons
    assert few == "it takes at least 4 rounds to tell: 3 more here, 3 more of the baseline"
    assert lacking.startswith("no oneDNN")


def test_an_installation_that_lacks_nothing_has_no_such_cause(ours):
    assert compared(theirs(ours), ours).reasons == ()


@pytest.mark.parametrize("told", ["nonsense", "[1]", '{"packages": [1], "threads": "x", "switches": 3}', "[" * 100_000])
def test_what_a_file_of_others_says_of_an_installation_may_be_anything(ours, told):
    row = {**theirs(ours), "installation": told}
    assert compared(row, ours).verdict is Verdict.SLOWER


@pytest.mark.parametrize(
    ("precision", "told", "cause"),
    [
        ("tf32", {"variables": {"NVIDIA_TF32_OVERRIDE": "0"}}, "TF32 is off: NVIDIA_TF32_OVERRIDE=0"),
        ("fp32", {"variables": {"NVIDIA_TF32_OVERRIDE": "0"}}, None),
        ("fp32", {"variables": {"CUDA_LAUNCH_BLOCKING": "1"}}, "every kernel launch blocks: CUDA_LAUNCH_BLOCKING=1"),
        ("fp32", {"architectures": ["sm_80", "sm_120"]}, "no machine code for this card (sm_90)"),
        ("fp32", {"architectures": ["sm_80", "sm_90"]}, None),
        ("fp32", {"threads": 1, "onednn": False, "blas": "open"}, None),  # of no weight where a GPU computes
    ],
)
def test_causes_on_a_gpu(ours, precision, told, cause):
    facts = {"cudnn": "91002", "cuda": "13.0", "driver": "580.65", "capability": "9.0", "precision": precision}
    card = {**ours, **H200, **facts}
    row = {**theirs(card, cuda="13.0", cards=1, machine_cards=1, **told), "cell": "pytorch/rnn/own/h200"}
    reasons = compared(row, card).reasons
    assert reasons[0].startswith(cause) if cause else reasons == (), reasons


# --- What with ------------------------------------------------------------------------------------------------------
def test_rows_of_another_machine_are_no_baseline_unless_they_were_asked_for(ours):
    elsewhere = {**ours, "cpu": "another"}
    found = compared(theirs(ours), elsewhere)
    assert found.verdict is Verdict.NONE
    assert found.reasons[0].startswith(
        "no row of ours for this machine in ours: make one with rosetta run --only 'pytorch/rnn/*'"
    )
    assert compared(theirs(ours), elsewhere, anywhere=True).verdict is Verdict.SLOWER


def test_the_fastest_of_ours_counts_and_no_installation(ours):
    slow = {**ours, "cell": "pytorch/rnn/cpu-slow", "seconds": 9 * ours["seconds"], "key": "other", "run": "other"}
    found = compared(theirs(ours), slow, ours, theirs(ours, "other", 1.0))
    assert (found.source, found.baseline_rounds) == ("ours: pytorch/rnn/cpu", 4)
    assert found.baseline == pytest.approx(ours["seconds"])


def test_a_round_of_ours_that_ran_again_counts_once_and_another_recipe_is_no_round(ours):
    again = {**in_time(four(ours)[0], 1.01 * ours["seconds"]), "run": "again", "key": "changed"}
    again["started"] += timedelta(days=1)
    another = [{**row, "recipe": "another", "run": f"{row['run']}, another"} for row in four(in_time(ours, 500.0))]
    found = judged(four(theirs(ours)), [again, *another, *four(ours)])
    assert (found.source, found.baseline_rounds) == ("ours: pytorch/rnn/cpu", 4)
    assert found.baseline == pytest.approx(1.0015 * ours["seconds"])


def test_a_build_for_cpus_is_compared_with_the_card_that_it_leaves_idle(ours):
    card = {**ours, **H200, "seconds": ours["seconds"] / 20, "run": "card"}
    found = compared(theirs(ours, machine_cards=1), ours, card, cards=("h200",))
    assert (found.source, round(found.ratio)) == ("ours: pytorch/rnn/cuda13/h200", 40)
    assert found.reasons[0].startswith("a CPU-only build")
    found = compared(theirs(ours, machine_cards=1), cards=("p100",))
    assert found.source.startswith("2018")


def test_2018_stands_beside_full_runs(ours):
    assert list(own.beside(table_of([theirs(ours)]))) == ["2018, pytorch rnn: 31 s on a K80, 16 s on a P100"]
    assert not list(own.beside(table_of([{**theirs(ours), "shortened": True}])))


# --- One installation against another -------------------------------------------------------------------------------
def folder_of(results: Path, *rows: dict[str, Any]) -> None:
    for row in rows:
        folder = ResultsFolder(results).own(row["image"])
        write_results(table_of([row]), folder.result(row["key"], row["cell"]))


def test_yesterday_against_today_is_one_command(ours, tmp_path):
    newer = {"packages": {"torch": "2.14.0", "numpy": "2.4.0", "click": "9"}}
    folder_of(tmp_path, *four(theirs(ours, "yesterday", 100)), *four(theirs(ours, "today", 150, **newer)))
    said = CliRunner().invoke(main, ["diff", "yesterday", "today", "--results", str(tmp_path), "--json"])
    assert said.exit_code == 12
    (found,) = json.loads(said.stdout)
    assert (found["cell"], found["verdict"], found["rounds"]) == ("pytorch/rnn/own (today)", "slower", 4)
    assert found["ratio"] == pytest.approx(1.5)
    assert found["reasons"][0] == "other packages: torch 2.14.0, the baseline 2.13.0; numpy 2.4.0, the baseline 2.3.5"


def test_two_installations_in_one_file_are_not_taken_for_rounds_of_one(ours, tmp_path):
    rows = [ours, theirs(ours, "a", 100), theirs(ours, "b", 300)]
    every = comparison.verify(table_of(rows), comparison.of_results(table_of(rows), "there"), 0.1)
    assert {(one.cell, one.seconds, one.baseline) for one in every} == {
        ("pytorch/rnn/cpu", ours["seconds"], ours["seconds"]),
        ("pytorch/rnn/own (a)", 100, 100),
        ("pytorch/rnn/own (b)", 300, 300),
    }


def test_of_several_installations_in_the_baseline_none_is_taken(ours):
    rows = table_of([theirs(ours, "a", 100), theirs(ours, "b", 300)])
    (found,) = comparison.verify(table_of([theirs(ours, "c", 100)]), comparison.of_results(rows, "there"), 0.1)
    assert found.reasons == ("of several installations in the baseline: pytorch/rnn/own (a), pytorch/rnn/own (b)",)


def test_each_installation_has_a_column_by_its_name_and_is_not_ranked_with_ours(ours, tmp_path):
    ours = {**ours, "proof": "parity of this script and image, run 1", "checks": checks_of(ours["workload"])}
    chainer = {**in_time(ours, 1000.0), "library": "chainer", "cell": "chainer/rnn/cpu", "run": "chainer"}
    rows = [ours, chainer, theirs(ours, "nightly", 50), theirs(ours, "conda", 60)]
    write_results(table_of([each for row in rows for each in four(row)]), tmp_path / "rows.parquet")
    said = CliRunner().invoke(main, ["table", str(tmp_path / "rows.parquet"), "--markdown"])
    lines = said.stdout.splitlines()
    heading = next(line for line in lines if "own:" in line)
    pytorch = next(line for line in lines[lines.index(heading) :] if line.startswith("| PyTorch"))
    assert heading.startswith("| | CPU | own: conda | own: nightly |")
    cells = [cell.strip() for cell in pytorch.split("|")]
    assert cells[2].startswith("**")  # the faster of ours, although both of the others took less time
    assert (cells[3].startswith("60 s"), cells[4].startswith("50 s")) == (True, True)
