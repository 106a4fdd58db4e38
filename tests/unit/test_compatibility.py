"""Which GPU runs which CUDA, from NVIDIA's tables, and what this machine lacks."""

import pytest

from orchestrator import compatibility as c

V100 = c.Host({"v100": ("GPU-1", "GPU-2")}, (470, 57))


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
    assert c.hardware_reason(platform, gpu, precision) == reason


@pytest.mark.parametrize(
    ("platform", "gpu", "host", "reason"),
    [
        ("cpu", "none", c.Host(), None),
        ("cuda9", "v100", V100, None),
        ("cuda9", "v100", c.Host(), "no NVIDIA driver on this machine"),
        ("cuda9", "p100", V100, "no P100 on this machine"),
        ("cuda12", "v100", V100, "driver 470.57 is too old for cuda12, which needs 525"),
    ],
)
def test_host(platform, gpu, host, reason):
    assert c.host_reason(platform, gpu, host) == reason


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
    assert c.gpu_of(name) == short
