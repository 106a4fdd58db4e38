"""Every library uses the cores that it is given, one or two, and says so.

CI runs a few images; all that this machine has built are tested by

    ROSETTA_TEST_CORES=all pytest tests/containers/test_cores.py

What is asserted is the share of the cores, never seconds.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import docker
import pyarrow.parquet as pq
import pytest

from orchestrator.compare.noise import LOADED
from orchestrator.images.image import Image, every_image
from orchestrator.system.checkout import ROOT

pytestmark = [pytest.mark.container, pytest.mark.alone, pytest.mark.usefixtures("engine")]

FEW = ("mxnet", "cntk")  # of their own accord, the one takes half of the cores and the other all of the machine's
LENGTH = ("--data", "synthetic", "--epochs", "2", "--samples", "320")
ALL = os.environ.get("ROSETTA_TEST_CORES") == "all"
USED = 0.5
"""Share of one core below which a library can't have worked on it all the time."""


def chosen() -> list[Image]:
    every = [image for image in every_image() if image.platform == "cpu"]
    return [image for image in every if ALL or image.framework.framework in FEW]


def document(image: Image, library: str, folder, *limits: str) -> dict:
    """What a cell of the GRU leaves that may use these cores, with the scripts of this checkout."""
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    mounts = [f"--volume={ROOT}/workloads:/workloads:ro", f"--volume={folder}:/results"]
    words = ["docker", "run", "--rm", "--network=none", "--init", "--user=10001:10001", *limits, *mounts, image.tag]
    done = subprocess.run([*words, library, "rnn", *LENGTH], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.json")
    return json.loads(path.read_text())


def is_there(image: Image, engine) -> bool:
    """Whether an image is on the engine; one of the few is built."""
    if not ALL:
        command = [
            str(Path(sys.executable).parent / "rosetta"),
            "build",
            "--only",
            f"{image.framework.framework}/rnn/cpu",
        ]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    try:
        return bool(engine.images.get(image.tag))
    except docker.errors.ImageNotFound:
        return False


@pytest.mark.parametrize("image", chosen(), ids=lambda image: image.name)
def test_a_library_uses_the_cores_it_is_given(image, engine, tmp_path):
    if not is_there(image, engine):
        return  # of all images those that were built
    cores = sorted(os.sched_getaffinity(0))[:2]
    for library in image.framework.libraries:
        for number, limits in (
            (1, [f"--cpuset-cpus={cores[0]}"]),
            (1, ["--cpus=1"]),  # which hides no core
            (len(cores), [f"--cpuset-cpus={','.join(map(str, cores))}"]),
        ):
            found = document(image, library, tmp_path / f"{library}-{limits[0].strip('-')}", *limits)
            assert (found["threads"], found["environment"]["cores"]) == (number, number)
            busy = max(found["load_before"], found["load_after"]) > LOADED  # others may leave it next to nothing
            assert (0 if busy else USED / number) < found["cpu_used"] <= 1.1


def test_cells_have_no_other_cores_than_the_command_that_runs_them(engine, tmp_path):
    rosetta = str(Path(sys.executable).parent / "rosetta")
    last = str(max(os.sched_getaffinity(0)))
    words = ["taskset", "--cpu-list", last, rosetta, "run", "--only", "pytorch/rnn/cpu", *LENGTH]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = pq.read_table(tmp_path / "results" / "merged.parquet").to_pylist()
    assert (row["status"], row["cores"], row["threads"]) == ("ok", 1, 1)
