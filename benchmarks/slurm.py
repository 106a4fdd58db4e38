"""Cells as jobs of a real Slurm: a matrix that ends whole whatever is killed, and how long it takes beside an array.

    python benchmarks/slurm.py IMAGE [--cancels 40] [--cells 24] [--seed 0]
    python benchmarks/slurm.py IMAGE --makespan ROUNDS [--cells 24] [--wait 5000]

IMAGE is the node image that .ci/node-image prints. While cells wait some seconds each, a job of a cell is cancelled at
random moments, and now and then a node loses its power or the orchestrator is killed; both are started again. So is a
run that gave a cell up for now, because its jobs were cancelled as often as a run tries it. In the end every cell must
have exactly one row, ok, and no job or folder of one may be left. With --makespan nothing is killed: the same cells run
by ``rosetta run --on slurm`` and as an array written by hand, in turn. Exit code 1, and what is wrong, if something is
not as it must be.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import pyarrow.parquet as pq

from benchmarks import nothing
from orchestrator.errors import CellsFailed
from tests.containers.slurm_cluster import SlurmCluster

LONGEST = 1200
"""Seconds that a round may take."""

SCRIPT = """#!/bin/sh
shift 2  # -m harness
case " $* " in *" --parity "*)
    epochs=1 samples=320 steps=5 metric=parity
    parity='{"scores": 0.0, "loss": 0.0, "parameters": 0.0, "updates": 0.0}' ;;
