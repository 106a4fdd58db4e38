"""`docker compose up`: the orchestrator in a container of its own, its cells beside it, the results with the caller."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import requests

from orchestrator.images.sources import Sources
from orchestrator.system import file_locks
from tests.pretended_driver import tiny_checkout

pytestmark = pytest.mark.container

CALLER = 4321
"""The user who cloned the checkout, if the tests run as root; otherwise it is who runs them."""


UP = ("up", "--abort-on-container-exit", "--build")
QUICK = "--only '*/rnn/*' --only '{jax,pytorch}/cnn/*'"
"""What is run of the quick profile: every library, and the CNN of two, since the others take minutes more."""


@contextmanager
def compose(checkout: Path, *words: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """`docker compose up`, or another command, in a checkout, as the project of its folder that leaves nothing behind.

    A name that is not given is as in a user's shell: PWD is the folder.
    """
    own = {"ROSETTA_PROFILE": "quick", "PWD": str(checkout), "ROSETTA_PORT": str(free_port())}
    env = {**os.environ, **what_compose_does_not_find(), **own, **variables}
    up = subprocess.Popen(
        ["docker", "compose", *(words or UP)],
        cwd=checkout,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        with up:
            yield up
    finally:
        up.kill()
        subprocess.run(["docker", "compose", "down", "--volumes"], cwd=checkout, env=env, check=True)


def free_port() -> int:
    """A port for the pages, since others may use the usual one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def what_compose_does_not_find() -> Mapping[str, str]:
    """Authorities and wheels that the orchestrator takes from pip's own variables; see docs/offline.md."""
    sources = Sources.from_environment()
    found = {"ROSETTA_CA_BUNDLE": sources.ca, "ROSETTA_WHEELS": sources.wheels}
    return {name: str(path) for name, path in found.items() if path}


@pytest.fixture
def checkout(engine, tmp_path) -> Path:
    """A copy of what git would have in a fresh clone, uncommitted changes included, owned by the caller."""
    copy = tmp_path / f"rosetta-test-{os.getpid()}"
    tiny_checkout.copy_of_checkout(copy)
    tiny_checkout.give_to(copy, CALLER)
    return copy


def rows_by_cell(results: Path) -> Mapping[str, dict[str, Any]]:
    """The merged rows, without those that prove an image on a card; a cell must not have two."""
    rows = [row for row in pq.read_table(results / "merged.parquet").to_pylist() if row["parity"] is None]
    assert max(Counter(row["cell"] for row in rows).values()) == 1
    return {row["cell"]: row for row in rows}


def quick_plan(folder: Path) -> Mapping[str, dict[str, Any]]:
    """What the quick profile would run, of what these tests run of it, as a person sees it."""
    rosetta = str(Path(sys.executable).parent / "rosetta")
    words = [rosetta, "plan", "--json", "--profile", "quick", "--engine", "docker", *shlex.split(QUICK)]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    return {cell["id"]: cell for cell in json.loads(done.stdout)}


@pytest.mark.alone
def test_the_quick_profile_ends_with_a_row_per_cell_that_belongs_to_the_caller(checkout, cells_of, tmp_path):
    with compose(checkout, ROSETTA_ARGS=QUICK) as up:
        said = up.stdout.read()
        assert up.wait() == 0, said
    results = checkout / "results"
    rows, plan = rows_by_cell(results), quick_plan(tmp_path)
    assert set(rows) == set(plan)
    ready = {name for name, cell in plan.items() if cell["verdict"] == "ready"}
    assert len(ready) >= 8
    for name, row in rows.items():
        if name in ready:
            assert (row["status"], row["engine"]) == ("ok", "docker"), (name, row["reason"])
        else:
            assert (row["status"], row["reason"]) == ("incompatible", plan[name]["reason"])
    owner = checkout.stat().st_uid
    strangers = [path for path in results.rglob("*") if path.stat().st_uid != owner]
    assert strangers == []
    assert cells_of(results) == []


def test_an_error_of_the_orchestrator_is_the_exit_code_of_compose(checkout):
    with compose(checkout, ROSETTA_PROFILE="quik") as up:
        said = up.stdout.read()
        assert up.wait() == 3, said
    assert "Did you mean 'quick'" in said


def test_locks_of_gpus_are_those_of_the_host(checkout):
    name = f"GPU-of-test-{os.getpid()}.lock"
    lock = file_locks.take(file_locks.host_folder() / name)
    code = f"from orchestrator.system import file_locks as f; print('held', f.is_held(f.host_folder() / {name!r}))"
    words = ("run", "--build", "--no-deps", "--rm", "--entrypoint", "python", "rosetta", "-c", code)
    with compose(checkout, *words) as run:
        said = run.stdout.read()
    Path(lock.lock_file).unlink()
    lock.release()
    assert "held True" in said, said


def test_ctrl_c_stops_the_cells_and_keeps_what_has_finished_and_the_pages_show_it_before(checkout, cells_of):
    port = free_port()
    with compose(checkout, ROSETTA_PORT=str(port)) as up:
        for line in up.stdout:
            if "  ok  " in line:
                break
        library = re.search(r"\] (\S+?)/", line)[1]
        address = f"http://127.0.0.1:{port}"
        assert f'href="cells/{library}-' in requests.get(f"{address}/", timeout=60).text
        assert requests.get(f"{address}/live.json", timeout=60).json()["lines"]
        up.send_signal(signal.SIGINT)
        said = up.stdout.read()
    assert cells_of(checkout / "results") == []
    rows = rows_by_cell(checkout / "results")
    assert {row["status"] for row in rows.values()} == {"ok", "incompatible"}, said
    assert any(row["status"] == "ok" for row in rows.values())


