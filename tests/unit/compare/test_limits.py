"""Operations and bytes of each workload against counts made by hand, and the limits that follow for a card."""

from itertools import pairwise

import pytest

from orchestrator.compare import limits, operations
from orchestrator.compare.limits import CARDS, TERA, least_seconds, share_of_peak

CNN = [  # multiplications of each layer: pixels × kernel × channels before × channels after
    1024 * 9 * 3 * 50,
    1024 * 9 * 50 * 50,
    256 * 9 * 50 * 100,
    256 * 9 * 100 * 100,
    6400 * 512,
    512 * 10,
]
GRU = [0, 150 * (3 * 125 * 100 + 3 * 100 * 100), 100 * 2]

ROW = {
    "workload": "cnn", "gpu": "h200", "precision": "fp32", "n_gpus": 1, "cores": 8,
    "epochs": 10, "samples": 49984, "seconds": 10.0,
}  # fmt: skip


@pytest.mark.parametrize(("workload", "by_hand"), [("cnn", CNN), ("rnn", GRU)])
def test_each_layer_has_the_multiplications_that_a_count_by_hand_has(workload, by_hand):
    assert [layer.multiplications for layer in operations.layers(workload)] == by_hand
    assert operations.forward(workload) == 2 * sum(by_hand)


@pytest.mark.parametrize(
    ("workload", "multiplications", "parameters", "last"),
    [("resnet50", 4.09e9, 25.56e6, 2048 * 1000), ("densenet121", 2.83e9, 7.98e6, 1024 * 1000)],
)
def test_known_networks_have_what_is_published_of_them(workload, multiplications, parameters, last):
    """Torchvision's documentation has both, of networks that end in 1,000 classes."""
    layers = operations.layers(workload)
    ends = last - (layers[-1].weights if workload == "densenet121" else 0)
    assert sum(layer.multiplications for layer in layers) + ends == pytest.approx(multiplications, rel=0.003)
    assert sum(layer.weights for layer in layers) + ends == pytest.approx(parameters, rel=0.012)  # without biases


def test_bytes_are_those_of_a_count_by_hand():
    dense = operations.dense(100, 2)
    assert (dense.inputs, dense.outputs, dense.weights) == (100, 2, 200)
    numbers = 150 + 150 * 125 + 150 * 125 + 150 * 100 + 100 + 2
    weights = 30000 * 125 + 3 * 100 * 225 + 200
    assert operations.moved("rnn", 64) == pytest.approx(3 * 4 * (numbers + weights / 64))
    assert operations.read_at_least("cnn") == 3 * 32 * 32
    assert operations.read_at_least("resnet50") == 3 * 224 * 224


def test_what_is_not_known_has_no_limit():
    assert operations.forward("no-such") is None
    assert operations.moved("no-such", 1) is None
    assert least_seconds({**ROW, "gpu": "rtx-4090"}) is None
    assert least_seconds({**ROW, "workload": "no-such"}) is None
    assert least_seconds({**ROW, "gpu": "v100", "precision": "tf32"}) is None
    assert share_of_peak({**ROW, "gpu": "none"}) is None


def test_fast_convolutions_lower_the_limit_and_not_the_share():
    fast = sum(CNN[:4]) / 4 + sum(CNN[4:])
    samples = 10 * 49984
    assert least_seconds(ROW) == pytest.approx(samples * 2 * fast * 2 / 67e12)
    assert share_of_peak(ROW) == pytest.approx(samples * 2 * sum(CNN) * 3 / 10 / 67e12)
    assert share_of_peak({**ROW, "precision": "tf32"}) < share_of_peak(ROW)


def test_several_cards_have_several_times_the_rate_and_memory_can_be_the_limit(monkeypatch):
    both = {**ROW, "n_gpus": 2}
    assert least_seconds(both) == pytest.approx(least_seconds(ROW) / 2)
    slow = limits.Card({"fp32": 1e9}, 1.0)
    monkeypatch.setitem(limits.CARDS, "h200", slow)
    assert least_seconds(ROW) == pytest.approx(10 * 49984 * 3072 / 1e9)


def test_1000_images_are_what_resnet50s_time_is_of():
    row = {**ROW, "workload": "resnet50", "epochs": 1, "samples": 1280, "seconds": 1.6, "gpu": "p100"}
    assert share_of_peak(row) == pytest.approx(1000 * operations.forward("resnet50") / 1.6 / (10.6 * TERA))
    assert 0.4 < share_of_peak(row) < 0.6  # what 2018 measured


def test_a_newer_card_is_never_slower_in_the_table():
    for older, newer in pairwise(list(CARDS.values())[3:]):  # T4 on; before it the classes differ
        assert newer.bandwidth >= older.bandwidth
        assert all(newer.teraflops[name] >= rate for name, rate in older.teraflops.items())
