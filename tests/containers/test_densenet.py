"""DenseNet-121 in real containers: it learns on real X-rays, and several workers are as one."""

import json
import os
import subprocess
import sys
from math import log
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest

from harness.crew import bytes_of_ring, loaders_per_worker
from harness.weights import given
from orchestrator.cell.parameters import parameters
from tests.unit.workloads.saved_by_pytorch import in_a_row, published, saved

pytestmark = [pytest.mark.container, pytest.mark.alone]  # on one core its workers mostly wait for each other

# One for each way of having workers: processes with the library's own exchange, replicas in one process, and processes
# that exchange through the harness; how often each is compared, since TensorFlow takes minutes to trace its graph.
# A tuned script holds the images on the device, and crops them there.
SIDES = {
    "pytorch/densenet121/cpu/x2": 2,
    "pytorch/densenet121/cpu/x2/tuned": 1,
    "tensorflow/densenet121/cpu/x2": 1,
    "chainer/densenet121/cpu/x2": 2,
}
# For what says nothing of the exchange: cells by what they start with. The profile 'workers', and a variant.
QUICK = {
    "pytorch/densenet121/cpu/x2": None,
    "pytorch/densenet121/cpu/x2/resized-crop": None,
    "chainer/densenet121/cpu/x2": "densenet121-a639ec97.pth",
}
MATRIX = """
axes: {library: [chainer, pytorch], workload: [densenet121], n_gpus: [2], variant: [reference, resized-crop]}
include: [{epochs: 2, samples: 8}]
"""


def rosetta(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess:
    command = [str(Path(sys.executable).parent / "rosetta"), *words]
    return subprocess.run(command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("cell", "start"), QUICK.items())
def test_two_workers_learn_on_real_images_and_every_finding_has_its_auc(cell, start, engine, real_data, tmp_path):
    env = {"ROSETTA_DATA_MIRROR": str(real_data), "ROSETTA_CACHE": str(tmp_path / "cache")}
    assert rosetta("data", "fetch", "chestxray14", cwd=tmp_path, **env).returncode == 0
    if start:
        put_weights_of_torchvision(tmp_path / "cache" / "data" / "chestxray14" / "pretrained" / start)
    (tmp_path / "matrix.yaml").write_text(MATRIX)
    done = rosetta("run", "--only", cell, cwd=tmp_path, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = pq.read_table(tmp_path / "results" / "merged.parquet").to_pylist()
    assert (row["cell"], row["pretrained"], row["start"]) == (cell, start, "imagenet" if start else "random")
    assert (row["epoch_losses"][0] == pytest.approx(log(2), abs=1e-6)) == (start is not None)
    assert (row["status"], row["workers"], row["n_gpus"], row["shortened"]) == ("ok", 2, 0, True)
    assert row["epoch_losses"][-1] < row["epoch_losses"][0]
    findings = json.loads(row["findings"])
    assert len(findings) == 14
    assert any(value is None for value in findings.values())
    there = [value for value in findings.values() if value is not None]
    assert row["quality"] == pytest.approx(sum(there) / len(there))


def put_weights_of_torchvision(path: Path) -> None:
    """A file like torchvision's, with which every logit is the classifier's bias, 0, and the first loss log 2."""
    pairs = given("densenet121", SimpleNamespace(**parameters()["densenet121"]))[:-2]
    state = published((array, value * (not array.name.startswith("norm5"))) for array, value in pairs)
    path.parent.mkdir()
    path.write_bytes(in_a_row(saved(state)))


def test_eight_workers_have_as_many_loaders_each_and_room_for_their_batches(engine, real_data, tmp_path):
    """In the library that is quickest at it; unit tests of the harness have the rule, which is the same for all."""
    env = {"ROSETTA_DATA_MIRROR": str(real_data), "ROSETTA_CACHE": str(tmp_path / "cache")}
    assert rosetta("data", "fetch", "chestxray14", cwd=tmp_path, **env).returncode == 0
    words = ["--profile", "workers", "--only", "pytorch/densenet121/cpu/x8"]
    done = rosetta("run", *words, cwd=tmp_path, **env)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = pq.read_table(tmp_path / "results" / "merged.parquet").to_pylist()
    assert (row["status"], row["workers"], row["samples"]) == ("ok", 8, 8)
    assert row["container_memory"] > row["peak_memory"]
    (log,) = (tmp_path / "results" / "cells").rglob("*.log")
    (told,) = [json.loads(line) for line in log.read_text().splitlines() if line.startswith('{"event": "loaders"')]
    each = loaders_per_worker(8, row["cores"])
    assert (told["loaders_per_worker"], told["loaders"]) == (each, 8 * each)
    assert told["bytes_of_batch"] == 224 * 224
    assert told["bytes_shared"] == 8 * bytes_of_ring((1, 224, 224), each)


@pytest.mark.parametrize(("cell", "repeats"), SIDES.items())
def test_two_workers_are_as_one_on_the_joined_batch_and_end_equal(cell, repeats, engine, tmp_path):
    done = rosetta("parity", "--profile", "workers", "--only", cell, "--repeats", str(repeats), cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = pq.read_table(tmp_path / "results" / "parity" / "merged.parquet").to_pylist()
    assert len(found) == repeats
    assert len({row["parity"] for row in found}) == 1
    errors = json.loads(found[0]["parity"])
    assert (found[0]["workers"], errors["workers"]) == (2, 0)
    assert errors["parameters"] <= 1e-3
