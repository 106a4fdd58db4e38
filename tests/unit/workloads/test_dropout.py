"""Rates of dropout are counted from losses: a CNN in NumPy that drops as it is told, elements or whole maps."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from harness import Weights, dropout, weights
from orchestrator.system.checkout import ROOT
from reference.layers import convolve, cross_entropy, pool

CNN = json.loads((ROOT / "workloads" / "params.json").read_text())["cnn"]
PARAMS = SimpleNamespace(**{**CNN, "filters": [4, 32], "hidden": 64})  # small enough for NumPy
DECLARED = list(weights.ARRAYS["cnn"](PARAMS))


class Network:
    """The CNN in training mode, with rates of its own; ``maps`` drops whole feature maps."""

    def __init__(self, rates, maps=False, **layout):
        self.rates, self.maps, self.random = rates, maps, np.random.RandomState(1)
        self.layout = Weights(lambda: self.values, self.set, **layout)

    def set(self, values):
        self.values = values
        self.named = self.layout.take([(array, None) for array in DECLARED])

    def drop(self, x, place):
        kept = 1 - self.rates[place]
        shape = (*x.shape[:2], 1, 1) if self.maps and x.ndim == 4 else x.shape
        return x * (self.random.random_sample(shape) < kept) / kept

    def step(self):
        x = np.random.RandomState(0).random_sample((3, PARAMS.batch_size, 32, 32)).astype(np.float32)
        for number in (1, 2, 3, 4):
            bias = self.named[f"conv{number}.bias"][:, None, None, None]
            x = np.maximum(convolve(x, self.named[f"conv{number}.weight"]) + bias, 0)
            if number in (2, 4):
                x = self.drop(pool(x)[0], number // 2 - 1)
        x = x.transpose(1, 0, 2, 3).reshape(PARAMS.batch_size, -1)
        x = self.drop(np.maximum(x @ self.named["dense1.weight"].T + self.named["dense1.bias"], 0), 2)
        logits = x @ self.named["dense2.weight"].T + self.named["dense2.bias"]
        return cross_entropy(logits, np.zeros(PARAMS.batch_size, int))[0]

    def counted(self):
        return dropout.rates(self.step, self.layout, DECLARED, PARAMS)


def test_masks_that_never_change_are_no_dropout():
    class Stuck(Network):
        def step(self):
            self.random.seed(7)
            return super().step()

    with pytest.raises(SystemExit, match="drops the same units in every step"):
        Stuck((0.25, 0.25, 0.5)).counted()


@pytest.mark.parametrize(
    ("rates", "complaint"),
    [
        ((0.25, 0.25, 0.5), None),
        ((0.25, 0.25, 0.25), "dropout 3 drops 25 % of its units, not 50 %"),
        ((0.25, 0.5, 0.5), "dropout 2 drops 50 % of its units, not 25 %"),
        ((0.1, 0.25, 0.5), "dropout 1 drops 10 % of its units, not 25 %"),
        ((0, 0, 0), "dropout 1 drops 0 % of its units, not 25 %"),
        ((0.25, 0.25, 0), "dropout 3 drops 0 % of its units, not 50 %"),
    ],
)
def test_rates_are_counted_and_wrong_ones_named(rates, complaint):
    found = Network(rates).counted()
    assert found == pytest.approx(rates, abs=0.1)
    said = dropout.off(found, PARAMS)
    assert (said and said.split(" drops")[0]) == (complaint and complaint.split(" drops")[0])


def test_dropping_whole_maps_is_another_dropout():
    found = Network((0.25, 0.25, 0.5), maps=True).counted()
    assert found[0] < 0.1  # a map falls out as one: its window of four has no more chances than a unit
    assert "dropout 1" in dropout.off(found, PARAMS)


def test_the_layouts_of_libraries_make_no_difference():
    found = Network((0.25, 0.25, 0.5), conv="HWIO", dense="IO", flat="HWC").counted()
    assert dropout.off(found, PARAMS) is None


def test_what_is_counted_is_the_share_of_dropped_units():
    assert dropout.off([0.25, 0.25, 0.5], PARAMS) is None
    assert dropout.off([0.25, 0.25, 0.253], PARAMS) == "dropout 3 drops 25 % of its units, not 50 %"
