"""Runs that nobody watches: killed, shared and on GPUs, with cells that only wait. Everything but the cells is real."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks import nothing, scheduling
from benchmarks.private_engine import PrivateEngine
from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Status
from orchestrator.engines.docker import DockerEngine
from orchestrator.engines.protocol import Task
from orchestrator.system.checkout import ROOT
from tests.containers.test_docker_engine import Probe

pytestmark = pytest.mark.container

RUN = ["run", "--engine", "docker", "--jobs", "2"]


@pytest.fixture
def waiting(engine, tmp_path):
    """A checkout of eight cells that wait for less than a second."""
    yield nothing.checkout(tmp_path / "checkout", [300, 500, 700, 900], repeats=2)
    nothing.remove_images()


@pytest.fixture
def gpu_engine(engine):
    """An engine that grants requests for GPUs where there are none."""
    if os.getuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("a private engine needs root and dockerd")
    with PrivateEngine() as private:
        private.take_image(nothing.BASE)
        yield private


def start(checkout: Path, *words: str) -> "subprocess.Popen[str]":
    command, env = nothing.command(*RUN, *words), nothing.environment(checkout)
    return subprocess.Popen(command, cwd=checkout, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def rows(checkout: Path) -> list[dict]:
    return pq.read_table(checkout / "results" / "merged.parquet").to_pylist()


def test_a_reader_that_goes_away_costs_no_cell(waiting, engine, tmp_path):
    (tmp_path / "run").write_text('"$@" | head -n 1\nexit "${PIPESTATUS[0]}"\n')
    command, env = ["bash", str(tmp_path / "run"), *nothing.command(*RUN)], nothing.environment(waiting)
    done = subprocess.run(command, cwd=waiting, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1), done.stderr
    assert Counter(row["status"] for row in rows(waiting)) == {"ok": 8}
    assert "BrokenPipe" not in done.stderr


def test_after_a_kill_the_next_run_removes_what_is_left_and_runs_only_the_rest(waiting, engine, cells_of):
    with start(waiting) as run:
        for line in run.stdout:
            if "  ok  " in line:
                break
        run.send_signal(signal.SIGKILL)
    orphans = {container.id for container in cells_of(waiting / "results")}
    kept = {path: path.stat().st_mtime_ns for path in (waiting / "results" / "cells").rglob("*.parquet")}
    assert kept
    done = nothing.rosetta(waiting, *RUN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not orphans & {container.id for container in engine.containers.list(all=True, ignore_removed=True)}
    assert cells_of(waiting / "results") == []
    assert all(path.stat().st_mtime_ns == written for path, written in kept.items())
    assert Counter(row["status"] for row in rows(waiting)) == {"ok": 8}


@pytest.fixture
def not_under_nohup() -> Iterator[None]:
    """Restore what SIGHUP does by default, which what is started inherits: the tests may run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("not_under_nohup")
def test_a_terminal_that_is_closed_ends_the_run_like_ctrl_c_and_leaves_no_container(waiting, cells_of):
    with start(waiting) as run:
        for line in run.stdout:
            if "  ok  " in line:
                break
        run.send_signal(signal.SIGHUP)
        run.stdout.read()
    assert run.returncode == 130
    assert cells_of(waiting / "results") == []
    assert "ok" in {row["status"] for row in rows(waiting)}


def test_two_orchestrators_share_a_matrix_and_status_sees_both(waiting, cells_of):
    first, second = start(waiting), start(waiting)
    with first, second:
        seen = {"runs": []}
        until = time.monotonic() + 60
        while len(seen["runs"]) < 2 and time.monotonic() < until:
            time.sleep(0.2)
            said = nothing.rosetta(waiting, "status", "--json")
            seen = json.loads(said.stdout) if said.returncode == 0 else seen
        assert len(seen["runs"]) == 2
        said = [first.communicate()[0], second.communicate()[0]]
    assert (first.returncode, second.returncode) == (0, 0), said
    assert [text.count("  ok  ") > 0 for text in said] == [True, True]
    assert sum(text.count("  ok  ") for text in said) == 8
    assert Counter(row["status"] for row in rows(waiting)) == {"ok": 8}
    assert cells_of(waiting / "results") == []


