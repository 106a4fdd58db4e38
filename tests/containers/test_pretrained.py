"""The weights of a library's hub: a file of the hub's format, made from the given weights, gives the right features."""

import json
import os
import subprocess

import pytest

from orchestrator.cell.parameters import parameters
from orchestrator.data.catalogue import WEIGHTS
from orchestrator.images.building import build_images
from orchestrator.images.image import image_for
from orchestrator.system.checkout import ROOT

pytestmark = [pytest.mark.container, pytest.mark.usefixtures("engine")]

WRITE = """
import re, sys
from types import SimpleNamespace
from harness import arguments, weights

path, library, change = sys.argv[1:]
if library == "pytorch":
    from torch import from_numpy as tensor, save, zeros
    mean, variance = "running_mean", "running_var"
else:
    from paddle import save, to_tensor as tensor, zeros
    mean, variance = "_mean", "_variance"
names = {"scale": "weight", "shift": "bias", "mean": mean, "variance": variance}
state = {"fc.weight": zeros([1000, 2048]), "fc.bias": zeros([1000])}
for array, value in weights.given("resnet50", SimpleNamespace(**arguments.read_params()["resnet50"])):
    *place, unit, part = re.sub(r"^stage(\\d)", r"layer\\1", array.name).split(".")
    kind, number = re.match(r"(conv|norm)_?(.+)", unit).groups()
    if number == "shortcut":
        unit = "downsample." + ("0" if kind == "conv" else "1")
    else:
        unit = ("conv" if kind == "conv" else "bn") + number
    state[".".join([*place, unit, names.get(part, part)])] = tensor(value)
if change == "shape":
    state["layer1.0.conv1.weight"] = zeros([64, 64, 3, 3])
save(state, path)
"""
REFUSED = {"pytorch": "size mismatch for layer1.0.conv1.weight", "paddle": "AssertionError: ['layer1.0.conv1.weight']"}


def inside(tag: str, folders: dict, *words: str) -> subprocess.CompletedProcess:
    """Run a program of the image with the scripts of this checkout, as the owner of the folders."""
    mounts = [f"--volume={path}:{target}" for path, target in {**folders, ROOT / "workloads": "/workloads:ro"}.items()]
    user = f"--user={os.getuid()}:{os.getgid()}"
    command = ["docker", "run", "--rm", "--network=none", user, *mounts, "--entrypoint=python", tag, *words]
    return subprocess.run(command, capture_output=True, text=True)


def tag_of(library: str) -> str:
    image = image_for(library, "cpu")
    if subprocess.run(["docker", "image", "inspect", image.tag], capture_output=True).returncode:
        build_images([image], progress=print)
    return image.tag


@pytest.mark.parametrize("library", REFUSED)
def test_a_hubs_file_gives_the_features_of_the_reference(library, tmp_path):
    tag, file = tag_of(library), WEIGHTS[parameters()["resnet50"]["pretrained"][library]].files[0].path
    folders = {tmp_path / "data": "/data", tmp_path / "results": "/results"}
    for folder in folders:
        folder.mkdir()
    run = ["-m", "harness", library, "resnet50", "--variant", "pretrained", "--samples", "32"]

    written = inside(tag, folders, "-c", WRITE, f"/data/{file}", library, "")
    assert written.returncode == 0, written.stderr
    done = inside(tag, folders, *run)
    assert done.returncode == 0, done.stderr
    (document,) = (json.loads(path.read_text()) for path in (tmp_path / "results").glob("*.json"))
    assert (document["variant"], document["quality"]) == ("pretrained", 1.0)

    inside(tag, folders, "-c", WRITE, f"/data/{file}", library, "shape")
    done = inside(tag, folders, *run)
    assert done.returncode != 0
    assert REFUSED[library] in done.stderr


SAVE = """
import torch
from harness import state_dict

state = {"a.weight": torch.rand(3, 2, 5), "b.running_mean": torch.rand(7).half()}
state["b.num_batches_tracked"] = torch.tensor(3)
state["shared"] = torch.arange(12.0)[4:8]
state["parameter"] = torch.nn.Parameter(torch.rand(2))
for zipped in (True, False):
    torch.save(state, "/data/a.pth", _use_new_zipfile_serialization=zipped)
    found = state_dict.read("/data/a.pth")
    assert list(found) == list(state)
    for name, value in state.items():
        assert (found[name] == value.detach().numpy()).all() and found[name].dtype == value.detach().numpy().dtype, name
    print("read", len(found))
torch.save({"a": torch.rand(2, 3).T}, "/data/a.pth")
state_dict.read("/data/a.pth")
"""


def test_what_pytorch_saves_is_read_without_it(tmp_path):
    done = inside(tag_of("pytorch"), {tmp_path: "/data"}, "-c", SAVE)
    assert done.stdout == "read 5\nread 5\n"
    assert "a tensor does not lie in one piece" in done.stderr
