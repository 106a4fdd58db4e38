"""A Ray cluster on this machine: a head and three nodes, with pretended GPUs of three kinds."""

import json
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

NAMES = {"p100": "Tesla P100-PCIE-16GB", "v100": "Tesla V100-SXM2-16GB", "h200": "NVIDIA H200"}
HEAD = "p100-0"
NODES = ("v100-1", "v100-2", "h200-1")
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_failure_threshold": "3",
}
"""What the environment must have before a cluster starts: a dead node is noticed within seconds."""


class Machines:
    """The cluster, whose nodes can be killed and started again; ``engines`` has the sockets of those with their own."""

    def __init__(self, folder: Path, engines: Mapping[str, str]) -> None:
        from ray.cluster_utils import Cluster

        self.folder, self.engines = folder, engines
        self.cluster = Cluster()
        self.nodes = {}
        for name in (HEAD, *NODES):
            self.start(name)
        self.cluster.wait_for_nodes()

    def __enter__(self) -> "Machines":
        return self

    def __exit__(self, *_: object) -> None:
        for node in reversed(self.cluster.list_all_nodes()):
            self.cluster.remove_node(node, allow_graceful=False)

    def start(self, name: str) -> None:
        """A node with one GPU; the first is the head."""
        model = name.partition("-")[0]
        host = self.folder / f"{name}.json"
        host.write_text(json.dumps({"driver": "580.65", "gpus": [{"name": NAMES[model], "uuid": uuid_of(name)}]}))
        variables = {"ROSETTA_HOST": str(host), "ROSETTA_LOCKS": str(self.folder / "locks")}
        if name in self.engines:
            variables["DOCKER_HOST"] = self.engines[name]
        self.nodes[name] = self.cluster.add_node(
            wait=False,
            num_cpus=1,
            num_gpus=1,
            labels={"ray.io/accelerator-type": model.upper()},
            object_store_memory=80 * 2**20,
            include_dashboard=False,
            env_vars=variables,
        )

    def kill(self, name: str) -> None:
        """End all that a node has started at once, as if its plug was pulled; only its containers go on."""
        (raylet,) = self.nodes[name].all_processes["raylet"]
        for process in [raylet.process, *psutil.Process(raylet.process.pid).children(recursive=True)]:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


def uuid_of(name: str) -> str:
    return f"GPU-pretended-{name}"
