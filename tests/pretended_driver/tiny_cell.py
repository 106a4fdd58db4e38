"""A library as small as can be, whose scripts use a pretended GPU as they are told, in a copy of the harness."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.system.checkout import ROOT

SCRIPT = """
import ctypes
import os
import numpy as np
from harness import Cell, Weights

cell = Cell("1.0", device=lambda: "pretended:0")
params = vars(cell.params)
outputs = params.get("features") or params.get("n_classes") or len(params["findings"])
parameters = []
weights = Weights(lambda: parameters, lambda given: parameters.__setitem__(slice(None), given))
uses = {uses!r}
calls = 0


def step(*batch):
    global calls
    for card, size in uses.get(calls, ()):
        if isinstance(card, str):
            with open(os.environ["PRETENDED_USE"], "a") as use:
                print(card, os.getppid(), size, file=use)
            continue
        allocate = ctypes.CDLL("libnvidia-ml.so.1").pretended_allocate
        assert allocate(card, ctypes.c_ulonglong(size)) == 0
    calls += 1
    return 0.5


def predict(x):
    return np.zeros((len(x), outputs), np.float32)


proves = cell.arguments.parity or "features" in params  # a timed run would have to train
cell.run(cell.data(), predict, weights=weights if proves else None, **{training})
"""

Uses = Mapping[int, Sequence[tuple[int | str, int]]]
"""What is taken, by the number of the training step from 0: pairs of a card's number and bytes.

In place of a number, the UUID of a card of which somebody else takes so much.
"""


def script(workload: str, uses: Uses, how: str) -> str:
    """The script for a workload; ResNet-50 only predicts."""
    return SCRIPT.format(uses=dict(uses), training="{}" if workload == "resnet50" else f"{{{how!r}: step}}")


def workloads(folder: Path, uses: Uses, how: str = "train_step") -> Path:
    """A folder with the harness and the scripts of the library "tiny"; ``how`` it trains is a word of Cell.run."""
    source = ROOT / "workloads"
    for name in ("harness", "reference"):
        shutil.copytree(source / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(source / "params.json", folder)
    for name in ("cnn", "rnn", "resnet50", "densenet121"):
        (folder / name).mkdir()
        (folder / name / "tiny.py").write_text(script(name, uses, how))
    return folder
