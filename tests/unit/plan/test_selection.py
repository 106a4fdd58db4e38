"""What selectors ask for: whether a card has to be looked for, and whether one was named."""

import pytest

from orchestrator.cell.cell import Cell
from orchestrator.plan.models import Models
from orchestrator.plan.selection import are_for_cpus, ask_for_gpus, selected_cells
from orchestrator.system.checkout import ROOT
from orchestrator.system.host import Device, Host

A100 = Host((Device("NVIDIA A100 80GB PCIe", "GPU-1", capability=(8, 0)),), (580, 65, 6))


@pytest.mark.parametrize(
    ("patterns", "cpu_only"),
    [
        (["pytorch/*/cpu"], True),
        (["pytorch/{cnn,rnn}/cpu/*"], True),
        (["{pytorch/rnn/cpu,jax/cnn/cpu/*}"], True),
        (["{pytorch/rnn/cpu/*,pytorch/rnn/cuda12/*}"], False),
        (["{x/cpu/,pytorch/rnn/cuda12/a100}"], False),
        (["pytorch/rnn/cpu", "*/a100"], False),
        (["pytorch/*"], False),
        ([], False),
    ],
)
def test_braces_hide_no_platform(patterns, cpu_only):
    assert are_for_cpus(patterns) is cpu_only


@pytest.mark.parametrize(
    "pattern",
    ["pytorch/*/cuda12", "pytorch/rnn/cu*", "*/a100", "*/rtx-4090", "{jax,*/titan-v}", "*/a100*", "*/cuda[89]"],
)
def test_who_names_a_card_or_a_platform_with_one_asks_for_gpus(pattern):
    assert ask_for_gpus([pattern])


@pytest.mark.parametrize(
    "pattern",
    [
        "keras-[r]/rnn/cpu",
        "chainer-20*/rnn/cpu",
        "{mxnet,mxnet-20*}/cnn/cpu",
        "*2018*",
        "*/resnet5*",
        "*/amp-*",
        "*",
        "*/rnn/cpu/*/*/*/*/real/1",
        "*/rnn/*/*/1/*",
        "pytorch/rnn/*",
    ],
)
def test_digits_and_hyphens_of_libraries_workloads_and_counts_ask_for_none(pattern):
    assert not ask_for_gpus([pattern])


def test_a_plain_word_in_a_selector_may_be_anything_mistyped():
    assert not ask_for_gpus(["pytroch/rnn/cpuu"])


def test_the_same_cells_in_braces_and_one_by_one():
    matrix = ROOT / "matrix.yaml"
    asked = ["pytorch/rnn/cpu/*", "pytorch/rnn/cuda12/*"]
    apart = selected_cells(matrix, "full", asked, (), {}, lambda: A100)
    joined = selected_cells(matrix, "full", ["{" + ",".join(asked) + "}"], (), {}, lambda: A100)
    assert apart == joined
    assert Cell("pytorch", "rnn", "cuda12", "a100") in joined


@pytest.mark.parametrize(("word", "known"), [("titan-v", True), ("rtx4090", True), ("8", False), ("h100-", False)])
def test_a_word_for_any_card_looks_like_one(word, known):
    assert (word in Models(("none",))) is known
