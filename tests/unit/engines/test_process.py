"""Cells as processes: what they are given, how they end, and that nothing of them stays."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Status
from orchestrator.cell.events import Parity
from orchestrator.engines.process import ProcessEngine, environment_of, is_complete
from orchestrator.engines.protocol import Task
from orchestrator.errors import BuildError
from orchestrator.images.image import image_for
from orchestrator.system import file_locks
from tests.unit.cell.test_contract import raw

CELL = Cell("pytorch", "rnn", data="synthetic")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run a shell script in the place of the environment's Python."""
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path))
    monkeypatch.setenv("A_TOKEN", "secret")
    image = image_for("pytorch", "cpu")
    python = environment_of(image) / "bin" / "python"
    python.parent.mkdir(parents=True)
    engine = ProcessEngine()

    def run(script: str, **limits):
        python.write_text(f"#!/bin/bash\n{script}\n")
        python.chmod(0o755)
        events = []
        return engine.run(Task(CELL, image, "key", "run", **limits), events.append), events

    run.engine = engine
    return run


def test_a_valid_document_is_success(run, tmp_path):
    (tmp_path / "document").write_bytes(raw())
    outcome, events = run(f"""echo '{{"event": "parity"}}'; cp {tmp_path}/document $ROSETTA_RESULTS/a.json; exit 3""")
    assert outcome.status is Status.OK
    assert outcome.document.library == "pytorch"
    assert events == [Parity(event="parity")]


def test_the_cell_gets_the_contracts_arguments_and_no_secrets(run):
    outcome, _ = run('echo "$@"; env; exit 1')
    assert "-m harness pytorch rnn --data synthetic --seed 0" in outcome.log
    assert "ROSETTA_PLATFORM=cpu" in outcome.log
    assert "secret" not in outcome.log


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo no such layer >&2; exit 1", "exit code 1: no such layer"),
        ("exit 0", "left no result although it ended with exit code 0"),
        ("echo '{' > $ROSETTA_RESULTS/a.json", "not a valid result"),
        ("ln -s /etc/passwd $ROSETTA_RESULTS/a.json", "left no result"),
        (f"exec {sys.executable} -m harness pytorch rnn --data synthetic", "No module named 'torch'"),
    ],
)
def test_failures_have_their_reason(run, script, reason):
    outcome, _ = run(script)
    assert outcome.status is Status.FAILED
    assert reason in outcome.reason


def test_a_cell_past_its_deadline_is_killed_with_its_children(run, tmp_path):
    outcome, _ = run(f"sleep 600 & echo $! > {tmp_path}/child; wait", deadline=0.5)
    assert outcome.status is Status.TIMEOUT
    child = int((tmp_path / "child").read_text())
    until = time.monotonic() + 10
    while is_alive(child) and time.monotonic() < until:
        threading.Event().wait(0.01)
    assert not is_alive(child)


@pytest.mark.parametrize("start", ["", "setsid "])
@pytest.mark.parametrize("child", ["sleep 60", "yes"])
def test_what_a_cell_leaves_behind_neither_delays_the_run_nor_stays(run, tmp_path, start, child):
    began = time.monotonic()
    outcome, _ = run(f"echo last words >&2; {start}{child} & echo $! > {tmp_path}/child; exit 3", claim="the-claim")
    assert time.monotonic() - began < 20
    assert outcome.reason.startswith("exit code 3")
    assert "last words" in outcome.log
    pid = int((tmp_path / "child").read_text())
    until = time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < until:
        threading.Event().wait(0.01)
    assert not is_alive(pid)


def test_a_deadline_counts_for_a_cell_whose_child_keeps_the_output(run):
    began = time.monotonic()
    outcome, _ = run("setsid sleep 60 & sleep 60", deadline=0.5, claim="the-claim")
    assert outcome.status is Status.TIMEOUT
    assert time.monotonic() - began < 20


def is_alive(pid: int) -> bool:
    """Whether a process has not ended."""
    return os.path.exists(f"/proc/{pid}") and "Z" not in stat(pid)


def stat(pid: int) -> str:
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout or "Z"


def test_what_a_dead_orchestrator_left_of_a_cell_is_ended_before_it_runs_again(run):
    # It writes once it has begun: a process that was only just started shows no variables yet.
    words, claim = ["sh", "-c", "echo; read forever"], {"ROSETTA_CLAIM": "folder/key"}
    with subprocess.Popen(words, env=claim, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as left:
        left.stdout.readline()
        assert run.engine.cells()[str(left.pid)] == "folder/key"
        run("exit 1", claim="folder/other")
        assert left.poll() is None
        run("exit 1", claim="folder/key")
        assert left.wait(10) == -9


def test_stop_ends_a_running_cell(run):
    started = threading.Event()
    outcomes = []

    def cell() -> None:
        outcomes.append(run("echo; sleep 600"))

    thread = threading.Thread(target=cell)
    thread.start()
    while not run.engine._running:
        started.wait(0.01)
    run.engine.stop()
    thread.join(timeout=30)
    assert outcomes[0][0].document is None
    assert run.engine.stopping


def test_what_needs_a_container_says_so():
    engine = ProcessEngine()
    assert "Open MPI" in engine.unavailable(image_for("cntk", "cpu"))
    assert not is_complete(environment_of(image_for("cntk", "cpu")))


def test_who_waits_for_anothers_installation_stops_when_the_run_does(monkeypatch, tmp_path):
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path))
    engine, image = ProcessEngine(), image_for("pytorch", "cpu")
    environment_of(image).parent.mkdir(parents=True)
    other = file_locks.take(environment_of(image).parent / f"{environment_of(image).name}.lock")
    engine.stopping = True
    with ThreadPoolExecutor(1) as pool, pytest.raises(BuildError, match="Stopped while another program"):
        pool.submit(engine.prepare, [image], print).result(60)
    other.release()
