"""The weights of a library's hub: a file of the hub's format, made from the given weights, gives the right features."""

import json
import os
import subprocess

import pytest

from orchestrator import ROOT, images
from orchestrator.datasets import TORCHVISION

pytestmark = [pytest.mark.container, pytest.mark.usefixtures("engine")]

WRITE = """
import re, sys
from types import SimpleNamespace
import torch
from harness import arguments, weights

NAMES = {"scale": "weight", "shift": "bias", "mean": "running_mean", "variance": "running_var"}
state = {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
for array, value in weights.given("resnet50", SimpleNamespace(**arguments.read_params()["resnet50"])):
    *place, unit, part = re.sub(r"^stage(\\d)", r"layer\\1", array.name).split(".")
    kind, number = re.match(r"(conv|norm)_?(.+)", unit).groups()
    if number == "shortcut":
        unit = "downsample." + ("0" if kind == "conv" else "1")
    else:
        unit = ("conv" if kind == "conv" else "bn") + number
    state[".".join([*place, unit, NAMES.get(part, part)])] = torch.from_numpy(value)
change = sys.argv[2] if len(sys.argv) > 2 else ""
if change == "shape":
    state["layer1.0.conv1.weight"] = torch.zeros(64, 64, 3, 3)
torch.save(state, sys.argv[1])
"""


def inside(tag: str, folders: dict, *words: str) -> subprocess.CompletedProcess:
    """Run a program of the image with the scripts of this checkout, as the owner of the folders."""
    mounts = [f"--volume={path}:{target}" for path, target in {**folders, ROOT / "workloads": "/workloads:ro"}.items()]
    user = f"--user={os.getuid()}:{os.getgid()}"
    command = ["docker", "run", "--rm", "--network=none", user, *mounts, "--entrypoint=python", tag, *words]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def tag() -> str:
    image = images.image_for("pytorch", "cpu")
    if subprocess.run(["docker", "image", "inspect", image.tag], capture_output=True).returncode:
        images.build([image], progress=print)
    return image.tag


def test_torchvisions_state_dict_gives_the_features_of_the_reference(tag, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "results").mkdir()
    name = TORCHVISION.files[0].path
    written = inside(tag, {tmp_path / "data": "/data"}, "-c", WRITE, f"/data/{name}")
    assert written.returncode == 0, written.stderr
    folders = {tmp_path / "data": "/data:ro", tmp_path / "results": "/results"}
    words = ["-m", "harness", "pytorch", "resnet50", "--variant", "pretrained", "--samples", "32"]
    done = inside(tag, folders, *words)
    assert done.returncode == 0, done.stderr
    (document,) = (json.loads(path.read_text()) for path in (tmp_path / "results").glob("*.json"))
    assert (document["variant"], document["quality"]) == ("pretrained", 1.0)

    inside(tag, {tmp_path / "data": "/data"}, "-c", WRITE, f"/data/{name}", "shape")
    done = inside(tag, folders, *words)
    assert done.returncode != 0
    assert "size mismatch for layer1.0.conv1.weight" in done.stderr
