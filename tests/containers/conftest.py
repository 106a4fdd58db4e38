"""What tests with real containers need: the engine, and real data.

ROSETTA_TEST_DATA names a folder with the data sets' original files. Where ROSETTA_REQUIRE_ENGINE=1, as in CI, a test
that would be skipped fails.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from benchmarks.private_engine import PrivateEngine
from orchestrator.errors import EngineError
from orchestrator.images.bases import PYTHON
from orchestrator.images.building import build_probe
from orchestrator.system import library_folders
from orchestrator.system.checkout import ROOT
from orchestrator.system.library_folders import LibraryFolder
from tests.containers import ssh_daemon
from tests.pretended_driver import machines


@dataclass(frozen=True)
class Installed:
    """The program as pip installs it: a wheel in a virtual environment of its own, and no checkout anywhere near."""

    environment: Path
    wheel: Path

    def pip(self, *words: str) -> None:
        """``pip install``, from the index; ``[extra]`` stands for that extra of the wheel."""
        wanted = [f"rosetta-matrix{word} @ {self.wheel.as_uri()}" if word.startswith("[") else word for word in words]
        command = [self.environment / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
        subprocess.run(command, check=True)

    def rosetta(self, *words: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
        """The command as a user of the environment types it."""
        outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        path = f"{self.environment / 'bin'}{os.pathsep}{os.environ['PATH']}"
        command = [str(self.environment / "bin" / "rosetta"), *map(str, words)]
        return subprocess.run(
            command, cwd=cwd, env={**outside, "PATH": path}, capture_output=True, text=True, check=False
        )


@pytest.fixture(scope="session")
def installed(engine, tmp_path_factory) -> Installed:
    """The wheel of this checkout, without optional parts."""
    folder = tmp_path_factory.mktemp("installed")
    code = f"from hatchling import build; print(build.build_wheel({str(folder)!r}))"
    built = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    subprocess.run([sys.executable, "-m", "venv", folder / "environment"], check=True)
    program = Installed(folder / "environment", folder / built.stdout.split()[-1])
    program.pip(str(program.wheel))
    return program


@pytest.fixture
def program(tmp_path, monkeypatch) -> Iterator[Path]:
    """A checkout with no libraries but those of a test, and the program's scripts."""
    (tmp_path / "images" / "locks").mkdir(parents=True)
    for name in ("apt-mirror.sh", "cuda-stage.sh", "cuda.yaml", "fixed-times.sh", "Dockerfile.j2"):
        shutil.copy(ROOT / "images" / name, tmp_path / "images")
    shutil.copytree(ROOT / "workloads", tmp_path / "workloads")
    monkeypatch.setattr(library_folders, "PROGRAM", LibraryFolder(tmp_path))
    library_folders.forget()
    yield tmp_path
    library_folders.forget()


@pytest.fixture(scope="session", autouse=True)
def core_of_its_own(worker_id) -> None:
    """Tests that run side by side keep off each other's core, and so do the cells that they start."""
    if worker_id != "master":
        every = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {every[int(worker_id.removeprefix("gw")) % len(every)]})


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """A client of the engine."""
    from orchestrator.engines.client import connect

    try:
        connect().close()
    except EngineError as error:
        pytest.skip(str(error))
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="session")
def cells_of(engine) -> Callable[[Path], list]:
    """The containers that belong to a results folder: whatever else runs on this engine is no business of a test."""

    def cells(results: Path) -> list:
        mark = (results / ".claims" / "id").read_text()
        every = engine.containers.list(all=True, filters={"label": "rosetta.claim"}, ignore_removed=True)
        return [container for container in every if container.labels["rosetta.claim"].startswith(mark)]

    return cells


@pytest.fixture
def no_volume_left(engine, request) -> Iterator[None]:
    """Fail a test after which the engine has an anonymous volume more than before; it has the engine to itself."""
    assert request.node.get_closest_marker("alone"), "whoever counts what is on an engine must be alone on it"

    def anonymous() -> set[str]:
        return {volume.id for volume in engine.volumes.list() if len(volume.id) == 64}

    before = anonymous()
    yield
    assert anonymous() <= before


@pytest.fixture(scope="session")
def real_data() -> Path:
    """A folder with the original files of the data sets."""
    folder = os.environ.get("ROSETTA_TEST_DATA")
    if not folder:
        pytest.skip("ROSETTA_TEST_DATA names no folder with the data sets' original files")
    return Path(folder)


@pytest.fixture
def address(engine, tmp_path, monkeypatch) -> Iterator[str]:
    """``ssh://…`` of a host that this machine plays, and the way in on the path."""
    sshd = ssh_daemon.program()
    if sshd is None:
        pytest.skip("an ssh daemon of its own needs root and OpenSSH's server")
    with ssh_daemon.listening(sshd, tmp_path) as (where, programs):
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        yield where


class SecondEngine:
    """An engine with pretended machines of its own, whatever the machine's engine pretends meanwhile."""

    def __init__(self, private: PrivateEngine, stack: ExitStack) -> None:
        self.private, self.stack = private, stack
        self.socket = private.socket

    def pretend(self, machine: str | machines.Machine) -> machines.Machine:
        """Have it be this machine, by its name in machines.py or as a description, in place of any other."""
        told = machines.MACHINES[machine] if isinstance(machine, str) else machine
        self.stack.close()
        return self.stack.enter_context(machines.pretended(told, self.private.folder / "driver"))


@pytest.fixture(scope="session")
def private_engine(engine) -> Iterator[PrivateEngine]:
    """An engine with a hook of its own, and with the image of the probe."""
    if os.getuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("a private engine needs root and dockerd")
    with PrivateEngine(machines.hook_of("{folder}/driver")) as private:
        for image in (PYTHON, build_probe()):  # the base too: what stands in for it makes the name of the probe
            private.take_image(image)
        yield private


@pytest.fixture
def second_engine(private_engine) -> Iterator[SecondEngine]:
    """A second engine, without a machine until the test names one."""
    with ExitStack() as stack:
        yield SecondEngine(private_engine, stack)
