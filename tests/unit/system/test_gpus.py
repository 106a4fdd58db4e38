"""Which GPU runs which CUDA, from NVIDIA's tables, and what this machine lacks."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import GpuError
from orchestrator.system import gpus
from orchestrator.system.host import Device, Host, machine_reason, pretended_host, together

V100 = Host((Device("Tesla V100-SXM2-16GB", "GPU-1"), Device("Tesla V100-SXM2-16GB", "GPU-2")), (470, 57))
DIVIDED = Host((Device("NVIDIA A100-SXM4-80GB", "GPU-1", mig=True),), (580, 65))


@pytest.mark.parametrize(
    ("platform", "gpu", "precision", "reason"),
    [
        ("cpu", "none", "fp32", None),
        ("cpu", "none", "amp-bf16", "amp-bf16 is measured on GPUs only"),
        ("cpu", "k80", "fp32", "the platform cpu has no GPU"),
        ("cuda9", "none", "fp32", "cuda9 needs a GPU"),
        ("cuda9", "v100", "tf32", None),
    ],
)
def test_axes_that_go_together(platform, gpu, precision, reason):
    assert gpus.axes_reason(platform, gpu, precision) == reason


@pytest.mark.parametrize(
    ("model", "capability", "precisions"),
    [
        ("k80", (3, 7), {"fp32"}),
        ("p100", (6, 0), {"fp32", "amp-fp16"}),
        ("v100", (7, 0), {"fp32", "amp-fp16"}),
        ("t4", (7, 5), {"fp32", "amp-fp16"}),
        ("a100", (8, 0), {"fp32", "tf32", "amp-fp16", "amp-bf16"}),
        ("rtx-5090", (12, 0), {"fp32", "tf32", "amp-fp16", "amp-bf16"}),
    ],
)
def test_precisions_follow_from_the_capability(model, capability, precisions):
    reasons = {precision: gpus.precision_reason(model, capability, precision) for precision in gpus.PRECISIONS}
    assert {precision for precision, reason in reasons.items() if reason is None} == precisions
    assert all(f"{gpus.title_of(model)} has no {name}" == reason for name, reason in reasons.items() if reason)


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


NAMES = [
    ("Tesla K80", "k80", "K80"),
    ("Tesla P100-PCIE-16GB", "p100", "P100"),
    ("Tesla V100-SXM2-16GB", "v100", "V100"),
    ("Tesla V100-PCIE-32GB", "v100", "V100"),
    ("Tesla T4", "t4", "T4"),
    ("NVIDIA A100 80GB PCIe", "a100", "A100"),
    ("NVIDIA A100-SXM4-40GB", "a100", "A100"),
    ("NVIDIA H100 80GB HBM3", "h100", "H100"),
    ("NVIDIA H100 NVL", "h100", "H100"),
    ("NVIDIA H200", "h200", "H200"),
    ("NVIDIA GH200 480GB", "gh200", "GH200"),
    ("NVIDIA B200", "b200", "B200"),
    ("NVIDIA A10G", "a10g", "A10G"),
    ("NVIDIA L40S", "l40s", "L40S"),
    ("NVIDIA GeForce RTX 4090", "rtx-4090", "RTX 4090"),
    ("NVIDIA GeForce RTX 4090 Laptop GPU", "rtx-4090-laptop", "RTX 4090 Laptop"),
    ("GeForce GTX 1080 Ti", "gtx-1080-ti", "GTX 1080 Ti"),
    ("GeForce GTX 1060 3GB", "gtx-1060-3gb", "GTX 1060 3GB"),
    ("NVIDIA RTX 6000 Ada Generation", "rtx-6000-ada", "RTX 6000 ADA"),
    ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", "a100-3g-20gb", "A100 3g.20gb"),
    ("NVIDIA H100 80GB HBM3 MIG 1g.10gb+me", "h100-1g-10gb-me", "H100 1g.10gb-me"),
    ("NVIDIA TITAN V", "titan-v", "Titan V"),
    ("NVIDIA Graphics Device", "graphics-device", "Graphics Device"),
    ("GPU", "unnamed", "Unnamed"),
    ("NVIDIA None", "unnamed", "Unnamed"),
    ("\x1b]0;title\x07 <b>", "0-title-b", "0 Title B"),
]


@pytest.mark.parametrize(("name", "model", "title"), NAMES, ids=[model for _, model, _ in NAMES])
def test_drivers_names_become_short_ones(name, model, title):
    assert gpus.model_of(name) == model
    assert gpus.title_of(model) == title


@given(st.text(max_size=300))
def test_whatever_a_driver_says_a_model_is_a_word_of_the_matrix(name):
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,39}", gpus.model_of(name))
    assert gpus.model_of(name) not in gpus.NO_MODELS


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
        together([V100, Host((Device("Tesla V100", "GPU-pretended-0"),), (470,))])


MACHINE = {"driver": "535.5", "gpus": [{"name": "Tesla V100-SXM2-16GB", "uuid": "GPU-pretended-0", "memory": 2**34}]}


def test_a_machine_can_be_pretended(tmp_path, monkeypatch):
    path = tmp_path / "host.json"
    path.write_text(json.dumps(MACHINE))
    monkeypatch.setenv("ROSETTA_HOST", str(path))
    host = pretended_host()
    assert host.pretended
    assert [gpu.uuid for gpu in host.of_model("v100")] == ["GPU-pretended-0"]
    assert host.of_model("v100")[0].memory == 2**34


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        ({**MACHINE, "gpus": [{"name": "Tesla V100", "uuid": "GPU-1"}]}, "as if it were real"),
        ({**MACHINE, "gpus": MACHINE["gpus"] * 2}, "names a GPU twice"),
        ({**MACHINE, "gpus": [{"name": "Tesla V100"}]}, "describes no machine"),
        ({**MACHINE, "gpus": [{**MACHINE["gpus"][0], "capability": "7.0"}]}, "describes no machine"),
        ([], "describes no machine"),
    ],
)
def test_nobody_takes_a_pretended_gpu_for_a_real_one(machine, said, tmp_path, monkeypatch):
    path = tmp_path / "host.json"
    path.write_text(json.dumps(machine))
    monkeypatch.setenv("ROSETTA_HOST", str(path))
    with pytest.raises(GpuError, match=said):
        pretended_host()
