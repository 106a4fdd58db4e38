"""The engine itself tells which GPUs it has: a real engine, a pretended driver, and the program's own probe."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.engines.docker import DockerEngine
from orchestrator.system.checkout import ROOT
from orchestrator.system.host import described

pytestmark = pytest.mark.container


@pytest.mark.parametrize(
    ("name", "models", "driver"),
    [
        ("k80", ("k80",), (375, 26)),
        ("rtx-4090", ("rtx-4090",), (560, 35, 3)),
        ("a100-slices", ("a100-3g-20gb", "a100-2g-10gb", "a100-1g-5gb"), (535, 104, 5)),
        ("mixed", ("rtx-4090", "rtx-2080-ti"), (580, 65, 6)),
    ],
)
def test_the_engine_tells_its_cards(pretended_machine, name, models, driver):
    pretended_machine(name)
    host = DockerEngine().machine()
    assert (host.models, host.driver, host.lacks) == (models, driver, "")
    assert host.pretended
    assert all(host.of_model(model) for model in models)


def test_others_on_a_card_are_seen(pretended_machine):
    pretended_machine("busy")
    host = DockerEngine().machine()
    assert [device.others for device in host.devices] == [2]
    assert "other processes are using 1 of them" in described(host)


def test_an_engine_without_a_driver_says_so(engine):
    host = DockerEngine().machine()
    if not host.devices:  # a developer's machine may have some
        assert host.lacks == "no driver: libnvidia-ml.so.1 not found"
        assert described(host) == ["no GPU: no driver: libnvidia-ml.so.1 not found"]


def rosetta(*words: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from orchestrator.cli.main import main; main()", *words, "--engine", "docker"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


def test_the_card_that_is_there_has_cells_in_the_plan(pretended_machine, tmp_path):
    pretended_machine("rtx-4090")
    done = rosetta("plan", "--profile", "quick", folder=tmp_path)
    other = rosetta("run", "--only", "pytorch/rnn/cuda12/a10g", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "pytorch/rnn/cuda12/rtx-4090" in done.stdout
    assert "found 1 × NVIDIA GeForce RTX 4090 (rtx-4090), driver 560.35.03: " in done.stdout
    assert "driver 560.35.03 is too old for cuda13, which needs 580" in done.stdout
    assert other.returncode == 4
    assert "GPUs: 1 × NVIDIA GeForce RTX 4090 (rtx-4090), driver 560.35.03." in other.stderr