esac
"""
"""How the interpreter begins that stands in for an environment: the rest is the script of ``nothing``."""

PLACES = {
    "/results/": "$ROSETTA_RESULTS/",
    "NVIDIA_VISIBLE_DEVICES": "CUDA_VISIBLE_DEVICES",
    '"metric": "accuracy"': '"metric": "${metric:-accuracy}"',
    '"parity": null': '"parity": ${parity:-null}',
    '"steps": 1': '"steps": ${steps:-1}',
}
"""What is called otherwise in a container."""


def checkout(
    folder: Path, lengths: list[int], points: "list[dict[str, str | int]] | None" = None, repeats: int = 1
) -> Path:
    """A checkout whose cells wait so many milliseconds, and the environments in which nodes run them."""
    made = nothing.checkout(folder / "checkout", lengths, points and nothing.matrix_of(points), repeats)
    write = SCRIPT + nothing.SCRIPT
    for there, here in PLACES.items():
        write = write.replace(there, here)
    code = (
        "from orchestrator.engines.process import environment_of; from orchestrator.images.image import every_image\n"
    )
    code += "for image in every_image(): print(environment_of(image))"
    listed = subprocess.run(
        [sys.executable, "-c", code], cwd=made, env=variables(folder), capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        python = Path(name) / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(write)
        python.chmod(0o755)
        (Path(name) / ".complete").touch()
    return made


def variables(folder: Path) -> dict[str, str]:
    """Those of an orchestrator on the login node of the cluster that has this folder."""
    path = f"{folder / 'commands'}:{os.environ['PATH']}"
    return nothing.environment(folder / "checkout", PATH=path, ROSETTA_CACHE=str(folder / "cache"))


def complaints(results: Path, wanted: int, cluster: SlurmCluster) -> list[str]:
    """What is not as it must be, with so many cells."""
    every = pq.read_table(results / "merged.parquet").to_pylist()
    rows = [row for row in every if row["parity"] is None]  # others are the proof of a library on a card
    found = Counter((row["cell"], row["repeat"]) for row in rows)
    claims = {path.name for path in (results / ".claims").iterdir()} - {"id", "folder.lock"}
    left = list((results / ".jobs").rglob("order.json"))
    checks = {
        "cells": len(found) if len(found) != wanted else 0,
        "cells with several rows": [cell for cell, count in found.items() if count > 1],
        "rows not ok": [(row["cell"], row["status"], row["reason"]) for row in rows if row["status"] != "ok"],
        "locks": sorted(claims),
        "folders of jobs": left,
        "jobs": cluster.jobs(),
    }
    return [f"{what}: {which}" for what, which in checks.items() if which]


class Campaign:
    """One matrix, run to its end in spite of everything."""

    def __init__(self, cluster: SlurmCluster, folder: Path, dice: random.Random) -> None:
        self.cluster, self.folder, self.dice = cluster, folder, dice
        self.results = folder / "checkout" / "results"
        self.done: Counter[str] = Counter()
        self.down: dict[str, float] = {}

    def start(self) -> "subprocess.Popen[bytes]":
        """An orchestrator."""
        words = nothing.command("run", "--on", "slurm", "--engine", "process", "--json")
        with (self.folder / "said").open("ab") as log:
            return subprocess.Popen(
                words, cwd=self.folder / "checkout", env=variables(self.folder), stdout=log, stderr=log
            )

    def run(self, cancels: int, nodes: int, orchestrators: int) -> None:
        """Until an orchestrator ends well by itself; so many jobs are cancelled, nodes and orchestrators killed."""
        until = time.monotonic() + LONGEST
        left = Counter({"scancel": cancels, "node": nodes, "orchestrator": orchestrators})
        process = self.start()
        while process.poll() is None or process.returncode != 0 or self.down:
            if time.monotonic() > until:
                raise SystemExit(f"the matrix does not end:\n{(self.folder / 'said').read_text()[-5000:]}")
            if process.poll() in (-signal.SIGKILL, CellsFailed.exit_code):
                process = self.start()
            elif process.poll():
                raise SystemExit(f"the run failed:\n{(self.folder / 'said').read_text()[-5000:]}")
            for node in [node for node, when in self.down.items() if time.monotonic() > when]:
                self.cluster.start(node)
                del self.down[node]
            time.sleep(self.dice.uniform(0.2, 1.5))
            kinds = [kind for kind, count in left.items() for _ in range(count)]
            kind = self.dice.choice(kinds) if kinds else ""
            if process.poll() is None and kind and self.harm(kind, process):
                left[kind] -= 1
                self.done[kind] += 1

    def harm(self, kind: str, process: "subprocess.Popen[bytes]") -> bool:
        """Do one of them; whether there was anything to be harmed."""
        if kind == "orchestrator":
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        if kind == "node":
            up = [node for node in self.cluster.nodes if node not in self.down]
            if not up or self.down:
                return False
            node = self.dice.choice(up)
            self.cluster.kill(node)
            self.down[node] = time.monotonic() + self.dice.uniform(2, 10)
            return True
        jobs = self.cluster.jobs(without="rosetta:probe")  # which would be cancelled each time, being alone at first
        if jobs:
            self.cluster.inside("controller", "scancel", self.dice.choice(jobs))
        return bool(jobs)


def makespans(cluster: SlurmCluster, folder: Path, cells: int, wait: int) -> tuple[float, float]:
    """Seconds for the cells by ``rosetta run``, and by an array that is written by hand and waited for."""
    results = folder / "checkout" / f"results-{time.monotonic_ns()}"
    words = nothing.command("run", "--on", "slurm", "--engine", "process", "--results", str(results))
    began = time.monotonic()
    subprocess.run(words, cwd=folder / "checkout", env=variables(folder), check=True, stdout=subprocess.DEVNULL)
    ours = time.monotonic() - began
    if wrong := complaints(results, cells, cluster):
        raise SystemExit(str(wrong))
    python = next((folder / "cache" / "environments").glob("*cpu*/bin/python"))
    (folder / "array").mkdir(exist_ok=True)
    line = f'mkdir "{folder}/array/$SLURM_JOB_ID"; export ROSETTA_RESULTS="{folder}/array/$SLURM_JOB_ID"'
    cell = f"{python} -m harness waits-{wait} rnn --epochs 1 --samples 64 --seed $SLURM_ARRAY_TASK_ID"
    script = f"#!/bin/bash\n{line}\n{cell}\n"
    began = time.monotonic()
    subprocess.run(
        ["sbatch", f"--array=0-{cells - 1}", "--cpus-per-task=4", f"--output={folder}/array/%a"],
        input=script, env=variables(folder), check=True, text=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    while cluster.jobs():  # 'sbatch --wait' looks every few seconds only
        time.sleep(0.2)
    return ours, time.monotonic() - began


def main() -> None:
    """The campaign, or makespans; a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("image", help="of the nodes")
    parser.add_argument("--cancels", type=int, default=40)
    parser.add_argument("--cells", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--wait", type=int, default=5000, help="milliseconds of a cell of --makespan")
    parser.add_argument("--makespan", type=int, metavar="ROUNDS", default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rosetta-slurm-") as name:
        folder = Path(name)
        with SlurmCluster(arguments.image, folder) as cluster:
            if arguments.makespan:
                checkout(folder, [arguments.wait], repeats=arguments.cells)
                pairs = [makespans(cluster, folder, arguments.cells, arguments.wait) for _ in range(arguments.makespan)]
                for ours, array in pairs:
                    print(f"{ours:.1f} s by rosetta run, {array:.1f} s by an array, ratio {ours / array:.3f}")
                print(f"median ratio {statistics.median(ours / array for ours, array in pairs):.3f}")
                return
            began = time.monotonic()
            points = points_of(arguments.cells)
            checkout(folder, lengths_of(points), points)
            campaign = Campaign(cluster, folder, random.Random(arguments.seed))
            campaign.run(arguments.cancels, nodes=4, orchestrators=4)
            wrong = complaints(campaign.results, arguments.cells, cluster)
            print(f"{arguments.cells} cells in {time.monotonic() - began:.0f} s, {json.dumps(campaign.done)}")
            print("; ".join(wrong) if wrong else "every cell has one row, no job is left")
            if wrong:
                print((folder / "said").read_text()[-8000:])
                sys.exit(1)


def points_of(cells: int) -> "list[dict[str, str | int]]":
    """So many cells that wait from one to three seconds, every other one on one of the pretended cards."""
    kinds = ({"platform": "cuda12", "gpu": "a100"}, {"platform": "cpu", "gpu": "none"})
    return [
        {"library": f"waits-{1000 + 500 * (number % 4)}", **kinds[number % 2], "repeat": number // 4}
        for number in range(cells)
    ]


def lengths_of(points: "list[dict[str, str | int]]") -> list[int]:
    """How many milliseconds they wait."""
    return [int(str(point["library"]).partition("-")[2]) for point in points]


if __name__ == "__main__":
    main()
