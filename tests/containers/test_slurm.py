"""A real Slurm: a controller and two nodes, each a container, with two pretended cards of NVIDIA's on each node."""

import json
import os
import pty
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks import nothing, slurm
from orchestrator.results.claims import living
from orchestrator.system.checkout import ROOT
from tests.containers.slurm_cluster import SlurmCluster

pytestmark = pytest.mark.container


@pytest.fixture(scope="module")
def cluster(engine, tmp_path_factory) -> Iterator[SlurmCluster]:
    if os.getuid() != 0:
        pytest.skip("the image of a node is made by root")
    made = subprocess.run([ROOT / ".ci" / "node-image"], stdout=subprocess.PIPE, text=True, check=True)
    with SlurmCluster(made.stdout.strip(), tmp_path_factory.mktemp("shared")) as cluster:
        yield cluster


@pytest.fixture
def folder(cluster, tmp_path) -> Path:
    """A folder of a test's own on what the nodes share, with the commands of Slurm."""
    own = cluster.shared / tmp_path.name
    own.mkdir()
    (own / "commands").symlink_to(cluster.commands)
    return own


def rosetta(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    env = slurm.variables(folder)
    command = nothing.command(*words)
    return subprocess.run(command, cwd=folder / "checkout", env=env, capture_output=True, text=True, check=False)


RUN = ("run", "--on", "slurm", "--engine", "process")


@contextmanager
def started(folder: Path, **given: object) -> "Iterator[subprocess.Popen[bytes]]":
    """A run of one cell, which says that it runs; killed in the end unless it has ended."""
    with (folder / "said").open("ab") as log:
        given = {"stdout": log, "stderr": log, **given}
        run = subprocess.Popen(nothing.command(*RUN), cwd=folder / "checkout", env=slurm.variables(folder), **given)
    try:
        until = time.monotonic() + 60
        while not [one for _, one in living(folder / "checkout" / "results") if one["host"].startswith("node")]:
            assert run.poll() is None, (folder / "said").read_text()
            assert time.monotonic() < until
            time.sleep(0.1)
        yield run
    finally:
        run.kill()
        run.wait()


def jobs_of(folder: Path) -> set[str]:
    orders = (folder / "checkout" / "results" / ".jobs").glob("*/*/order.json")
    return {json.loads(path.read_text())["job"] for path in orders}


def test_a_matrix_ends_whole_whatever_is_killed(cluster, folder):
    points = slurm.points_of(24)
    slurm.checkout(folder, slurm.lengths_of(points), points)
    campaign = slurm.Campaign(cluster, folder, random.Random(0))
    campaign.run(cancels=32, nodes=4, orchestrators=4)
    assert slurm.complaints(campaign.results, 24, cluster) == []
    assert campaign.done["scancel"] >= 5
    rows = pq.read_table(campaign.results / "merged.parquet").to_pylist()
    cards = {row["gpu_name"] for row in rows if row["gpu"] == "a100"}
    assert cards == {"pretended NVIDIA A100 80GB PCIe"}  # as a job in the partition has found it
    assert [path.name for path in (campaign.results / ".jobs" / "cards").glob("*.json")] == ["gpu-gpu-a100.json"]
    assert {row["host"].partition(" ")[0] for row in rows} <= {"node1", "node2"}
    logs = [path.read_text() for path in (campaign.results / "cells").glob("*/*/*/cuda12/a100.log")]
    assert {line.split()[1] for log in logs for line in log.splitlines() if line.startswith("record")} <= {"0", "1"}


def test_the_doctor_asks_the_cluster(cluster, folder):
    slurm.checkout(folder, [100])
    done = rosetta(folder, "doctor", "--on", "slurm", "--engine", "process", "--json")
    found = {each["about"]: each["said"] for each in json.loads(done.stdout)}
    assert done.returncode == 0, done.stderr
    assert found["engine"].startswith("slurm")
    assert found["engine"].endswith("on Slurm cluster")
    assert "A100" in found["GPUs"]
    assert cluster.jobs() == []


def test_jobs_of_an_orchestrator_that_was_killed_are_seen_and_taken_over(cluster, folder):
    slurm.checkout(folder, [20_000])
    with started(folder):
        told = json.loads(rosetta(folder, "status", "--json").stdout)
        (cell,) = told["cells"]
        assert cell["host"] in cluster.nodes
        (job,) = jobs_of(folder)
    told = json.loads(rosetta(folder, "status", "--json").stdout)["unattended"]
    assert [(one["cell"], one["where"]) for one in told] == [("waits-20000/rnn/cpu", f"Slurm's job {job}")]
    before = cluster.newest_job()
    assert rosetta(folder, *RUN).returncode == 0
    assert cluster.newest_job() == before
    assert slurm.complaints(folder / "checkout" / "results", 1, cluster) == []


def test_ctrl_c_cancels_jobs_where_nobody_can_be_asked(cluster, folder):
    slurm.checkout(folder, [60_000])
    with started(folder, stdin=subprocess.DEVNULL) as run:
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 130
    assert cluster.jobs() == []
    assert jobs_of(folder) == set()


def test_ctrl_c_asks_in_a_terminal_and_jobs_that_are_not_cancelled_go_on(cluster, folder):
    slurm.checkout(folder, [20_000])
    ours, theirs = pty.openpty()
    with started(folder, stdin=theirs, stderr=theirs) as run:
        run.send_signal(signal.SIGINT)
        said = b""
        while b"[Y/n]" not in said:
            said += os.read(ours, 4096)
        os.write(ours, b"n\n")
        assert run.wait(60) == 130
    assert b"Cancel 1 job of this run?" in said
    (job,) = jobs_of(folder)
    assert rosetta(folder, *RUN).returncode == 0
    assert cluster.newest_job() == int(job)
    assert slurm.complaints(folder / "checkout" / "results", 1, cluster) == []
    os.close(ours)
    os.close(theirs)


def test_a_script_that_is_written_to_be_submitted_by_hand_runs(cluster, folder):
    slurm.checkout(folder, [100])
    printed = rosetta(folder, "run", "--print", "slurm", "--engine", "process")
    assert printed.returncode == 0, printed.stderr
    _, script = printed.stdout.split()
    cluster.inside("controller", "sbatch", "--wait", script)
    (document,) = (Path(script).parent / "results").glob("*.json")
    assert json.loads(document.read_text())["library"] == "waits-100"


def test_what_the_cluster_refuses_ends_the_run_with_its_words(cluster, folder):
    slurm.checkout(folder, [100])
    (folder / "checkout" / "site.yaml").write_text("slurm: {lines: ['#SBATCH --partition=nowhere']}\n")
    refused = rosetta(folder, *RUN)
    assert refused.returncode == 5
    assert "invalid partition specified: nowhere" in refused.stderr
    assert cluster.jobs() == []
