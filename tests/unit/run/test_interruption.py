"""Ctrl-C at any moment of a run on a cluster. Its commands are fakes: a real one is not slow whenever it is wanted."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
import threading
import time
import uuid
from pathlib import Path

import pytest

from benchmarks import nothing, slurm
from orchestrator.cell.cell import Cell
from orchestrator.engines.protocol import Task
from orchestrator.engines.slurm import commands
from orchestrator.engines.slurm.engine import SlurmEngine
from orchestrator.engines.slurm.inside import way
from orchestrator.engines.slurm.site import Slurm
from orchestrator.errors import INTERRUPTED
from orchestrator.images.image import image_for

FAKE = """#!/bin/sh
# Slurm's commands, by the name under which it is called; every job waits for ever
cd {folder}/jobs
sleep 0.2
[ -e {folder}/gone ] && {{ echo "Unable to contact slurm controller" >&2; exit 1; }}
case "${{0##*/}} $*" in
    "sinfo --version") echo slurm 24.11 ;;
    sinfo*) echo "cpu*|infinite|1|4|8000|(null)|n1" ;;
    sbatch*) sed -n 's/^#SBATCH --comment=//p' >$$; echo $$ ;;
    squeue*) for job in *; do [ -e "$job" ] && echo "$job|PENDING|None||rosetta:a|$(cat $job)"; done ;;
    scancel*) shift; rm -f "$@" ;;
esac
exit 0
"""


@pytest.fixture
def login(tmp_path) -> Path:
    """The folder of a login node, with a checkout and the commands."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "commands").mkdir()
    fake = tmp_path / "commands" / "fake"
    fake.write_text(FAKE.format(folder=tmp_path))
    fake.chmod(0o755)
    for name in ("sinfo", "sbatch", "squeue", "scancel"):
        (tmp_path / "commands" / name).symlink_to(fake)
    slurm.checkout(tmp_path, [60_000, 70_000])
    return tmp_path


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(status["SigCgt"], 16) >> (number - 1) & 1)


def interrupted_run(login: Path, seconds: float, send) -> tuple[int, str]:
    """Start a run as a script does with '&', send SIGINT so long after it can catch that; its exit code and output."""
    words = nothing.command("run", "--on", "slurm", "--engine", "process")
    given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    shell = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", *words]
    run = subprocess.Popen(shell, cwd=login / "checkout", env=slurm.variables(login), start_new_session=True, **given)
    try:
        until = time.monotonic() + 30
        while not catches(run.pid, signal.SIGINT) and time.monotonic() < until:
            time.sleep(0.02)
        time.sleep(seconds)
        send(run.pid, signal.SIGINT)
        said, _ = run.communicate(timeout=30)
    finally:
        run.kill()
    return run.returncode, said


@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["to the program", "in its terminal"])
@pytest.mark.parametrize("seconds", [0.2, 0.5, 1, 1.5, 2, 3])
def test_ctrl_c_ends_a_run_on_a_slow_cluster_at_any_moment(login, seconds, send):
    code, said = interrupted_run(login, seconds, send)
    assert (code, "interrupted" in said) == (INTERRUPTED, True), said
    assert list((login / "jobs").iterdir()) == []


@pytest.fixture
def following(login, monkeypatch) -> tuple[SlurmEngine, threading.Thread, list[str]]:
    """An engine on that node, the thread in which it follows a job that waits, and what it says."""
    monkeypatch.setenv("PATH", f"{login / 'commands'}:{os.environ['PATH']}")
    monkeypatch.setattr(commands, "PATIENCE", 2.0)
    said: list[str] = []
    engine = SlurmEngine(way("process"), Slurm(), login / "results", said.append)
    image = image_for("pytorch", "cpu")
    assert image is not None
    cell = Cell("pytorch", "rnn", data="synthetic", epochs=1, samples=64)
    task, queued = Task(cell, image, "key", uuid.uuid4().hex, claim="id/key"), threading.Event()
    thread = threading.Thread(target=engine.run, args=(task, lambda event: queued.set()), daemon=True)
    thread.start()
    assert queued.wait(30)
    return engine, thread, said


def test_a_cluster_that_does_not_answer_any_more_holds_nobody_up(login, following):
    engine, thread, said = following
    (login / "gone").touch()
    engine.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert said[-1].startswith("Slurm did not end the jobs")
    assert said[-1].endswith("The next run takes over what is left.")
    assert list((login / "results" / ".jobs" / "key").glob("*/order.json"))


def test_a_job_that_is_cancelled_leaves_nothing(login, following):
    engine, thread, said = following
    engine.stop()
    thread.join(20)
    assert not thread.is_alive()
    assert (said, list((login / "jobs").iterdir()), list((login / "results" / ".jobs").iterdir())) == ([], [], [])


def test_nobody_is_asked_at_a_terminal_that_would_stop_who_reads_from_it():
    """As 'rosetta run &' in a shell, whose terminal belongs to another group of processes."""
    ours, theirs = pty.openpty()
    code = "import os; from orchestrator.engines.choice import agreed; os.setpgid(0, 0); print(agreed('Cancel?'))"
    shell = ["sh", "-c", '"$@"', "sh", sys.executable, "-c", code]
    given = {"stdin": theirs, "stdout": subprocess.PIPE, "stderr": theirs, "start_new_session": True}
    asked = subprocess.Popen(shell, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0), **given)
    try:
        assert asked.communicate(timeout=30)[0] == b"True\n"
    finally:
        asked.kill()
        os.close(ours)
        os.close(theirs)
