"""Which GPU runs which CUDA, from NVIDIA's tables, and what this machine lacks."""

import dataclasses
import json

import pytest

from orchestrator.errors import GpuError
from orchestrator.system import gpus
from orchestrator.system.host import Device, Host, machine_reason, this_host, together

V100 = Host((Device("Tesla V100-SXM2-16GB", "GPU-1"), Device("Tesla V100-SXM2-16GB", "GPU-2")), (470, 57))
DIVIDED = Host((Device("NVIDIA A100-SXM4-80GB", "GPU-1", mig=True),), (580, 65))


@pytest.mark.parametrize(
    ("platform", "gpu", "precision", "reason"),
    [
        ("cpu", "none", "fp32", None),
        ("cpu", "none", "amp-bf16", "amp-bf16 is measured on GPUs only"),
        ("cpu", "k80", "fp32", "the platform cpu has no GPU"),
        ("cuda9", "none", "fp32", "cuda9 needs a GPU"),
        ("cuda8", "k80", "fp32", None),
        ("cuda8", "p100", "fp32", None),
        ("cuda8", "v100", "fp32", "CUDA 8.0 has no machine code for V100, which needs 9.0 or newer"),
        ("cuda9", "h200", "fp32", "CUDA 9.0 has no machine code for H200, which needs 11.8 or newer"),
        ("cuda12", "k80", "fp32", "CUDA 12.0 has dropped K80; 11.8 was the last for it"),
        ("cuda12", "p100", "fp32", None),
        ("cuda13", "v100", "fp32", "CUDA 13.0 has dropped V100; 12.x was the last for it"),
        ("cuda13", "h200", "amp-bf16", None),
        ("cuda9", "v100", "tf32", "V100 has no tf32"),
    ],
)
def test_hardware(platform, gpu, precision, reason):
    assert gpus.hardware_reason(platform, gpu, precision) == reason


@pytest.mark.parametrize(
    ("platform", "gpu", "host", "reason"),
    [
        ("cpu", "none", Host(), None),
        ("cuda9", "v100", V100, None),
        ("cuda9", "v100", Host(), "no NVIDIA driver on this machine"),
        ("cuda9", "p100", V100, "no P100 on this machine"),
        ("cuda12", "a100", DIVIDED, "no A100 on this machine that is not divided by MIG"),
        ("cuda12", "v100", V100, "driver 470.57 is too old for cuda12, which needs 525"),
    ],
)
def test_host(platform, gpu, host, reason):
    assert machine_reason(platform, gpu, host) == reason


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("Tesla K80", "k80"),
        ("Tesla P100-PCIE-16GB", "p100"),
        ("Tesla V100-SXM2-16GB", "v100"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", "a100"),
        ("GeForce GTX 1080", "other"),
    ],
)
def test_drivers_names_for_gpus(name, short):
    assert gpus.gpu_of(name) == short


OLD, GPULESS = Host((Device("Tesla V100", "GPU-3"),), (340,)), Host()


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([GPULESS, OLD, V100], None),
        ([GPULESS, GPULESS, OLD], "no NVIDIA driver (2); driver 340 is too old for cuda9, which needs 384.81 (1)"),
    ],
)
def test_of_several_machines_one_that_can_is_enough(nodes, reason):
    said = machine_reason("cuda9", "v100", together(nodes))
    assert said == (reason and f"no node can run it: {reason}")


def test_machines_that_pretend_are_not_mixed_with_others():
    with pytest.raises(GpuError, match="pretend"):
        together([V100, dataclasses.replace(V100, pretended=True)])


MACHINE = {"driver": "535.5", "gpus": [{"name": "Tesla V100-SXM2-16GB", "uuid": "GPU-pretended-0", "memory": 2**34}]}


def test_a_machine_can_be_pretended(tmp_path, monkeypatch):
    path = tmp_path / "host.json"
    path.write_text(json.dumps(MACHINE))
    monkeypatch.setenv("ROSETTA_HOST", str(path))
    monkeypatch.setattr("orchestrator.system.host.real_host", Host)
    host = this_host()
    assert host.pretended
    assert [gpu.uuid for gpu in host.of_model("v100")] == ["GPU-pretended-0"]
    assert host.of_model("v100")[0].memory == 2**34


@pytest.mark.parametrize(
    ("machine", "real", "said"),
    [
        (MACHINE, V100, "this machine has real ones"),
        ({**MACHINE, "gpus": [{"name": "Tesla V100", "uuid": "GPU-1"}]}, Host(), "as if it were real"),
        ({**MACHINE, "gpus": MACHINE["gpus"] * 2}, Host(), "names a GPU twice"),
        ({**MACHINE, "gpus": [{"name": "Tesla V100"}]}, Host(), "describes no machine"),
        ([], Host(), "describes no machine"),
    ],
)
def test_nobody_takes_a_pretended_gpu_for_a_real_one(machine, real, said, tmp_path, monkeypatch):
    path = tmp_path / "host.json"
    path.write_text(json.dumps(machine))
    monkeypatch.setenv("ROSETTA_HOST", str(path))
    monkeypatch.setattr("orchestrator.system.host.real_host", lambda: real)
    with pytest.raises(GpuError, match=said):
        this_host()
