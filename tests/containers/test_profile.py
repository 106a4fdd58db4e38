"""`rosetta profile` as a user types it, with PyTorch's own profiler in its image."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.results.profiles import read_profile, read_trace

pytestmark = pytest.mark.container

CELL = "pytorch/rnn/cpu"
LENGTH = ("--data", "synthetic", "--samples", "64")


def rosetta(*words: str, cwd: Path) -> subprocess.CompletedProcess:
    command = [str(Path(sys.executable).parent / "rosetta"), *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_a_step_of_pytorch_is_divided_among_classes_and_its_trace_has_the_operators(engine, cells_of, tmp_path):
    done = rosetta("profile", CELL, *LENGTH, "--steps", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    results = tmp_path / "results"
    made = read_profile(results, CELL)
    classes = dict(made.classes)
    assert sum(classes.values()) == pytest.approx(made.step_seconds)
    assert all(seconds >= 0 for seconds in classes.values())
    assert max(classes, key=classes.get) == "kernels"
    assert made.profiler.startswith("torch.profiler of PyTorch 2.")
    events = json.loads(gzip.decompress(read_trace(results, CELL)))["traceEvents"]
    names = {event["name"] for event in events if event.get("ph") == "X"}
    assert {"rosetta input", "rosetta step", "aten::embedding", "aten::gru", "aten::addmm", "aten::copy_"} <= names
    assert {"aten::embedding_dense_backward", "Optimizer.step#Adam.step"} <= names
    assert not list(results.rglob("*.parquet"))
    assert cells_of(results) == []
