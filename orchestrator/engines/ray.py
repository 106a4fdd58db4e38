"""Run cells on a Ray cluster: Ray chooses the node, the node's own Docker engine runs the container.

Claims, order, attempts and rows stay with the orchestrator; a node sends back its events and its outcome.
"""

import itertools
import os
import socket
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.cell.contract import Outcome, Status
from orchestrator.engines import client, code_scan, node
from orchestrator.engines.cluster import ID, LABEL, LOOK, Cluster, ClusterSlots, Node, cause
from orchestrator.engines.protocol import Leases, OnEvent, RemovesAtOnce, Task
from orchestrator.errors import EngineError
from orchestrator.images.architectures import Scan
from orchestrator.images.building import build_images, built_on, inspect_images
from orchestrator.images.image import Image, every_image
from orchestrator.system import library_folders
from orchestrator.system.host import Host, machine_reason
from orchestrator.system.terminal import Say
from orchestrator.system.words import counted

HERE = "127.0.0.1:6379"
"""The default address of a cluster's head, on its own machine."""

SENT = ("ROSETTA_DATA_MIRROR",)
"""Variables of the orchestrator that are sent to the nodes; all others are the nodes' own."""


class RayEngine(RemovesAtOnce):
    """The cluster at an ``address``, HOST:PORT of its head; by default ``RAY_ADDRESS``, else this machine."""

    name = "ray"
    in_containers, takes_weights, built_by_docker = True, False, True

    def __init__(self, address: str | None, say: Say) -> None:
        self._home = connect(address)
        self.host = f"Ray cluster {ray.get_runtime_context().gcs_address}"
        self.cluster = Cluster(say)
        self.stopping = False
        self._models: tuple[str, ...] = ()
        self._jobs = 0
        self._sources: dict[str, node.Source] = {}
        self._running: dict[str, Any] = {}
        self._seats: dict[str, tuple[str, int]] = {}
        self._lock = threading.Lock()

    @property
    def version(self) -> str:
        """The version of Ray, which is the same on all nodes, and the number of nodes."""
        return f"Ray {ray.__version__}, {counted(len(self.cluster.nodes), 'node')}"

    @property
    def image_folder(self) -> Path | None:
        """None: each node has its own."""
        return None

    @cached_property
    def _built_on(self) -> Mapping[str, str]:
        return built_on(every_image(), client.engine_variables())

    def machine(self) -> Host:
        """Return the hardware of all nodes as one host."""
        return self.cluster.host

    def slots(self, host: Host, models: Collection[str], cpu_cells: int) -> Leases:
        """Return slots that follow the nodes as they come and go."""
        self._models, self._jobs = tuple(models), cpu_cells
        return ClusterSlots(self.cluster, models, cpu_cells)

    def unavailable(self, image: Image) -> str | None:
        """None: every image can be built here and brought to every node."""
        return None

    def machine_code(self, image: Image) -> Scan | None:
        """Return the scan made when the image was built here."""
        return code_scan.found_in(image, client.engine_variables())

    def built_on(self, image: Image) -> str:
        """Return the bases of an image as the local engine, which builds it, has them."""
        return self._built_on.get(image.tag, "")

    def prepare(self, wanted: Sequence[Image], say: Say) -> Mapping[str, str]:
        """Build missing images here; a node fetches an image when it runs the first cell of it."""
        with closing(client.Connection()) as connection:
            built = build_images(wanted, progress=say, variables=connection.variables)
            built |= code_scan.look_into(connection, wanted, say)
            there = inspect_images(list(built), connection.variables)
        for tag, found in there.items():
            digests = tuple(digest for digest in found.get("RepoDigests") or () if names_registry(digest))
            self._sources[tag] = node.Source(built[tag], digests, self._home)
        return built

    def run(self, task: Task, on_event: OnEvent) -> Outcome:
        """Run the cell on a node and follow it; if the node is lost, the cell is removed wherever it still runs."""
        started, clock = datetime.now(UTC), time.perf_counter()
        try:
            with self._submitted(task) as stream:
                return self._follow(stream, task, on_event)
        except EngineError as error:
            outcome = Outcome(Status.HOST_LOST, error.what)
        except RayError as error:
            outcome = Outcome(Status.HOST_LOST, f"lost with its node: {cause(error)}")
        self.cluster.forget(task.run)
        return replace(outcome, started=started, wall_seconds=time.perf_counter() - clock)

    def cells(self) -> Mapping[str, str]:
        """Return the claims of the cells on all nodes, by node and container."""
        nodes = [each.id for each in self.cluster.nodes]
        answers = self.cluster.ask(nodes, node.cells)
        return {f"{at} {container}": claim for at, there in answers.items() for container, claim in there.items()}

    def remove(self, handle: str) -> None:
        """Remove a container of a node."""
        at, container = handle.split()
        self.cluster.ask([at], node.remove, [container])

    def stop(self) -> None:
        """Cancel all Ray tasks; each cell's own thread then removes its container."""
        with self._lock:
            self.stopping = True
            running = list(self._running.values())
        for stream in running:
            ray.cancel(stream, force=True)

    @contextmanager
    def _submitted(self, task: Task) -> Iterator[Any]:
        """Submit a cell and yield the stream of its events; raises EngineError if no node can run it."""
        nodes = self.cluster.serving(task.cell)
        if not nodes:
            raise EngineError(self._reason(task) or "no node is left")
        source = self._sources[task.image.tag]
        try:
            with self._lock:
                if self.stopping:
                    raise EngineError("stopped before it began")
                job, demand = (
                    self._cpu_demand(nodes, task)
                    if task.cell.gpu == "none"
                    else (0, gpu_demand(nodes, task.cell.n_gpus))
                )
                order = node.Order(task, source, self._models, self._jobs, job)
                stream = node.remote(node.run_cell).options(**demand).remote(order)
                self._running[task.run] = stream
            yield stream
        finally:
            with self._lock:
                self._running.pop(task.run, None)
                self._seats.pop(task.run, None)

    def _follow(self, stream: Any, task: Task, on_event: OnEvent) -> Outcome:
        """Forward the events of a cell until its outcome arrives; raises RayError or EngineError if it is lost."""
        while True:
            ready, _ = ray.wait([stream], timeout=LOOK)
            if ready:
                said = ray.get(next(stream))
                if isinstance(said, Outcome):
                    return said
                on_event(said)
            elif reason := self._reason(task):  # Ray would wait for another such node for ever
                ray.cancel(stream, force=True)
                raise EngineError(reason)

    def _reason(self, task: Task) -> str | None:
        """Return why no current node can run a cell, or None."""
        return machine_reason(task.cell.platform, task.cell.gpu, self.cluster.host, task.cell.n_gpus)

    def _cpu_demand(self, nodes: Sequence[Node], task: Task) -> tuple[int, dict[str, Any]]:
        """Return the number of a cell without GPU on its machine, and what it asks of Ray.

        The machine is one with the fewest such cells of ours; the cell gets its share of that machine's CPUs.
        """

        def taken(each: Node) -> set[int]:
            return {job for name, job in self._seats.values() if name == each.name}

        chosen = min(nodes, key=lambda each: len(taken(each)))
        job = next(number for number in itertools.count() if number not in taken(chosen))
        self._seats[task.run] = chosen.name, job
        there = NodeAffinitySchedulingStrategy(chosen.id, soft=False)
        return job, {"num_cpus": chosen.cpus // self._jobs, "scheduling_strategy": there}


def gpu_demand(nodes: Sequence[Node], n_gpus: int) -> dict[str, Any]:
    """Return what a GPU cell asks of Ray: ``n_gpus`` of one of these nodes, whose driver is new enough, by label."""
    labels, ids = sorted({each.label for each in nodes}), [each.id for each in nodes]
    return {
        "num_cpus": 0,
        "num_gpus": n_gpus,
        "label_selector": {LABEL: f"in({','.join(labels)})", ID: f"in({','.join(ids)})"},
    }


def names_registry(digest: str) -> bool:
    """Return whether ``HOST/NAME@sha256:…`` can be pulled: engines may give digests to images never pushed, too."""
    first, slash, _ = digest.partition("/")
    return bool(slash) and (first == "localhost" or "." in first or ":" in first)


def connect(address: str | None) -> str:
    """Connect to a cluster and send this program's code to its nodes; returns the id of the local node.

    Raises EngineError.
    """
    address = address or os.environ.get("RAY_ADDRESS") or HERE
    host, _, port = address.rpartition(":")
    remedy = "Start it with 'ray start' here and on each machine, see docs/clusters.md."
    if "/" in host or not port.isdecimal():
        raise EngineError(f"{address} is not HOST:PORT.", "A node of the cluster must run here too.", remedy)
    # Ray prints messages about nodes where programs read our events, and has no public switch to stop it.
    ray._private.worker._worker_logs_enabled = False
    sent = {name: os.environ[name] for name in SENT if name in os.environ}
    modules = [str(library_folders.PACKAGE), str(library_folders.PROGRAM.workloads / "harness")]
    try:
        socket.create_connection((host, int(port)), timeout=10).close()  # Ray would try for minutes
        ray.init(
            address,
            log_to_driver=False,
            configure_logging=False,
            runtime_env={"py_modules": modules, "env_vars": sent},
        )
    except (RayError, OSError, RuntimeError, ValueError) as error:
        raise EngineError(f"No Ray cluster answers at {address}.", cause(error), remedy) from None
    return str(ray.get_runtime_context().get_node_id())
