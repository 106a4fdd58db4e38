"""The command as a user types it: help, exit codes, errors without traceback."""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.engines.client import connect
from orchestrator.errors import EngineError

ROSETTA = str(Path(sys.executable).parent / "rosetta")


def rosetta(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [ROSETTA, *words], cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "words", [[], ["plan"], ["build"], ["run"], ["merge"], ["table"], ["status"], ["data"], ["data", "fetch"]]
)
def test_every_command_has_help_with_an_example(words, tmp_path):
    done = rosetta(*words, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "rosetta " in done.stdout.replace("Usage: rosetta", "", 1) or words == ["data"]


def test_plan_as_json_has_a_verdict_for_every_cell_and_a_reason_where_it_is_no(tmp_path):
    done = rosetta("plan", "--json", "--engine", "process", cwd=tmp_path)
    cells = json.loads(done.stdout)
    assert len(cells) > 800
    assert {cell["verdict"] for cell in cells} <= {"ready", "incompatible"}
    assert all(cell["reason"] for cell in cells if cell["verdict"] == "incompatible")
    by_id = {cell["id"]: cell for cell in cells}
    assert "no machine code for sm_70 in mxnet-2018 1.5.0" in by_id["mxnet-2018/rnn/cuda8/v100"]["reason"]
    assert by_id["knet/rnn/cpu"]["reason"].startswith("unverified: ")


def test_plan_names_ready_cells(tmp_path):
    done = rosetta("plan", "--only", "pytorch/rnn/cpu", "--engine", "process", cwd=tmp_path)
    assert done.stdout.splitlines()[0].split() == ["pytorch/rnn/cpu", "ready"]


MACHINE = {
    "driver": "580.65",
    "gpus": [
        {"name": "NVIDIA GeForce RTX 4090", "uuid": "GPU-pretended-0", "capability": [8, 9]},
        {"name": "NVIDIA GeForce RTX 4090", "uuid": "GPU-pretended-1", "capability": [8, 9]},
        {"name": "NVIDIA GeForce RTX 2080 Ti", "uuid": "GPU-pretended-2", "capability": [7, 5]},
    ],
}


def test_plan_ends_with_the_cards_that_were_found_and_what_each_can_run(tmp_path):
    (tmp_path / "host.json").write_text(json.dumps(MACHINE))
    words = ["plan", "--engine", "process", "--only", "{jax,pytorch}/rnn/*/{rtx-4090,rtx-2080-ti}"]
    done = rosetta(*words, cwd=tmp_path, ROSETTA_HOST="host.json")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("  ready") == 8
    assert "unverified: " in done.stdout
    assert "found 2 × NVIDIA GeForce RTX 4090 (rtx-4090), driver 580.65: 4 cells on cuda12, cuda13\n" in done.stdout
    assert "found 1 × NVIDIA GeForce RTX 2080 Ti (rtx-2080-ti), driver 580.65: 4 cells on cuda12" in done.stdout


def test_a_run_that_asks_for_gpus_says_in_three_lines_what_is_in_the_way(tmp_path):
    done = rosetta("run", "--engine", "process", "--only", "jax/*/cuda13/h200", cwd=tmp_path)
    notes = [line for line in done.stderr.splitlines() if line.startswith("note: ")]
    assert len(notes) == 3
    assert notes[0].startswith("note: GPU cells were requested, but none can run: no GPU: ")
    assert notes[2] == "note: run 'rosetta doctor' to see what is missing and how to fix it"


def test_plan_groups_what_cannot_run_by_reason(tmp_path):
    words = ["plan", "--only", "{jax,pytorch}/*/cuda8/*", "--engine", "process"]
    done = rosetta(*words, cwd=tmp_path)
    assert "32 cells can't run; --all lists them one by one:\n" in done.stdout
    assert "     16  PyTorch 2 began with CUDA 11.7: pytorch\n" in done.stdout
    assert "found no GPU: " in done.stdout
    every = rosetta(*words, "--all", cwd=tmp_path).stdout
    assert every.count("  incompatible  ") == 32


@pytest.mark.parametrize(
    ("words", "env", "code", "said"),
    [
        (["plan", "--matrix", "none.yaml"], {}, 3, "can't be read"),
        (["plan", "--profile", "quik"], {}, 3, "Did you mean 'quick'"),
        (["plan", "--only", "no-such-library/*"], {}, 4, "None of the"),
        (["run", "--engine", "docker"], {"DOCKER_HOST": "unix:///nonexistent.sock"}, 5, "No Docker engine answers"),
        (
            ["run", "--engine", "process", "--only", "mxnet-2018/*/cuda8/v100"],
            {},
            4,
            "no machine code for sm_70 in mxnet-2018 1.5.0",
        ),
        (
            ["build", "--engine", "process", "--only", "mxnet/*/cuda12/v100"],
            {},
            4,
            "MXNet's last build, 1.9.1 of August 2022, is for CUDA 11.7",
        ),
        (
            ["run", "--engine", "process", "--only", "jax/*/cuda13/h200"],
            {"ROSETTA_HOST": ""},
            11,
            "Run 'rosetta doctor'",
        ),
        (["plan", "--only", "pytorch/rnn/cuda12/a10g"], {"ROSETTA_HOST": ""}, 4, "GPUs: no GPU:"),
        *(
            (["plan", "--only", cells], {"ROSETTA_HOST": ""}, 4, "GPUs: no GPU:")
            for cells in ("pytorch/rnn/cuda12/a100", "*/a100", "pytorch/*/*/rtx-4090", "*/thor-x1")
        ),
        (["plan", "--only", "{1..100000}"], {}, 4, "expand to more than 1,000 patterns"),
        (["run", "--engine", "process", "--only", "knet/{cnn,rnn}/cpu"], {}, 4, "Use --unverified"),
        (["table"], {}, 8, "merged.parquet"),
        (["profile"], {}, 2, "Name a cell: 'rosetta profile pytorch/rnn/cpu'"),
        (["profile", "pytorch/rnn/cpu", "--engine", "ray"], {}, 4, "not on a cluster"),
        (["profile", "pytorch/rnn/cpu", "--steps", "101"], {}, 2, "--steps can be at most 100"),
        (["profile", "pytorch/rn/cpu", "--engine", "process"], {}, 4, "Cell ids look like: pytorch/rnn/cpu"),
        (["status"], {}, 8, "results does not exist"),
        (["run", "--engine", "process", "--only", "pytorch/rnn/cpu", "--rerun", "jax/*"], {}, 4, "matches none"),
        (["plan", "--only", "*/v100"], {"ROSETTA_HOST": "none.json"}, 11, "describes no machine"),
        (["data", "fetch", "mnist"], {}, 7, "mnist"),
        (["plan", "--epochs", "0"], {}, 2, "epochs"),
    ],
)
def test_errors_have_exit_codes_of_their_own_and_no_traceback(words, env, code, said, tmp_path):
    done = rosetta(*words, cwd=tmp_path, **env)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b[" not in done.stderr


def test_cells_without_a_gpu_ask_for_none(tmp_path):
    done = rosetta("plan", "--engine", "process", "--only", "pytorch/rnn/cpu", cwd=tmp_path, ROSETTA_HOST="none.json")
    assert (done.returncode, "GPU" in done.stdout + done.stderr) == (0, False)


def test_the_command_starts_without_heavy_imports(tmp_path):
    heavy = "pandas pyarrow docker jinja2 rich pydantic requests yaml numpy"
    code = f"import sys; from orchestrator.cli import main; print([m for m in '{heavy}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_engine_out_of_reach_is_one_error_and_leaves_nothing_open(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(EngineError, match="There is no such socket"):
        connect()
    gc.collect()  # what was left open would be warned of here, and warnings are errors
