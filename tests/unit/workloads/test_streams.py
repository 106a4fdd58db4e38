"""Runs whose batches come out of a stream: with which weights they start."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness import arguments
from harness.streams import StreamRuns
from harness.weights import Weights, given
from tests.unit.workloads.saved_by_pytorch import in_a_row, published, saved

WORKLOAD = "densenet121"


class Begun(Exception):
    """The first epoch has begun."""


class Run(StreamRuns):
    """A cell that ends at its first epoch, in a library whose parameters are there after a prediction."""

    def __init__(self, **start: str | None) -> None:
        self.params = SimpleNamespace(**arguments.read_params()[WORKLOAD], weights_file=start.get("own"))
        self.arguments = SimpleNamespace(workload=WORKLOAD)
        self.meter, self.compile_seconds = nullcontext(), None
        self.epochs = 1
        self.random = [np.full_like(value, 9) for _, value in given(WORKLOAD, self.params_of_ours())]
        self.now: list[np.ndarray[Any, Any]] = []
        self.weights = Weights(lambda: self.now, self.set, torchvision=start.get("torchvision"))

    @staticmethod
    def params_of_ours() -> SimpleNamespace:
        return SimpleNamespace(**arguments.read_params()[WORKLOAD])

    def set(self, arrays: list[np.ndarray[Any, Any]]) -> None:
        assert len(arrays) == len(self.now)
        self.now = arrays

    def predict(self, x: np.ndarray[Any, Any]) -> None:
        assert (x.shape, x.dtype) == ((2, 224, 224), np.uint8)
        self.now = self.random

    def _epoch(self, *_: object) -> None:
        raise Begun

    def begin(self) -> list[np.ndarray[Any, Any]]:
        with pytest.raises(Begun):
            self._train_together(SimpleNamespace(count=2, size=224), self.predict, self.weights, *[None] * 4)
        return self.now


def test_the_librarys_own_stay_where_nothing_else_is_there() -> None:
    assert Run().begin() == []  # not even a prediction was made


def test_torchvisions_replace_all_but_the_classifier(tmp_path: Path) -> None:
    pairs = given(WORKLOAD, Run.params_of_ours())[:-2]
    (tmp_path / "a.pth").write_bytes(in_a_row(saved(published(pairs))))
    begun = Run(torchvision=str(tmp_path / "a.pth")).begin()
    for value, (_, wanted) in zip(begun, pairs, strict=False):
        np.testing.assert_array_equal(value, wanted)
    assert all((value == 9).all() for value in begun[-2:])


def test_the_users_own_replace_them_all(tmp_path: Path) -> None:
    pairs = given(WORKLOAD, Run.params_of_ours())
    np.savez(tmp_path / "own.npz", **{array.name: value / 2 for array, value in pairs})
    begun = Run(own=str(tmp_path / "own.npz")).begin()
    for value, (_, wanted) in zip(begun, pairs, strict=True):
        np.testing.assert_array_equal(value, wanted / 2)


@pytest.mark.parametrize("losses", [2, 3])
def test_a_script_that_holds_the_images_tells_a_loss_for_each_step(losses: int) -> None:
    seen: list[object] = []
    places = np.zeros((3, 2, 4), np.int32)
    run = Run()
    run.cards = SimpleNamespace(after_first_step=lambda: seen.append("first step"))
    stream = SimpleNamespace(places=lambda number: places)
    train = run._training(stream, None, None, lambda order: seen.append(order) or np.ones(losses))
    if losses == 3:
        np.testing.assert_array_equal(train(1, 0.0), [1, 1, 1])
        assert (seen[0] is places, seen[1:]) == (True, ["first step"])
    else:
        with pytest.raises(SystemExit, match=r"losses of the shape \(2,\) came back of 3 steps"):
            train(1, 0.0)