def test_a_gpu_belongs_to_one_cell_and_pretended_ones_are_marked(gpu_engine, tmp_path):
    waits = range(300, 1200, 100)
    points = [
        {"library": f"waits-{wait}", "platform": "cuda12", "gpu": gpu}
        for wait, gpu in zip(waits, ["p100", "v100", "h200"] * 3, strict=True)
    ]
    checkout = nothing.checkout(tmp_path / "checkout", waits, nothing.matrix_of(points))
    host = scheduling.pretended_machine(tmp_path / "host.json")
    variables = {"ROSETTA_HOST": str(host), "DOCKER_HOST": gpu_engine.socket}
    orchestrators = [
        subprocess.Popen(nothing.command(*RUN), cwd=checkout, env=nothing.environment(checkout, **variables))
        for _ in range(2)
    ]
    assert [process.wait(120) for process in orchestrators] == [0, 0]
    uses = [scheduling.use_of(path) for path in (checkout / "results" / "cells").rglob("*.log")]
    assert len(uses) == 9
    assert scheduling.overlaps(uses) == 0
    assert {gpu for gpu, _, _ in uses} <= {f"GPU-pretended-{number}" for number in range(8)}
    for row in rows(checkout):
        assert (row["status"], row["driver"], row["shortened"]) == ("ok", "pretended", True)
        assert row["gpu_name"].startswith("pretended ")
        assert row["host"].endswith("(pretended GPUs)")


def test_an_engine_that_hangs_holds_no_cell_for_ever(gpu_engine, tmp_path, monkeypatch):
    """Stopped, not killed: connections stay open and nothing answers."""
    monkeypatch.setenv("DOCKER_HOST", gpu_engine.socket)
    monkeypatch.setattr("orchestrator.engines.docker.GRACE", 2.0)
    (tmp_path / "Dockerfile").write_text(f'FROM {nothing.BASE}\nENTRYPOINT ["sh", "-c", "sleep 600"]\n')
    assert gpu_engine.docker("build", "--tag", "rosetta/forever", str(tmp_path)).returncode == 0
    docker_engine = DockerEngine()
    docker_engine.api.timeout = 2
    stop = threading.Timer(1, gpu_engine.daemon.send_signal, (signal.SIGSTOP,))
    stop.start()
    try:
        task = Task(Cell("any", "rnn"), Probe("rosetta/forever"), "key", "run", deadline=3.0)
        outcome = docker_engine.run(task, lambda event: None)
        assert outcome.status is Status.HOST_LOST
        assert outcome.wall_seconds < 60
    finally:
        stop.join()
        gpu_engine.daemon.send_signal(signal.SIGCONT)
        docker_engine.api.close()


def test_a_build_past_its_deadline_is_stopped_and_its_cells_have_a_row_that_says_so(engine, tmp_path):
    checkout = nothing.checkout(tmp_path / "checkout", [100])
    template = checkout / "images" / "Dockerfile.j2"
    quick = template.read_text()
    template.write_text(f"{quick}RUN sleep 300\n")
    done = nothing.rosetta(checkout, *RUN, "--build-deadline", "3")
    assert done.returncode == 6, done.stdout
    assert "was not built within 3 s" in done.stderr
    assert [(row["status"], row["reason"].split(":")[0]) for row in rows(checkout)] == [("failed", "no image")]
    template.write_text(quick)
    assert nothing.rosetta(checkout, *RUN).returncode == 0
    assert sorted(row["status"] for row in rows(checkout)) == ["failed", "ok"]  # another recipe is another key
    nothing.remove_images()


def test_random_kills_lose_nothing_and_leave_nothing(engine):
    """The campaign of benchmarks/faults.py, a short one; dockerd is killed too where we may have one of our own."""
    private = ["--private-engine"] if os.getuid() == 0 and shutil.which("dockerd") else []
    words = [ROOT / "benchmarks" / "faults.py", "--kills", "8", "--cells", "6", *private]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
