"""The nodes of a Ray cluster: which are up, what hardware they have, and how many cells they can run at a time."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from orchestrator.cell.cell import Cell
from orchestrator.engines import node
from orchestrator.errors import EngineError
from orchestrator.system.gpus import model_of
from orchestrator.system.host import Host, machine_reason, together
from orchestrator.system.slots import Lease
from orchestrator.system.terminal import Say

LABEL, ID = "ray.io/accelerator-type", "ray.io/node-id"
"""Ray's own labels of a node."""

LOOK = 2.0
"""Minimum seconds between two looks at which nodes are up."""

PATIENCE = 60.0
"""Timeout in seconds for the first answers of the nodes at the start, and for any later question to a node."""


@dataclass(frozen=True)
class Node:
    """A node that can run cells: its machine's ``name``, and those of the machine's GPUs that its ``label`` names."""

    id: str
    name: str
    label: str
    gpus: int
    cpus: int
    host: Host


class Cluster:
    """The nodes that can run cells now. Nodes may come and go; a new node is used once it has answered."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._nodes: dict[str, Node] = {}
        self._asked: dict[str, Any] = {}
        self._problems: dict[str, str] = {}
        self._lost: set[str] = set()
        self._looking = threading.Lock()
        self._looked = 0.0
        self._look(PATIENCE)
        if not self._nodes:
            why = next(iter(self._problems.values()), "It has no nodes.")
            raise EngineError("No node of the Ray cluster can run cells.", why, "See docs/clusters.md.")

    @property
    def nodes(self) -> list[Node]:
        """The nodes that can run cells now."""
        with self._looking:
            if time.monotonic() - self._looked > LOOK:
                self._look(0.0)
            return list(self._nodes.values())

    @property
    def host(self) -> Host:
        """All nodes as one host; raises GpuError if they don't belong together."""
        return together([each.host for each in self.nodes])

    def serving(self, cell: Cell) -> list[Node]:
        """Return the nodes that can run a cell; for one without GPU those that offer CPUs, if any does."""
        nodes = [each for each in self.nodes if can_run(cell, each.host)]
        return ([each for each in nodes if each.cpus] or nodes) if cell.gpu == "none" else nodes

    def machines(self) -> set[str]:
        """The names of the machines, which may have several nodes each."""
        return {each.name for each in self.nodes}

    def gpus(self, model: str) -> int:
        """How many GPUs of a model there are."""
        return sum(min(each.gpus, len(each.host.of_model(model))) for each in self.nodes)

    def ask(self, nodes: Collection[str], question: Callable[..., Any], *words: Any) -> dict[str, Any]:
        """Return the nodes' answers by node; nodes that are lost, silent, or have lost their engine are left out."""
        asked = {each: node.on(each, question, *words) for each in nodes}
        answers = {}
        for each, answer in asked.items():
            with suppress(RayError):
                answers[each] = ray.get(answer, timeout=PATIENCE)
        return answers

    def forget(self, run: str) -> None:
        """Remove the container of a lost attempt wherever it is, even on a node that comes back later."""
        with self._looking:
            self._lost.add(run)
            there = [*self._nodes, *self._asked]
        self.ask(there, node.forget, [run])

    def _look(self, patience: float) -> None:
        """Update the nodes: probe new ones, add those that have answered, drop those that are gone."""
        told: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        alive = {each["NodeID"]: each for each in told if each["Alive"]}
        for known in (self._nodes, self._asked, self._problems):
            for gone in known.keys() - alive.keys():
                del known[gone]
        for new in alive.keys() - self._nodes.keys() - self._asked.keys() - self._problems.keys():
            self._asked[new] = node.on(new, node.look, frozenset(self._lost))
        if self._asked:
            waiting = list(self._asked.values())
            answered, _ = ray.wait(waiting, num_returns=len(waiting), timeout=patience)
            for each in [each for each, answer in self._asked.items() if answer in answered]:
                self._take(alive[each], self._asked.pop(each))
        self._looked = time.monotonic()

    def _take(self, told: dict[str, Any], answer: Any) -> None:
        """Add a node by its answer, or note why it can't be used."""
        try:
            seen = ray.get(answer)
        except RayError as error:
            seen = cause(error)
        if isinstance(seen, str):
            self._problems[told["NodeID"]] = seen
            self._say(f"{told['NodeManagerHostname']} ({told['NodeManagerAddress']}) runs no cells. {seen}")
            return
        label, resources = str(told["Labels"].get(LABEL, "")), told["Resources"]
        self._nodes[told["NodeID"]] = Node(
            told["NodeID"],
            seen.name,
            label,
            int(resources.get("GPU", 0)),
            int(resources.get("CPU", 0)),
            labelled(seen.host, label),
        )


class ClusterSlots:
    """Slots for as many cells as the cluster has GPUs of their model, or ``cpu_cells`` per machine.

    Which GPU, which cores and how much memory a cell gets is decided on its node. If no node is left for a model, its
    cells get slots at once, and each is told so.
    """

    def __init__(self, cluster: Cluster, models: Collection[str], cpu_cells: int) -> None:
        self._cluster, self._models, self._cpu_cells = cluster, models, cpu_cells
        self._used: Counter[str] = Counter()
        self._changing = threading.Lock()

    @property
    def count(self) -> int:
        """How many cells can run at a time."""
        return sum(map(self._most, (*self._models, "none")))

    def take(self, model: str, n_gpus: int = 1) -> Lease | None:
        """Return a lease to submit a cell to Ray; None if it has to wait."""
        most = self._most(model)
        with self._changing:
            if most and self._used[model] + n_gpus > most:
                return None
            self._used[model] += n_gpus
            return Lease((), (), 0, shares=((),) * n_gpus)

    def give_back(self, lease: Lease, model: str) -> None:
        """End a lease."""
        with self._changing:
            self._used[model] -= len(lease.shares)

    def _most(self, model: str) -> int:
        if model == "none":
            return self._cpu_cells * len(self._cluster.machines())
        return self._cluster.gpus(model)


def labelled(host: Host, label: str) -> Host:
    """Return the host with only the GPUs that Ray's label names: Ray can't tell others apart by model."""
    devices = host.of_model(label.lower()) or host.of_model(model_of(label))
    if devices or not host.models:
        return replace(host, devices=devices)
    there = ", ".join(host.models)
    return replace(
        host, devices=(), lacks=f"its node of Ray has the label {label or '(none)'}, but its GPUs are {there}"
    )


def can_run(cell: Cell, host: Host) -> bool:
    """Return whether a host has what a cell needs."""
    return machine_reason(cell.platform, cell.gpu, host, cell.n_gpus) is None


def cause(error: Exception) -> str:
    """Return an error's first sentence; for one with a traceback from another process, its last line."""
    said = str(error).strip() or type(error).__name__
    return said.splitlines()[-1][:300] if isinstance(error, RayTaskError) else " ".join(said.split()).partition(". ")[0]
