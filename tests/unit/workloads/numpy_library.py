"""A library made of the reference in NumPy, honest or not as it is told, in a copy of the harness with small data."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from harness import weights
from orchestrator.system.checkout import ROOT

START = """
import numpy as np
from harness import Cell, Weights, weights as shapes
from reference import {workload} as network

cell = Cell("1.0")
params = cell.params
random = np.random.RandomState(cell.seed)
declared = list(shapes.ARRAYS[cell.arguments.workload](params))
names = [array.name for array in declared]
model = dict((array.name, shapes.draw(random, array).astype(np.float64)) for array in declared)


def set_weights(given):
    model.update((name, np.array(value, np.float64)) for name, value in zip(names, given))


layouts = Weights(lambda: [model[name] for name in names], set_weights)
calls = 0
"""

TRAINED = """
optimizer = network.Optimiser(params, layouts)


def train_step(x, y):
    global calls
    calls += 1
    loss, gradients = network.gradients(model, x if x.dtype == np.int32 else x.astype(np.float64), y, layouts)
    {update}
    return loss


def predict(x):
    return {scores}


{end}
"""
UPDATE = "optimizer.update(model, gradients)"
SCORES = "network.scores(model, x if x.dtype == np.int32 else x.astype(np.float64), layouts)"
END = "cell.run(cell.data(), predict, train_step, weights=layouts)"

RESIDENT = """
optimizer = network.Optimiser(params, layouts)
there = dict()


def upload(arrays):
    there.update(x=arrays.x_train.copy(), y=arrays.y_train.copy())


def step(indices):
    global calls
    calls += 1
    loss, gradients = network.gradients(model, there["x"][indices], there["y"][indices], layouts)
    {update}
    return loss


def train_indices(order):
    return {losses}


def predict(x):
    return {scores}


cell.layout = "words"
with cell.compiling("NumPy"):
    pass
cell.run(cell.data(), predict, upload=upload, train_indices=train_indices, weights=layouts)
"""
LOSSES = "np.array([step(indices) for indices in order])"

RESIDENT_IMAGES = """
there, kept = dict(), dict()


def upload(arrays):
    there["x"] = arrays.x_test.astype(np.float64)


def predict_indices(order):
    return {features}


cell.run(cell.data(), upload=upload, predict_indices=predict_indices, weights=layouts)
"""
INDEXED = "np.concatenate([network.scores(model, there['x'][indices]) for indices in order])"

RESIDENT_XRAYS = """
import time
there, seen = dict(), []


def upload(images):
    there.update(x=images.pixels, y=images.labels)


def train_indices(places):
    assert (places.shape[1:], places.dtype) == ((params.batch_size, 4), np.int32)
    assert there["x"].shape[1:] == (params.stored_size,) * 2 or cell.arguments.data == "synthetic"
    assert places[..., 0].max() < len(there["x"]) == len(there["y"])
    time.sleep(0.05)
    return np.full({losses}, 0.69)


def predict(x):
    seen.append(len(x))
    time.sleep(0.3 if len(seen) == 1 else 0)
    return np.zeros((len(x), len(params.findings)), np.float32)


cell.run(cell.data(), predict, upload=upload, train_indices=train_indices)
"""
"""Learns nothing, and takes its time over its first prediction, as what is compiled then does."""

PREDICTED = """
data = cell.data()
kept = dict()


def predict(x):
    global calls
    calls += 1
    return {features}


cell.run(data, predict, weights=layouts)
"""
FEATURES = "network.scores(model, x.astype(np.float64))"


def digest(workload: str, params: Mapping[str, Any]) -> str:
    """The SHA-256 of the given weights, as params.json has it."""
    random, small = np.random.RandomState(0), SimpleNamespace(**params)
    values = [weights.draw(random, array) for array in weights.ARRAYS[workload](small)]
    return hashlib.sha256(b"".join(value.tobytes() for value in values)).hexdigest()


SMALL: Mapping[str, Mapping[str, Any]] = {
    "rnn": {"batch_size": 8, "length": 12, "vocabulary": 40, "embedding": 6, "hidden": 5},
    "densenet121": {"batch_size": 4, "stored_size": 20, "image_size": 14, "blocks": [1, 1, 1, 1], "growth": 2},
    "resnet50": {"batch_size": 2, "image_size": 32, "blocks": [1, 1, 1, 1], "widths": [4, 4, 8, 8], "features": 32},
}
"""What makes a workload small enough for NumPy."""


def folder(
    path: Path, workload: str, more: Mapping[str, Any] | None = None, resident: bool = False, **changes: str
) -> Path:
    """The harness with the script of the library "numpy"; ``changes`` replace update, scores, end, losses or features.

    ``more`` are parameters of the workload. A ``resident`` script takes the data set once, and batches by indices.
    """
    source = ROOT / "workloads"
    for name in ("harness", "reference"):
        shutil.copytree(source / name, path / name, ignore=shutil.ignore_patterns("__pycache__"))
    params = json.loads((source / "params.json").read_text())
    params[workload] |= SMALL[workload] | (more or {})
    params[workload]["weights_sha256"] = digest(workload, params[workload])
    (path / "params.json").write_text(json.dumps(params))
    (path / workload).mkdir()
    bodies = {"resnet50": (PREDICTED, RESIDENT_IMAGES), "densenet121": ("", RESIDENT_XRAYS)}
    body = bodies.get(workload, (TRAINED, RESIDENT))[resident]
    losses = "len(places)" if workload == "densenet121" else LOSSES
    parts = {"update": UPDATE, "scores": SCORES, "end": END, "losses": losses}
    parts |= {"features": INDEXED if resident else FEATURES, **changes}
    text = START.format(workload=workload)
    for name, code in parts.items():
        body = body.replace(f"{{{name}}}", code)
    (path / workload / "numpy.py").write_text(text + body)
    return path
