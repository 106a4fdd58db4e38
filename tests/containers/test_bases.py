"""A base that moves, in a real registry and on this machine: the image is out of date, its cell is planned anew."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.cell.cell import Cell
from orchestrator.cli.images import lock, registry_asked
from orchestrator.engines.docker import DockerEngine
from orchestrator.images.building import build_images, inspect_images
from orchestrator.images.image import image_for
from orchestrator.images.moved import moved_bases
from orchestrator.plan import verdicts
from orchestrator.plan.verdicts import Planned, Verdict
from orchestrator.results.paths import ResultsFolder
from orchestrator.system import library_folders
from orchestrator.system.checkout import ROOT
from orchestrator.system.host import Host
from tests.containers.registry import PROGRAM, login, registry
from tests.unit.images.test_images import wheel
from tests.unit.images.toy import TOY, written

pytestmark = [pytest.mark.container, pytest.mark.usefixtures("engine")]

PYTHON = TOY["base"]
OWN = "rosetta-test/moving-base:1"
MOVING = {**TOY, "framework": "moving", "libraries": {"moving": TOY["libraries"]["toy"]}}
"""Under a name of its own: other tests build the toy meanwhile."""
CELL = Cell("moving", "cnn", data="synthetic")


@pytest.fixture
def checkout(program, monkeypatch) -> Path:
    """A checkout with a library, its wheel, and the orchestrator's own Dockerfile."""
    (program / "wheels").mkdir()
    digest = hashlib.sha256(wheel(program / "wheels", "toy", "1.0").read_bytes()).hexdigest()
    (program / "images" / "locks" / "moving-cpu.txt").write_text(f"toy==1.0 --hash=sha256:{digest}\n")
    (program / "workloads" / "cnn" / "moving.py").write_text("")
    (program / "orchestrator").mkdir()
    shutil.copy(ROOT / "orchestrator" / "Dockerfile", program / "orchestrator")
    monkeypatch.setenv("ROSETTA_WHEELS", str(program / "wheels"))
    yield program
    subprocess.run(["docker", "image", "rm", "rosetta/moving:1.0-cpu"], capture_output=True, check=False)


def make_base(tag: str, version: int) -> None:
    text = f"FROM {PYTHON}\nLABEL version={version}\n"
    subprocess.run(["docker", "buildx", "build", "-q", "-t", tag, "-"], input=text.encode(), check=True)


def built() -> tuple[str, str, str]:
    """The library, built if it has to be: its id, which version of its base it has, and what its label says of that."""
    library_folders.forget()
    image = image_for("moving", "cpu")
    (made,) = build_images([image], progress=print).values()
    labels = inspect_images([image.tag])[image.tag]["Config"]["Labels"]
    return made, labels["version"], labels["rosetta.base"]


def planned(results: Path) -> Planned:
    library_folders.forget()
    (found,) = verdicts.plan_cells([CELL], DockerEngine(), results, Host())
    return found


def pretend_done(found: Planned, results: Path) -> None:
    path = ResultsFolder(results).result(found.key, CELL.id)
    path.parent.mkdir(parents=True)
    path.touch()


def test_a_base_moves_in_its_registry_and_all_that_stands_on_it_once_the_lock_follows(checkout, tmp_path, monkeypatch):
    if not PROGRAM.exists():
        pytest.skip("no docker-registry; .ci/tools installs it")
    written(checkout / "images", MOVING, "moving")
    results = tmp_path / "results"
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with registry(None, tmp_path / "registry") as server:
        login(server, {})
        monkeypatch.setenv("ROSETTA_REGISTRY_MIRROR", server.host)
        there = f"{server.host}/library/{PYTHON}"

        def push(version: int) -> None:
            make_base(there, version)
            subprocess.run(["docker", "push", "--quiet", there], check=True, capture_output=True, env=os.environ)
            subprocess.run(["docker", "image", "rm", there], check=True, capture_output=True)

        push(1)
        locked = CliRunner().invoke(lock, ["--bases", "moving"], catch_exceptions=False)
        assert locked.output.splitlines() == [
            str(checkout / "images" / "locks" / "bases.txt"), str(checkout / "orchestrator" / "Dockerfile"),
        ]  # fmt: skip
        first = registry_asked()(PYTHON)
        assert built()[1:] == ("1", f"{PYTHON}@{first}")
        before = planned(results)
        assert (before.verdict, before.base) == (Verdict.READY, f"{PYTHON}@{first}")
        assert before.columns["base"] == f"{PYTHON}@{first}"
        pretend_done(before, results)

        push(2)
        second = registry_asked()(PYTHON)
        (moved,) = moved_bases([PYTHON], registry_asked())
        assert str(moved) == f"{PYTHON}: updated: its tag is now {second}, locked is {first}"
        assert planned(results).verdict is Verdict.DONE  # what is locked does not move by itself
        assert built()[1:] == ("1", f"{PYTHON}@{first}")

        CliRunner().invoke(lock, ["--bases", "--upgrade", "moving"], catch_exceptions=False)
        after = planned(results)
        assert (after.verdict, after.base, after.key == before.key) == (Verdict.READY, f"{PYTHON}@{second}", False)
        assert built()[1:] == ("2", f"{PYTHON}@{second}")


def test_a_local_stand_in_is_marked_and_when_it_moves_so_does_what_stands_on_it(checkout, tmp_path):
    written(checkout / "images", {**MOVING, "base": OWN}, "moving")
    locked, results = checkout / "images" / "locks" / "bases.txt", tmp_path / "results"
    locked.write_text(f"{OWN}@sha256:{'0' * 64}\n")  # the official one, which can't be had here
    try:
        make_base(OWN, 1)
        ids = [inspect_images([OWN])[OWN]["Id"]]
        one = built()
        assert one[1:] == ("1", f"{OWN} (stand-in {ids[0]})")
        assert built() == one
        before = planned(results)
        assert before.columns["base"] == f"{OWN} (stand-in {ids[0]})"
        pretend_done(before, results)
        assert planned(results).verdict is Verdict.DONE

        make_base(OWN, 2)
        ids.append(inspect_images([OWN])[OWN]["Id"])
        assert planned(results).verdict is Verdict.READY
        assert built()[1:] == ("2", f"{OWN} (stand-in {ids[1]})")
    finally:
        subprocess.run(["docker", "image", "rm", "--force", OWN, *ids], capture_output=True, check=False)
