"""Cells on GPUs, with a real engine and a pretended driver: what they see of it, and that they prove what they used."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Status
from orchestrator.engines.docker import DockerEngine
from orchestrator.engines.protocol import Task
from orchestrator.system.checkout import ROOT
from tests.pretended_driver import tiny_cell
from tests.pretended_driver.machines import MACHINES, STRANGERS

pytestmark = pytest.mark.container

OLDEST, NEWEST = "python:3.6-slim-bullseye", "python:3.11-slim-bookworm"
MIB = 2**20
ISOLATED = ["--read-only", "--network=none", "--user=10001", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
USES = {
    "uses": {0: [(0, 300 * MIB)], 2: [(0, 200 * MIB)]},
    "uses-both": {0: [(0, 300 * MIB), (1, 300 * MIB)]},
    "falls-back": {},
}
"""What the scripts of our libraries do with their cards."""


def seen(*words: str, image: str = NEWEST) -> dict:
    """What a cell's container sees of the driver; ``words`` are options of docker run."""
    mount = f"--volume={ROOT / 'workloads'}:/workloads:ro"
    command = ["docker", "run", "--rm", *ISOLATED, *words, mount, "--workdir=/workloads", image]
    done = subprocess.run([*command, "python", "-B", "-m", "harness.visible_gpus"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("image", [OLDEST, NEWEST])
def test_a_container_with_all_gpus_sees_the_machine(engine, pretended_machine, image):
    told = pretended_machine("a100")
    found = seen("--gpus=all", image=image)
    assert found["driver"] == told["driver"]
    assert [(gpu["name"], gpu["uuid"]) for gpu in found["gpus"]] == [
        ("NVIDIA A100 80GB PCIe", f"GPU-pretended-a100-{number}") for number in range(2)
    ]


def test_a_container_with_one_gpu_sees_that_one_alone(engine, pretended_machine):
    pretended_machine("v100")
    assert [gpu["uuid"] for gpu in seen("--gpus=device=GPU-pretended-v100-2")["gpus"]] == ["GPU-pretended-v100-2"]
    assert [gpu["uuid"] for gpu in seen("--gpus=device=3")["gpus"]] == ["GPU-pretended-v100-3"]


def test_a_container_with_a_slice_sees_it_behind_its_gpu(engine, pretended_machine):
    pretended_machine("a100-slices")
    found = seen("--gpus=device=MIG-pretended-a100-40gb-0-2")["gpus"]
    assert [(gpu["mig"], gpu["name"]) for gpu in found] == [
        ("divided", "NVIDIA A100-SXM4-40GB"),
        ("slice", "NVIDIA A100-SXM4-40GB MIG 1g.5gb"),
    ]


def test_an_old_driver_and_another_machine_are_seen_as_they_are(engine, pretended_machine):
    for name in ("k80", "mixed", "busy"):
        told = pretended_machine(name)
        found = seen("--gpus=all")
        assert found["driver"] == told["driver"]
        assert [gpu["name"] for gpu in found["gpus"]] == [gpu["name"] for gpu in told["gpus"]]
    assert found["gpus"][0]["processes"] == STRANGERS


def test_a_container_without_gpus_or_without_a_machine_has_no_driver(engine, pretended_machine):
    nothing = {"driver": None, "cuda": None, "gpus": [], "reason": "no driver: libnvidia-ml.so.1 not found"}
    pretended_machine("h100")
    assert seen() == {**nothing, "architecture": os.uname().machine}
    assert seen("--gpus=all", "--env=NVIDIA_VISIBLE_DEVICES=all")["driver"] == MACHINES["h100"]["driver"]


@dataclass(frozen=True)
class Built:
    """An image by its tag, which is all that running a container needs."""

    tag: str


@pytest.fixture(scope="module")
def images(engine, tmp_path_factory):
    """An image of the harness for each library of USES, with NumPy for the Python that is in it."""
    folder = tmp_path_factory.mktemp("images")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        "--target",
        folder / "site",
    ]
    wheel = ["--python-version=3.11", "--only-binary=:all:", "--no-deps", f"numpy=={np.__version__}"]
    subprocess.run([*pip, *wheel], check=True)
    made = {}
    for name, uses in USES.items():
        tiny_cell.workloads(folder / name, uses)
        (folder / "Dockerfile").write_text(
            f"FROM {NEWEST}\nRUN useradd --uid 10001 rosetta && install -d -o rosetta /results && mkdir /data\n"
            f"COPY site /usr/local/lib/python3.11/site-packages\nCOPY {name} /workloads\n"
            "ENV ROSETTA_PLATFORM=cuda12 PYTHONPATH=/workloads PYTHONDONTWRITEBYTECODE=1\n"
            'WORKDIR /workloads\nENTRYPOINT ["python", "-m", "harness"]\n'
        )
        made[name] = Built(f"rosetta-test/{name}:gpus")
        subprocess.run(["docker", "build", "--quiet", "--tag", made[name].tag, folder], check=True, capture_output=True)
    yield made
    subprocess.run(["docker", "image", "rm", *(image.tag for image in made.values())], check=True, capture_output=True)


@pytest.fixture
def outcome_of(images):
    """Run a cell of a library of USES on GPUs by UUID, as the orchestrator does."""
    docker_engine = DockerEngine()

    def run(library: str, *gpus: str, workload: str = "rnn"):
        cell = Cell(
            "tiny", workload, "cuda12", "a100", data="synthetic", epochs=3, samples=64, n_gpus=max(1, len(gpus))
        )
        return docker_engine.run(Task(cell, images[library], "key", "run", gpus), lambda event: None)

    yield run
    docker_engine.api.close()


def test_a_cell_that_uses_its_card_brings_its_readings_home(outcome_of, pretended_machine):
    pretended_machine("busy")
    outcome = outcome_of("uses", "GPU-pretended-a10g-0")
    assert outcome.status is Status.OK, outcome.reason
    (card,) = outcome.document.gpus
    strangers = sum(process["memory"] for process in STRANGERS)
    assert (card.name, card.uuid, card.used, card.memory_growth) == (
        "NVIDIA A10G",
        "GPU-pretended-a10g-0",
        True,
        300 * MIB,
    )
    assert (card.others, card.others_memory, card.peak_memory) == (2, strangers, strangers + 500 * MIB)
    assert card.energy > 0
    assert outcome.document.environment.gpus[0].uuid == "GPU-pretended-a10g-0"


def test_a_cell_that_falls_back_to_the_cpu_has_failed(outcome_of, pretended_machine):
    pretended_machine("h100")
    outcome = outcome_of("falls-back", "GPU-pretended-h100-0")
    assert (outcome.status, outcome.document) == (Status.FAILED, None)
    assert outcome.reason.endswith(
        "the cell was given GPU-pretended-h100-0 but nothing of it used the card: "
        "memory on it grew by 0 MB after the first step. The framework fell back to the CPU."
    )


def test_a_cell_on_a_slice_tells_the_slice(outcome_of, pretended_machine):
    pretended_machine("a100-slices")
    outcome = outcome_of("uses", "MIG-pretended-a100-40gb-0-2")
    assert outcome.status is Status.OK, outcome.reason
    (card,) = outcome.document.gpus
    assert (card.uuid, card.mig, card.memory) == ("MIG-pretended-a100-40gb-0-2", "slice", 5 * 2**30)


def test_of_two_cards_both_must_be_used(outcome_of, pretended_machine):
    told = pretended_machine("a100")
    uuids = [gpu["uuid"] for gpu in told["gpus"]]
    outcome = outcome_of("uses", *uuids, workload="densenet121")
    assert f"nothing of it used {uuids[1]}: memory on it grew by 0 MB" in outcome.reason
    outcome = outcome_of("uses-both", *uuids, workload="densenet121")
    assert outcome.status is Status.OK, outcome.reason
    assert [card.uuid for card in outcome.document.gpus] == uuids


def test_a_cell_for_a_gpu_without_a_driver_does_not_begin(outcome_of):
    outcome = outcome_of("uses")
    assert "the cell is to use 1 GPU, but no driver: libnvidia-ml.so.1 not found" in outcome.reason
