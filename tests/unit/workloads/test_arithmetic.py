"""The precision of a cell: what NVIDIA's libraries are told before they load, and the name of what is in force."""

import os
import sys
from types import SimpleNamespace as Names

import pytest

from harness import arithmetic


@pytest.mark.parametrize(("precision", "told"), [("fp32", "0"), ("amp-fp16", "0"), ("amp-bf16", "0"), ("tf32", None)])
@pytest.mark.parametrize("before", [None, "0", "1"])
def test_tf32_is_refused_by_nvidias_libraries_unless_it_is_what_is_measured(monkeypatch, precision, told, before):
    monkeypatch.setenv(arithmetic.OVERRIDE, before or "")
    if before is None:
        monkeypatch.delenv(arithmetic.OVERRIDE)
    arithmetic.prepare(precision)
    assert os.environ.get(arithmetic.OVERRIDE) == told


@pytest.mark.parametrize(
    ("float32", "layers", "name"),
    [
        ({"conv": "fp32", "rnn": "fp32", "matmul": "fp32"}, "float32", "fp32"),
        ({"conv": "tf32", "rnn": "tf32", "matmul": "fp32"}, "float32", "conv tf32, matmul fp32, rnn tf32"),
        ({"all": "tf32"}, "float32", "tf32"),
        ({"all": "fp32"}, "float16", "amp-fp16"),
        ({"all": "fp32"}, "bfloat16", "amp-bf16"),
        ({"all": "tf32"}, "bfloat16", "amp-bf16, float32 as tf32"),
    ],
)
def test_what_is_mixed_goes_by_no_name_of_a_precision(float32, layers, name):
    assert arithmetic.named(float32, layers) == name


def test_a_library_without_a_setting_computes_as_the_driver_was_told(monkeypatch):
    monkeypatch.setenv(arithmetic.OVERRIDE, "0")
    assert arithmetic.of_driver(gpus=1)() == "fp32"
    monkeypatch.delenv(arithmetic.OVERRIDE)
    assert arithmetic.of_driver(gpus=1)() is None
    assert arithmetic.of_driver(gpus=0)() == "fp32"


def torch_of(switches: str) -> Names:
    """What the harness uses of PyTorch: since 2.9 a setting for each kind of operator, before that two switches."""
    start = {"fp32_precision": "tf32"} if switches == "by operator" else {"allow_tf32": True}
    operators = {"conv": Names(**start), "rnn": Names(**start)} if switches == "by operator" else {}
    backends = Names(cudnn=Names(**start, **operators), cuda=Names(matmul=Names(**start)))
    return Names(backends=backends, get_autocast_dtype=None, is_autocast_enabled=None)


@pytest.mark.parametrize("switches", ["by operator", "by part"])
@pytest.mark.parametrize(("precision", "other"), [("fp32", ("tf32", True)), ("tf32", ("ieee", False))])
def test_every_release_of_pytorch_computes_as_asked_and_tells_what_is_changed(monkeypatch, switches, precision, other):
    torch = torch_of(switches)
    monkeypatch.setitem(sys.modules, "torch", torch)
    read = arithmetic.torch(precision)
    assert read() == precision
    matmul = torch.backends.cuda.matmul
    (setting,) = vars(matmul)
    setattr(matmul, setting, other[switches == "by part"])
    assert "matmul" in read()
