"""A real Ray cluster of a head and three nodes on this machine, each node with a pretended GPU of another model.

Two of the nodes share the machine's engine with the head; the third has an engine of its own, to which images have to
be brought.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from benchmarks import nothing
from benchmarks.private_engine import PrivateEngine

pytestmark = pytest.mark.container

MODELS = {"p100": "Tesla P100-PCIE-16GB", "v100": "Tesla V100-SXM2-16GB", "h200": "NVIDIA H200"}
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "3"}
STORE = 80 * 2**20
"""Bytes of a node's object store."""


class Machine:
    """A head and three nodes, one for each model, as long as the context lasts."""

    def __init__(self, folder: Path, engines: dict[str, str]) -> None:
        self.folder, self.engines = folder, engines
        self.nodes = {}

    def __enter__(self) -> "Machine":
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 2, "num_gpus": 0, "include_dashboard": False, "object_store_memory": STORE}
        self.cluster = Cluster(initialize_head=True, head_node_args={**head, "env_vars": self.variables("head")})
        for model in MODELS:
            self.add(model)
        self.cluster.wait_for_nodes()
        return self

    def variables(self, name: str) -> dict[str, str]:
        gpus = [{"name": MODELS[name], "uuid": f"GPU-pretended-{name}"}] if name in MODELS else []
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps({"driver": "580.65", "gpus": gpus}))
        own = {"ROSETTA_HOST": str(path), "ROSETTA_LOCKS": str(self.folder / "locks")}
        return {**own, **({"DOCKER_HOST": self.engines[name]} if name in self.engines else {})}

    def add(self, model: str) -> None:
        self.nodes[model] = self.cluster.add_node(
            wait=False,
            num_cpus=1,
            num_gpus=1,
            labels={"ray.io/accelerator-type": model.upper()},
            object_store_memory=STORE,
            env_vars=self.variables(model),
        )

    def kill(self, model: str) -> None:
        """End a node and all that it has started at once, as a power cut would; its containers go on."""
        (raylet,) = self.nodes[model].all_processes["raylet"]
        tree = [raylet.process.pid, *(child.pid for child in psutil.Process(raylet.process.pid).children(True))]
        for pid in tree:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def __exit__(self, *_: object) -> None:
        self.cluster.shutdown()


@pytest.fixture(scope="module")
def machine(engine, tmp_path_factory):
    if os.getuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("a private engine needs root and dockerd")
    with pytest.MonkeyPatch.context() as patched, PrivateEngine() as private:
        for name, value in QUIET.items():
            patched.setenv(name, value)
        with Machine(tmp_path_factory.mktemp("cluster"), {"h200": private.socket}) as started:
            yield started
    nothing.remove_images()


def start(checkout: Path, machine: Machine, *words: str) -> "subprocess.Popen[str]":
    command = nothing.command("run", "--engine", "ray", "--address", machine.cluster.address, *words)
    env = nothing.environment(checkout)
    return subprocess.Popen(command, cwd=checkout, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def points(waits: range, *models: str) -> list[dict[str, str]]:
    return [
        {"library": f"waits-{wait}", "platform": "cuda12", "gpu": models[number % len(models)]}
        for number, wait in enumerate(waits)
    ]


def rows(checkout: Path) -> list[dict]:
    return pq.read_table(checkout / "results" / "merged.parquet").to_pylist()


def test_a_matrix_ends_complete_although_a_node_is_killed_midway(machine, cells_of, tmp_path):
    waits = range(500, 2900, 200)
    wanted = [*points(waits, *MODELS), {"library": "waits-500", "platform": "cuda12", "gpu": "a100"}]
    checkout = nothing.checkout(tmp_path / "checkout", waits, nothing.matrix_of(wanted))
    said, killed = [], False
    began = time.monotonic()
    with start(checkout, machine) as run:
        for line in run.stdout:
            said.append(f"{time.monotonic() - began:.1f} {line}")
            if not killed and "v100" in line and "epoch" in line:
                machine.kill("v100")
                killed = True
                machine.add("v100")
    print("".join(said))
    assert run.returncode == 0
    print(Counter((row["gpu"], row["status"]) for row in rows(checkout)))
    print({row["host"] for row in rows(checkout)}, {row["gpu_name"] for row in rows(checkout)})
    assert cells_of(checkout / "results") == []
