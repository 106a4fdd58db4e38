"""Engines that differ in their GPUs, each a real one: without NVIDIA's hook, without a driver, and behind ssh."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.private_engine import PrivateEngine
from orchestrator.engines import probe
from orchestrator.engines.docker import DockerEngine
from orchestrator.images.bases import PYTHON
from orchestrator.images.building import build_probe
from orchestrator.system.checkout import ROOT
from orchestrator.system.host import Host, described
from tests.pretended_driver.machines import gpu, machine, sliced

pytestmark = pytest.mark.container


@pytest.fixture
def machine_of(monkeypatch):
    """What an engine at an address says that it has, asked as a run asks it."""

    def machine_of(address: str) -> Host:
        monkeypatch.setenv("DOCKER_HOST", address)
        docker_engine = DockerEngine()
        try:
            return docker_engine.machine()
        finally:
            docker_engine.connection.close()

    return machine_of


def rosetta(folder: Path, address: str, *words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", "from orchestrator.cli.main import main; main()", *words, "--engine", "docker"]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "DOCKER_HOST": address}
    return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)


def test_an_engine_without_nvidias_hook_says_what_is_missing(engine, machine_of, tmp_path):
    if os.getuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("a private engine needs root and dockerd")
    with PrivateEngine(hook=None) as bare:
        for image in (PYTHON, build_probe()):
            bare.take_image(image)
        host = machine_of(bare.socket)
        missing = "the engine can't hand out GPUs: the NVIDIA Container Toolkit is missing"
        assert (host.devices, host.lacks) == ((), missing)
        done = rosetta(tmp_path, bare.socket, "plan", "--only", "pytorch/rnn/*")
    assert f"found no GPU: {missing}" in done.stdout
    assert "pytorch/rnn/cpu" in done.stdout
    assert done.returncode == 0, done.stderr


def test_an_engine_whose_hook_finds_no_driver_says_so(second_engine, machine_of):
    host = machine_of(second_engine.socket)
    assert (host.devices, host.lacks) == ((), "no driver: libnvidia-ml.so.1 not found")


def test_a_probe_that_does_not_stop_printing_is_ended(second_engine, tmp_path, monkeypatch):
    (tmp_path / "Dockerfile").write_text(f'FROM {build_probe()}\nENTRYPOINT ["yes", "\\u001b[2J"]\n')
    assert second_engine.private.docker("build", "--tag", "rosetta-test/endless", str(tmp_path)).returncode == 0
    second_engine.pretend("h100")
    monkeypatch.setenv("DOCKER_HOST", second_engine.socket)
    docker_engine = DockerEngine()
    said = probe.said_by(docker_engine.api, "rosetta-test/endless", cdi=False)
    docker_engine.connection.close()
    assert len(said) == probe.LARGEST_ANSWER
    host = probe.host_in(said)
    assert host.devices == ()
    assert host.lacks.isprintable()
    assert second_engine.private.docker("ps", "--all", "--quiet").stdout == b""


@pytest.mark.parametrize("name", ["gtx-1080-ti", "v100", "rtx-3090", "gh200", "b200", "throttled", "hidden-processes"])
def test_each_card_is_told_with_all_that_a_plan_asks(second_engine, machine_of, name):
    told = second_engine.pretend(name)
    host = machine_of(second_engine.socket)
    assert [device.name for device in host.devices] == [card["name"] for card in told["gpus"]]
    assert [device.uuid for device in host.devices] == [card["uuid"] for card in told["gpus"]]
    assert [device.memory for device in host.devices] == [card["memory"] for card in told["gpus"]]
    assert [device.power_limit for device in host.devices] == [card["power_limit"] / 1000 for card in told["gpus"]]
    tells = int(told["driver"].partition(".")[0]) >= 396  # older drivers have no function for it
    assert [device.capability for device in host.devices] == [
        tuple(card["capability"]) if tells else None for card in told["gpus"]
    ]
    assert not any(device.others for device in host.devices)


def test_a_whole_card_beside_a_divided_one_is_a_model_beside_slices(second_engine, machine_of):
    second_engine.pretend(machine("535.104.05", "12.2", sliced("a100-40gb", ["3g.20gb", "3g.20gb"]), gpu("a100", 1)))
    host = machine_of(second_engine.socket)
    assert host.models == ("a100-3g-20gb", "a100")
    assert len(host.of_model("a100-3g-20gb")) == 2
    assert [device.uuid for device in host.of_model("a100")] == ["GPU-pretended-a100-1"]
    assert described(host)[0] == "2 × NVIDIA A100-SXM4-40GB MIG 3g.20gb (a100-3g-20gb), driver 535.104.05"


def test_the_plan_for_an_engine_behind_ssh_is_for_its_cards_and_not_for_those_here(
    second_engine, pretended_machine, address, tmp_path
):
    second_engine.pretend("l40s")
    pretended_machine("t4")
    done = rosetta(tmp_path, f"{address}{second_engine.socket.removeprefix('unix://')}", "plan", "--profile", "quick")
    assert done.returncode == 0, done.stderr
    assert "found 1 × NVIDIA L40S (l40s), driver 570.86.15: " in done.stdout
    assert "jax/rnn/cuda12/l40s" in done.stdout
    assert "/t4" not in done.stdout
    here = rosetta(tmp_path, address, "plan", "--only", "jax/rnn/cuda12/*")
    assert "found 1 × Tesla T4 (t4), driver 450.80.02" in here.stdout
    assert "/l40s" not in here.stdout
