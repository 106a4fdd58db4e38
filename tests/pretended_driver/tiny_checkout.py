"""A checkout with two tiny libraries for one workload, on the CPU and on a GPU: all else in it is the real program.

"tiny" is the GRU of the harness' own reference in double precision, so that it passes the proof on a card; on a GPU it
takes memory of the pretended card. "falls-back" is the same and takes none. Their images have NumPy and nothing more.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from harness import weights
from orchestrator.system.checkout import ROOT

PLATFORMS = ("cpu", "cuda12")
TAGS = tuple(f"rosetta/tiny:1-{platform}" for platform in PLATFORMS)
BYTES = 300 * 2**20
"""What the library takes of each card."""

SCRIPT = """
import ctypes
import numpy as np
from harness import Cell, Weights, weights as given_weights
from reference import rnn

cell = Cell("1", device=lambda: "pretended:0")
data = cell.data()
given = given_weights.given("rnn", cell.params)
names = [array.name for array, _ in given]
network = {{array.name: value.astype(np.float64) for array, value in given}}
weights = Weights(
    lambda: [network[name].astype(np.float32) for name in names],
    lambda arrays: network.update((name, array.astype(np.float64)) for name, array in zip(names, arrays)),
)
optimiser = rnn.Optimiser(cell.params, weights)
to_take = {size} if cell.gpus else 0


def train_step(x, y):
    global to_take
    if to_take:
        assert ctypes.CDLL("libnvidia-ml.so.1").pretended_allocate(0, ctypes.c_ulonglong(to_take)) == 0
        to_take = 0
    loss, gradients = rnn.gradients(network, x, y, weights)
    optimiser.update(network, gradients)
    return loss


def predict(x):
    return rnn.scores(network, x, weights)


cell.run(data, predict, train_step, weights=weights)
"""
LIBRARIES = {"tiny": BYTES, "falls-back": 0}
"""Bytes that each takes of a card."""

FRAMEWORK = {
    "framework": "tiny",
    "license": "MIT",
    "libraries": {name: {"title": name, "docs": "https://example.org/"} for name in LIBRARIES},
    "python": "3.11",
    "base": "python:3.11-slim-bookworm",
    "platforms": {name: {"version": "1", "requirements": ["numpy"]} for name in PLATFORMS},
}
MATRIX = {
    "axes": {
        "library": ["*"], "workload": ["rnn"], "platform": list(PLATFORMS), "gpu": ["none", "here"],
        "data": ["synthetic"],
    },
    "include": [{"epochs": 2, "samples": 128}],
    "profiles": {
        "full": {}, "quick": {}, "built": {"description": "To build images.", "axes": {"gpu": ["none", "v100"]}},
    },
}  # fmt: skip


def checkout(folder: Path) -> Path:
    """A copy of what git would have in a fresh clone, uncommitted changes included, with these libraries alone."""
    copy_of_checkout(folder)
    images = folder / "images"
    numpy = re.search(r"(?m)^numpy==.*(\n .*)*", (images / "locks" / "pytorch-cpu.txt").read_text())
    assert numpy is not None
    for path in [*images.glob("*.yaml"), *images.glob("locks/*")]:
        path.unlink()
    for platform in PLATFORMS:
        (images / "locks" / f"tiny-{platform}.txt").write_text(f"{numpy[0]}\n")
    (images / "tiny.yaml").write_text(json.dumps(FRAMEWORK))  # JSON is YAML
    for path in (folder / "workloads").glob("*/*"):
        if path.parent.name in ("cnn", "rnn", "resnet50", "densenet121"):
            path.unlink()
    make_network_small(folder / "workloads" / "params.json")
    for name, size in LIBRARIES.items():
        (folder / "workloads" / "rnn" / f"{name.replace('-', '_')}.py").write_text(SCRIPT.format(size=size))
    (folder / "matrix.yaml").write_text(json.dumps(MATRIX))
    return folder


def make_network_small(path: Path) -> None:
    """Shrink the GRU, whose gradients in double precision would take most of the time of a test."""
    every = json.loads(path.read_text())
    every["rnn"].update(vocabulary=500, length=20, embedding=8, hidden=8)
    drawn = np.random.RandomState(0)
    arrays = [weights.draw(drawn, array) for array in weights.rnn(SimpleNamespace(**every["rnn"]))]
    every["rnn"]["weights_sha256"] = hashlib.sha256(b"".join(value.tobytes() for value in arrays)).hexdigest()
    path.write_text(json.dumps(every))


def copy_of_checkout(folder: Path) -> None:
    """What git would have in a fresh clone, uncommitted changes included."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)


def give_to(folder: Path, owner: int) -> None:
    """Make a user the owner of a folder and of all in it, as far as this one may."""
    if os.getuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, owner, owner)


def remove_images() -> None:
    """Leave no image behind."""
    subprocess.run(["docker", "image", "rm", "--force", *TAGS], check=False, capture_output=True)
