"""The precision of a cell: what NVIDIA's libraries are told before they load, and the name of what is in force."""

import os

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
