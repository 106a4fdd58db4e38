"""Verdicts and keys: what runs, what is done, what can't run and the most lasting reason why."""

from dataclasses import replace

import pytest

from orchestrator import images, plan
from orchestrator.compatibility import Host
from orchestrator.engines.process import ProcessEngine
from orchestrator.matrix import Cell
from orchestrator.plan import Verdict

CELL = Cell("pytorch", "rnn")


class Anything:
    """An engine that serves every image."""

    name = "docker"
    host = "here"
    stopping = False

    def unavailable(self, image):
        return None


ENGINE = Anything()


def only(cell: Cell, results, host: Host | None = None) -> plan.Planned:
    (planned,) = plan.plan([cell], ENGINE, results, host or Host())
    return planned


def test_a_cell_is_ready_until_its_file_is_there(tmp_path):
    planned = only(CELL, tmp_path)
    assert planned.verdict is Verdict.READY
    assert planned.image == images.image_for("pytorch", "cpu")
    path = plan.result_path(tmp_path / "cells", planned.key, CELL.id)
    path.parent.mkdir(parents=True)
    assert only(CELL, tmp_path).verdict is Verdict.READY
    path.touch()
    assert only(CELL, tmp_path).verdict is Verdict.DONE


@pytest.mark.parametrize(
    "change",
    [{"epochs": 2}, {"samples": 640}, {"repeat": 1}, {"data": "synthetic"}, {"library": "jax"}, {"workload": "cnn"}],
)
def test_the_key_covers_the_cell(change, tmp_path):
    assert only(CELL, tmp_path).key != only(replace(CELL, **change), tmp_path).key


def test_the_key_covers_the_engine(tmp_path):
    image = images.image_for("pytorch", "cpu")
    assert plan.key(CELL, image, "docker") != plan.key(CELL, image, "process")


@pytest.mark.parametrize(
    ("cell", "host", "reason"),
    [
        (Cell("pytorch", "rnn", "cuda8", "v100"), Host(), "CUDA 8.0 has no machine code for V100"),
        (Cell("chainer", "rnn", "cuda13", "h200"), Host(), "Chainer ended"),
        (Cell("knet", "rnn"), Host(), "not implemented yet: no image for knet"),
        (Cell("pytorch", "densenet121"), Host(), "not implemented yet: no workloads/densenet121/pytorch.py"),
        (Cell("pytorch", "rnn", precision="tf32"), Host(), "tf32 is measured on GPUs only"),
        (Cell("pytorch", "rnn", variant="swift"), Host(), "not implemented yet: no workloads/rnn/pytorch_swift.py"),
    ],
)
def test_reasons(cell, host, reason, tmp_path):
    planned = only(cell, tmp_path, host)
    assert planned.verdict is Verdict.INCOMPATIBLE
    assert reason in planned.reason
    assert planned.image is None


def test_the_process_engine_adds_its_own_reasons(tmp_path):
    (planned,) = plan.plan([Cell("cntk", "rnn")], ProcessEngine(), tmp_path, Host())
    assert planned.reason.startswith("without a container engine: ")