def test_further_options_are_handed_on(checkout):
    arguments = "--only '*/rnn/cpu' --repeats 3"
    with compose(checkout, "config", "--format", "json", ROSETTA_ARGS=arguments) as config:
        assert config.stdout is not None
        said = json.loads("".join(line for line in config.stdout if not line.startswith("time=")))
    words = ["run", "--profile", "quick", "--engine", "docker", "--only", "*/rnn/cpu", "--repeats", "3"]
    assert said["services"]["rosetta"]["command"] == words


def test_the_orchestrator_needs_no_gpu_to_find_those_of_its_engine(checkout, pretended_machine):
    alone = ("run", "--rm", "--build", "--no-deps", "rosetta")
    words = (*alone, "plan", "--only", "{jax,pytorch}/rnn/cuda13/*", "--engine", "docker")
    pretended_machine("h100")
    with compose(checkout, *words) as plan:
        assert plan.stdout is not None
        said = plan.stdout.read()
    assert re.search(r"^jax/rnn/cuda13/h100 +ready", said, re.M), said
    assert "found 1 × NVIDIA H100 80GB HBM3 (h100), driver 580.65.06: 2 cells on cuda13" in said


ONE_CELL = "--only chainer/rnn/cpu"


@pytest.fixture
def two_checkouts(checkout, tmp_path) -> tuple[Path, Path]:
    """Of two people, who call the folder alike."""
    other = tmp_path / "other" / checkout.name
    other.parent.mkdir()
    tiny_checkout.copy_of_checkout(other)
    tiny_checkout.give_to(other, CALLER)
    return checkout, other


def test_two_people_run_side_by_side_also_where_one_has_the_port(two_checkouts):
    first, second = two_checkouts
    port = str(free_port())
    with compose(first, ROSETTA_PORT=port, ROSETTA_ARGS=ONE_CELL) as one:
        assert one.stdout is not None
        for line in one.stdout:
            if "chainer" in line:
                break
        with compose(second, ROSETTA_PORT=port, ROSETTA_ARGS=ONE_CELL) as two:
            assert two.stdout is not None
            said = two.stdout.read()
            assert two.wait() != 0
        assert re.search("already (in use|allocated)", said)
        assert "chainer/rnn/cpu" not in said  # nothing runs that nobody looks at
        with compose(second, ROSETTA_ARGS=ONE_CELL) as two:
            assert two.stdout is not None
            said = two.stdout.read()
            assert two.wait() == 0, said
        said = one.stdout.read()
        assert one.wait() == 0, said
    for checkout in two_checkouts:
        assert {row["status"] for row in rows_by_cell(checkout / "results").values()} >= {"ok"}


def test_names_of_projects_tell_folders_apart_and_can_be_given(two_checkouts):
    names = []
    for checkout in two_checkouts:
        with compose(checkout, "config", "--format", "json") as config:
            assert config.stdout is not None
            said = json.loads("".join(line for line in config.stdout if not line.startswith("time=")))
        names.append(said["name"])
    assert len(set(names)) == 2
    with compose(two_checkouts[0], "config", COMPOSE_PROJECT_NAME="mine") as config:
        assert config.stdout is not None
        assert "name: mine\n" in config.stdout.read()


def test_a_checkout_that_only_its_owner_may_read_says_how_its_pages_can_be_had(checkout):
    for path in [checkout, *checkout.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & 0o700)
    with compose(checkout, "build") as build:
        assert build.stdout is not None
        said = build.stdout.read()
        assert build.wait() == 0, said
    with compose(checkout, "run", "--rm", "report") as report:
        assert report.stdout is not None
        said = report.stdout.read()
        assert report.wait() == 8, said
    assert "results can't be read: Permission denied." in said
    assert "ROSETTA_USER=$(id -u) docker compose up" in said
    assert "ModuleNotFoundError" not in said
    port, owner = free_port(), str(checkout.stat().st_uid)
    with compose(checkout, "up", "report", ROSETTA_USER=owner, ROSETTA_PORT=str(port)) as up:
        assert up.stdout is not None
        assert any("shows the results in" in line for line in up.stdout)
        assert requests.get(f"http://127.0.0.1:{port}/", timeout=60).status_code == 200
        up.send_signal(signal.SIGINT)


def test_the_password_of_a_proxy_is_left_nowhere_by_the_orchestrators_own_image(checkout, engine):
    """The proxy is one that is not asked: what the image needs is there already, or comes by NO_PROXY."""
    password = f"planted-{uuid.uuid4().hex}"
    address = f"http://me:{password}@127.0.0.1:9"
    with compose(checkout, "build", HTTPS_PROXY=address, HTTP_PROXY=address, NO_PROXY="*") as build:
        assert build.stdout is not None
        said = build.stdout.read()
        assert build.wait() == 0, said
    image = "rosetta/orchestrator"
    history = subprocess.run(["docker", "history", "--no-trunc", image], capture_output=True, text=True, check=True)
    assert password not in said + history.stdout + json.dumps(engine.api.inspect_image(image))
    kept = Path(engine.info()["DockerRootDir"], "buildkit")
    assert [path for path in kept.glob("*.db") if password.encode() in path.read_bytes()] == []
