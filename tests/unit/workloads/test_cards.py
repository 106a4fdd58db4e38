"""A cell proves that it used its GPUs, and says of them what it saw: whole runs of the harness, on pretended cards."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from orchestrator.cell import contract
from orchestrator.errors import ResultError
from tests.pretended_driver import hook, tiny_cell
from tests.pretended_driver.machines import MACHINES, STRANGERS, build_library, gpu, machine, sliced

MIB = 2**20


@pytest.fixture
def run(tmp_path):
    """Run the tiny library on a machine; returns the finished process and its document, if there is one."""

    def run(told, uses, *words, workload="rnn", wanted="all", platform="cuda12", how="train_step", **more):
        shutil.rmtree(tmp_path / "results", ignore_errors=True)
        (tmp_path / "results").mkdir()
        variables = {
            **os.environ,
            "PYTHONPATH": str(tiny_cell.workloads(Path(tempfile.mkdtemp(dir=tmp_path)), uses, how)),
            "ROSETTA_PLATFORM": platform,
            "ROSETTA_RESULTS": str(tmp_path / "results"),
            "LD_LIBRARY_PATH": str(tmp_path),
            "PRETENDED_MACHINE": str(tmp_path / "machine"),
            "PRETENDED_USE": str(tmp_path / "use"),
            **more,
        }
        if told:
            build_library(told["driver"], tmp_path)
            (tmp_path / "machine").write_text(hook.described(told, wanted))
        command = [sys.executable, "-m", "harness", "tiny", workload, "--data", "synthetic", "--samples", "64", *words]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        written = list((tmp_path / "results").glob("*.json"))
        return done, contract.parse(written[0].read_bytes(), "here") if written else None

    return run


def said(done):
    return done.stderr.strip().splitlines()[-1]


def test_a_cell_that_uses_its_card_says_what_it_saw(run):
    done, document = run(MACHINES["busy"], {0: [(0, 300 * MIB)], 2: [(0, 200 * MIB)]}, "--epochs", "3")
    assert done.returncode == 0, done.stderr
    (card,) = document.gpus
    strangers = sum(process["memory"] for process in STRANGERS)
    assert (card.name, card.uuid, card.driver) == ("NVIDIA A10G", "GPU-pretended-a10g-0", "535.104.05")
    assert (card.capability, card.memory, card.power_limit, card.mig) == ([8, 6], 24 * 2**30, 300, "off")
    assert (card.used, card.memory_growth, card.new_processes) == (True, 300 * MIB, 1)
    assert (card.others, card.others_memory, card.memory_at_start) == (2, strangers, strangers)
    assert card.peak_memory == strangers + 500 * MIB
    assert card.energy > 0
    for state in (card.start, card.middle, card.end):
        assert (state.graphics_clock, state.memory_clock, state.temperature, state.throttled) == (1320, 6251, 40, [])
    assert document.versions.device == "pretended:0"
    assert document.effective_precision == "fp32"  # the entry point has told NVIDIA's libraries
    assert "kernels" not in document.phases  # there is no folder to keep them in
    assert document.environment.gpus[0].uuid == card.uuid


@pytest.mark.parametrize("name", ["k80", "gtx-1080-ti", "t4", "a100-slices", "b200", "mixed"])
def test_on_old_and_new_machines_a_use_is_proved(run, name):
    done, document = run(MACHINES[name], {0: [(0, 60 * MIB)]}, "--epochs", "1")
    assert done.returncode == 0, done.stderr
    first = MACHINES[name]["gpus"][0]
    assert document.gpus[0].uuid == first.get("slices", [first])[0]["uuid"]
    assert document.gpus[0].used


def test_a_cell_that_does_not_use_its_card_is_refused_with_the_reason(run):
    done, document = run(MACHINES["h100"], {1: [(0, 300 * MIB)]}, "--epochs", "2")  # too late: after the first step
    assert (done.returncode, document) == (1, None)
    assert said(done) == (
        "the cell was given GPU-pretended-h100-0 but nothing of it used the card: "
        "memory on it grew by 0 MB after the first step. The framework fell back to the CPU."
    )


@pytest.mark.parametrize(("size", "code"), [(31 * MIB, 1), (33 * MIB, 0)])
def test_without_a_process_list_memory_decides(run, size, code):
    done, document = run(MACHINES["hidden-processes"], {0: [(0, size)]}, "--epochs", "1")
    assert done.returncode == code
    assert code or (document.gpus[0].new_processes, document.gpus[0].memory_growth) == (0, size)


def test_a_process_on_the_list_is_proof_without_memory(run):
    _, document = run(machine("580.65", "13.0", gpu("gh200", memory=None)), {0: [(0, 0)]}, "--epochs", "1")
    (card,) = document.gpus
    assert (card.used, card.new_processes, card.memory_growth, card.peak_memory) == (True, 1, None, None)


def test_one_of_several_cards_is_enough_for_one(run):
    done, document = run(MACHINES["v100"], {0: [(2, 300 * MIB)]}, "--epochs", "1")
    assert done.returncode == 0
    assert [card.uuid for card in document.gpus] == ["GPU-pretended-v100-2"]
    assert document.environment.gpus[0].uuid == "GPU-pretended-v100-2"


SECOND = "GPU-pretended-v100-1"


@pytest.mark.parametrize(
    "told",
    [SECOND, "1", "GPU-pretended-v100-1,GPU-pretended-v100-3", "1,0", "1,none,2", "01,²", f"{SECOND},2", f"1,{SECOND}"],
)
def test_where_the_driver_shows_all_cards_those_count_that_cuda_is_told_to_use(run, told):
    done, document = run(MACHINES["v100"], {0: [(0, 300 * MIB)]}, "--epochs", "1", CUDA_VISIBLE_DEVICES=told)
    assert done.returncode == 0, done.stderr
    assert [card.uuid for card in document.gpus] == [SECOND]
    assert document.environment.gpus[0].uuid == SECOND


@pytest.mark.parametrize(("told", "code"), [(SECOND, 1), (None, 0)])
def test_what_others_begin_on_their_cards_is_no_use_by_a_cell_that_is_told_its_own(run, told, code):
    variables = {"CUDA_VISIBLE_DEVICES": told} if told else {}
    uses = {0: [("GPU-pretended-v100-0", 300 * MIB)]}
    done, document = run(MACHINES["v100"], uses, "--epochs", "1", **variables)
    assert (done.returncode, document is None) == (code, bool(code))
    assert code == 0 or said(done).startswith(f"the cell was given {SECOND} but nothing of it used the card")


@pytest.mark.parametrize(
    "told",
    [
        "",
        "-1",
        "9",
        "GPU-other",
        "GPU-pretended",
        "none",
        "v100",
        f" ,{SECOND}",
        "²",
        "\u0661",
        "9" * 5000,
        "1,1",
        f"{SECOND},{SECOND}",
    ],
)
def test_what_cuda_is_told_may_name_no_card(run, told):
    done, document = run(MACHINES["v100"], {}, "--epochs", "1", CUDA_VISIBLE_DEVICES=told)
    assert document is None
    assert "the cell is to use 1 GPU, but the driver shows 0 GPUs" in said(done)


DIVIDED = machine("535.104.05", "12.2", sliced("a100-40gb", ["3g.20gb", "2g.10gb"]), gpu("a100-40gb", 1))
SLICE = "MIG-pretended-a100-40gb-0-{}"


@pytest.mark.parametrize(
    ("told", "used"),
    [
        ("0", SLICE.format(0)),
        ("1", "GPU-pretended-a100-40gb-1"),
        (SLICE.format(1), SLICE.format(1)),
        (f"{SLICE.format(1)},{SLICE.format(0)}", SLICE.format(1)),
        ("MIG-GPU-pretended-a100-40gb-0/2/0", SLICE.format(1)),
    ],
)
def test_of_a_divided_gpu_cuda_shows_one_slice_and_numbers_are_those_of_gpus(run, told, used):
    uses = {0: [(0, 300 * MIB), (SLICE.format(0), 300 * MIB)]}
    done, document = run(DIVIDED, uses, "--epochs", "1", CUDA_VISIBLE_DEVICES=told)
    assert done.returncode == 0, done.stderr
    assert [card.uuid for card in document.gpus] == [used]


@pytest.mark.parametrize("told", ["2", f"{SLICE.format(0)},{SLICE.format(0)}", "MIG-GPU-pretended-a100-40gb-0/9/0"])
def test_what_names_no_slice_shows_none(run, told):
    done, document = run(DIVIDED, {}, "--epochs", "1", CUDA_VISIBLE_DEVICES=told)
    assert (document, said(done)) == (None, "the cell is to use 1 GPU, but the driver shows 0 GPUs")


@pytest.mark.parametrize("how", ["train_step", "train_epoch"])
def test_each_of_several_cards_must_be_used(run, how):
    words = ("--epochs", "1", "--gpus", "2")
    done, document = run(MACHINES["a100"], {0: [(1, 300 * MIB)]}, *words, workload="densenet121", how=how)
    assert document is None
    assert "nothing of it used GPU-pretended-a100-0: memory on it grew by 0 MB" in said(done)
    assert said(done).endswith("The framework used 1 of 2.")


def test_a_slice_is_a_card(run):
    done, document = run(
        MACHINES["a100-slices"], {0: [(0, 300 * MIB)]}, "--epochs", "1", wanted="MIG-pretended-a100-40gb-0-1"
    )
    assert done.returncode == 0, done.stderr
    (card,) = document.gpus
    assert (card.name, card.mig, card.memory) == ("NVIDIA A100-SXM4-40GB MIG 2g.10gb", "slice", 10 * 2**30)
    assert (card.capability, card.energy, card.power_limit) == ([8, 0], None, 400)


def test_libraries_that_train_by_the_epoch_prove_it_after_the_first(run):
    done, document = run(MACHINES["t4"], {0: [(0, 300 * MIB)]}, "--epochs", "2", how="train_epoch")
    assert done.returncode == 0, done.stderr
    assert document.gpus[0].memory_growth == 300 * MIB


def test_throttling_is_told(run):
    _, document = run(MACHINES["throttled"], {0: [(0, 300 * MIB)]}, "--epochs", "2")
    assert document.gpus[0].middle.throttled == ["power cap", "thermal, by the hardware"]


@pytest.mark.parametrize(
    ("told", "words", "reason"),
    [
        (None, (), "the cell is to use 1 GPU, but no driver: libnvidia-ml.so.1 not found"),
        (MACHINES["t4"], ("--gpus", "2"), "the cell is to use 2 GPUs, but the driver shows 1 GPU"),
    ],
)
def test_without_enough_cards_nothing_is_begun(run, told, words, reason):
    done, document = run(told, {}, *words, workload="densenet121")
    assert (done.returncode, document, done.stdout) == (1, None, "")
    assert said(done) == reason


def test_a_cell_without_gpus_asks_for_nothing(run):
    done, document = run(MACHINES["a10g"], {}, "--epochs", "1", platform="cpu")
    assert done.returncode == 0, done.stderr
    assert (document.gpus, document.versions.device, document.n_gpus) == (None, None, 0)


def test_what_a_container_says_of_its_cards_is_not_trusted(run):
    _, document = run(MACHINES["t4"], {0: [(0, 300 * MIB)]}, "--epochs", "1")
    good = json.loads(document.model_dump_json())
    assert contract.parse(json.dumps(good).encode(), "here") == document
    for place, wrong in {
        "used": False, "mig": "divided", "capability": [8], "energy": -1, "name": "x" * 501, "peak_memory": 2**63,
        "extra": 1, "start": {}, "others": "2",
    }.items():  # fmt: skip
        bad = json.dumps({**good, "gpus": [{**good["gpus"][0], place: wrong}]}).encode()
        with pytest.raises(ResultError, match=f"gpus.0.{place}"):
            contract.parse(bad, "here")
    with pytest.raises(ResultError, match="gpus"):
        contract.parse(json.dumps({**good, "gpus": good["gpus"] * 65}).encode(), "here")


@pytest.mark.parametrize(("workload", "words"), [("resnet50", ()), ("rnn", ("--parity",))])
def test_inference_and_parity_are_to_prove_it_too(run, workload, words):
    done, document = run(MACHINES["t4"], {}, *words, workload=workload)
    assert (done.returncode, document) == (1, None)
    assert said(done).endswith("The framework fell back to the CPU.")


def test_kernels_are_compiled_before_the_clock_once_for_each_kind_of_cell_and_not_for_a_proof(run, tmp_path):
    kept = tmp_path / "kernels"
    kept.mkdir()
    uses = {0: [(0, 300 * MIB)]}
    done, proof = run(MACHINES["t4"], uses, "--parity", CUDA_CACHE_PATH=str(kept))
    assert "kernels" not in proof.phases, done.stderr
    assert not list(kept.iterdir())
    done, first = run(MACHINES["t4"], uses, "--epochs", "1", CUDA_CACHE_PATH=str(kept))
    assert first.phases["kernels"] != 0, done.stderr
    assert len(list(kept.iterdir())) == 1
    assert done.stdout.count('"event": "result"') == 1  # the run that fills says nothing
    _, second = run(MACHINES["t4"], uses, "--epochs", "2", CUDA_CACHE_PATH=str(kept))  # the same, but longer
    assert second.phases["kernels"] == 0
    _, other = run(MACHINES["t4"], uses, "--epochs", "1", workload="cnn", CUDA_CACHE_PATH=str(kept))
    assert other.phases["kernels"] != 0
    assert len(list(kept.iterdir())) == 2


def test_a_run_that_fails_fills_nothing_and_the_cell_says_why(run, tmp_path):
    kept = tmp_path / "kernels"
    kept.mkdir()
    done, document = run(MACHINES["t4"], {}, "--epochs", "1", CUDA_CACHE_PATH=str(kept))
    assert (done.returncode, document, list(kept.iterdir())) == (1, None, [])
    assert said(done).endswith("The framework fell back to the CPU.")
