"""Cells on a real Ray cluster: the head and two nodes share the machine's engine, the third has one of its own.

So images have to be brought there.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks import nothing, scheduling
from benchmarks.private_engine import PrivateEngine
from orchestrator.cell.cell import Cell
from orchestrator.engines.docker import DockerEngine
from orchestrator.engines.protocol import Placed, Task
from tests.containers.ray_cluster import NAMES, SETTINGS, Machines, uuid_of
from tests.containers.test_docker_engine import Probe

pytestmark = pytest.mark.container


@pytest.fixture(scope="module")
def private(engine) -> Iterator[PrivateEngine]:
    """The engine of the node h200-1."""
    if os.getuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("a private engine needs root and dockerd")
    with PrivateEngine() as private:
        yield private


@pytest.fixture(scope="module")
def machines(private, tmp_path_factory) -> Iterator[Machines]:
    with pytest.MonkeyPatch.context() as patched:
        for name, value in SETTINGS.items():
            patched.setenv(name, value)
        with Machines(tmp_path_factory.mktemp("cluster"), {"h200-1": private.socket}) as machines:
            yield machines
    nothing.remove_images()


@contextmanager
def running(checkout: Path, machines: Machines, *words: str) -> Iterator[tuple["subprocess.Popen[str]", Iterator]]:
    """An orchestrator and its events."""
    command = nothing.command("run", "--engine", "ray", "--address", machines.cluster.address, "--json", *words)
    env = nothing.environment(checkout)
    with subprocess.Popen(command, cwd=checkout, env=env, stdout=subprocess.PIPE, text=True) as run:
        try:
            yield run, map(json.loads, run.stdout)
        except BaseException:
            run.kill()  # else a test that fails would wait for its end
            raise


def until(events: Iterator[dict], kind: str, **facts) -> dict:
    """The first event of a kind that has these facts."""
    return next(event for event in events if event["event"] == kind and facts.items() <= event.items())


def point(wait: int, gpu: str) -> dict[str, str]:
    return {"library": f"waits-{wait}", "platform": "cpu" if gpu == "none" else "cuda12", "gpu": gpu}


def rows(checkout: Path) -> list[dict]:
    return pq.read_table(checkout / "results" / "merged.parquet").to_pylist()


def test_a_matrix_ends_complete_although_a_node_is_killed_midway(machines, private, cells_of, tmp_path):
    lengths = {"p100": (500, 900, 1300), "h200": (600, 1000), "v100": (2000, 2100, 2200), "none": (400, 800)}
    points = [point(wait, gpu) for gpu, waits in lengths.items() for wait in waits] + [point(400, "a100")]
    checkout = nothing.checkout(tmp_path / "checkout", sum(lengths.values(), ()), nothing.matrix_of(points))
    with running(checkout, machines) as (run, events):
        lost = until(events, "placed", gpus=[uuid_of("v100-1")])["cell"]
        until(events, "epoch", cell=lost)
        machines.kill("v100-1")
        assert "lost with its node" in until(events, "again", cell=lost)["reason"]
        assert until(events, "placed", cell=lost)["gpus"] == [uuid_of("v100-2")]
        seen = list(events)
    assert run.returncode == 0, seen
    found = rows(checkout)
    assert Counter(row["status"] for row in found) == {"ok": 10, "incompatible": 1}
    assert len({row["cell"] for row in found}) == 11
    assert next(row["reason"] for row in found if row["gpu"] == "a100") == "no node can run it: no A100 (4)"
    name = DockerEngine().host
    for row in found:
        if row["status"] == "ok":
            assert row["host"] == (name if row["gpu"] == "none" else f"{name} (pretended GPUs)")
            assert row["gpu_name"] == (None if row["gpu"] == "none" else f"pretended {NAMES[row['gpu']]}")
            assert row["image_digest"].startswith("sha256:")
    uses = [scheduling.use_of(path) for path in (checkout / "results" / "cells").rglob("*.log")]
    assert scheduling.overlaps([use for use in uses if use[0] != "none"]) == 0
    assert cells_of(checkout / "results") == []
    assert private.docker("ps", "--all", "--quiet").stdout == b""
    machines.start("v100-1")


def test_a_node_that_comes_back_is_cleaned_and_serves_again(machines, private, tmp_path):
    checkout = nothing.checkout(tmp_path / "checkout", [3000], nothing.matrix_of([point(3000, "h200")]))
    with running(checkout, machines) as (run, events):
        until(events, "epoch")
        machines.kill("h200-1")
        orphans = set(private.docker("ps", "--all", "--quiet").stdout.split())
        assert len(orphans) == 2  # the cell, and what holds its results
        machines.start("h200-1")
        until(events, "again")
        until(events, "epoch")
        assert not orphans & set(private.docker("ps", "--all", "--quiet").stdout.split())
        list(events)
    assert run.returncode == 0
    assert [row["status"] for row in rows(checkout)] == ["ok"]
    assert private.docker("ps", "--all", "--quiet").stdout == b""


def test_ctrl_c_and_a_kill_leave_nothing_that_the_next_run_does_not_find(machines, cells_of, tmp_path):
    checkout = nothing.checkout(tmp_path / "checkout", [1200, 1400, 1600])
    with running(checkout, machines, "--jobs", "2") as (run, events):
        until(events, "epoch")
        run.send_signal(signal.SIGINT)
        list(events)
    assert run.returncode == 130
    assert cells_of(checkout / "results") == []
    with running(checkout, machines, "--jobs", "2") as (run, events):
        until(events, "epoch")
        run.kill()
    with running(checkout, machines, "--jobs", "2") as (run, events):
        list(events)
    assert run.returncode == 0
    assert [row["status"] for row in rows(checkout)] == ["ok"] * 3
    assert cells_of(checkout / "results") == []


@pytest.fixture
def registry(tmp_path) -> Iterator[str]:
    """A registry of this machine, as HOST:PORT."""
    if shutil.which("docker-registry") is None:
        pytest.skip("needs docker-registry, which .ci/tools installs")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    storage = {"filesystem": {"rootdirectory": str(tmp_path / "registry")}}
    (tmp_path / "registry.json").write_text(json.dumps({"version": 0.1, "storage": storage, "http": {"addr": address}}))
    command = ["docker-registry", "serve", str(tmp_path / "registry.json")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as served:
        yield address
        served.terminate()


def test_a_node_pulls_by_digest_what_lies_in_a_registry(engine, registry, tmp_path):
    from orchestrator.engines import node

    (tmp_path / "Dockerfile").write_text(f"FROM {nothing.BASE}\nLABEL registry={registry}\n")
    name, tag = f"{registry}/pulled", "rosetta/pulled:test"
    image, _ = engine.images.build(path=str(tmp_path), tag=name, rm=True)
    for line in engine.images.push(name, stream=True, decode=True):
        assert "error" not in line, line
    (digest,) = engine.images.get(name).attrs["RepoDigests"]
    engine.images.remove(name)
    assert not node.has(image.id)
    node.bring_image(node.Source(image.id, (digest,), "nowhere"), tag)
    assert engine.images.get(tag).id == image.id
    node.engine().api.close()
    node.engine.cache_clear()
    engine.images.remove(image.id, force=True)


def test_a_node_fetches_the_data_itself_and_gives_a_cell_its_share(engine, real_data, tmp_path, monkeypatch):
    from orchestrator.engines import node

    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ROSETTA_DATA_MIRROR", str(real_data))
    (tmp_path / "Dockerfile").write_text(f'FROM {nothing.BASE}\nENTRYPOINT ["sh", "-c", "sha256sum /data/*"]\n')
    image, _ = engine.images.build(path=str(tmp_path), tag="rosetta/sums:test", rm=True)
    task = Task(Cell("any", "rnn"), Probe("rosetta/sums:test"), "key", "run", data=Path("/of/the/driver/imdb"))
    order = node.Order(task, node.Source(image.id, (), "nowhere"), models=(), jobs=2, job=1)
    told = []
    outcome = node.attempt(order, [], told.append)
    assert outcome.reason.startswith("left no result although it ended with exit code 0")
    assert "/data/train.words.npy" in outcome.log
    assert (tmp_path / "cache" / "data" / "imdb" / "train.words.npy").is_file()
    assert outcome.host == node.engine().host
    assert told == [Placed(outcome.host, ())]
    node.engine().api.close()
    node.engine.cache_clear()
    engine.images.remove("rosetta/sums:test")
