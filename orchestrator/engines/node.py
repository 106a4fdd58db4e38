"""What runs on a node of a Ray cluster: it tells what the node has, and runs cells by the node's own Docker engine."""

import os
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import ray
from docker.errors import APIError, NotFound
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from orchestrator.cell.contract import Outcome, Status
from orchestrator.cell.events import Event
from orchestrator.data import datasets
from orchestrator.engines import probe
from orchestrator.engines.client import UNREACHABLE, explain
from orchestrator.engines.docker import CLAIM, DockerEngine
from orchestrator.engines.pretended import pretend
from orchestrator.engines.protocol import OnEvent, Placed, Task
from orchestrator.errors import EngineError, GpuError, RosettaError
from orchestrator.system import file_locks
from orchestrator.system.host import Device, Host, pretended_host
from orchestrator.system.slots import MEMORY, Lease, lock_name, shares

SELDOM = 1.0
"""Seconds between two events of a cell; those between them are dropped, since a container may print millions."""

CHUNK, AHEAD = 8 * 2**20, 8
"""Bytes of an image that travel together, and how many such pieces lie in Ray's store at a time."""


@dataclass(frozen=True)
class Source:
    """An image by its id: the ``digests`` by which registries have it, and the node ``home`` that has it for sure."""

    id: str
    digests: tuple[str, ...]
    home: str


@dataclass(frozen=True)
class Order:
    """A cell for a node. It shares it with cells on GPUs of ``models`` and with ``jobs`` cells without GPU.

    ``job`` is the number of this one among the latter.
    """

    task: Task
    image: Source
    models: tuple[str, ...]
    jobs: int
    job: int = 0


@dataclass(frozen=True)
class Seen:
    """What a node says of itself: the name of its engine's machine, and what that has."""

    name: str
    host: Host


@cache
def remote(function: Callable[..., Any]) -> Any:
    """A function to be run by Ray: once, whatever becomes of it, and at first for nothing."""
    return ray.remote(num_cpus=0, max_retries=0)(function)


def on(node: str, function: Callable[..., Any], *words: Any, **options: Any) -> Any:
    """Run a function on one node, whatever that is doing."""
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    return remote(function).options(scheduling_strategy=there, **options).remote(*words)


@cache
def engine() -> DockerEngine:
    """The engine of the node; raises EngineError."""
    return DockerEngine()


@cache
def machine() -> Host:
    """What the node has, read by the harness that came along: a node is where its GPUs are."""
    return pretended_host() or probe.of_harness()


def look(lost: Collection[str]) -> Seen | str:
    """What is here, or why cells can't run here; a node that comes back still has what it was running, which goes."""
    try:
        forget(lost)
        return Seen(engine().host, machine())
    except RosettaError as error:
        return str(error)


def cells() -> dict[str, str]:
    """The claims of the cells that are here, by container; raises EngineError."""
    return dict(engine().cells())


def remove(containers: Collection[str]) -> None:
    """Remove containers."""
    for container in containers:
        engine().remove(container)


def forget(runs: Collection[str]) -> None:
    """Remove the containers of attempts of which nobody waits for the result any more; raises EngineError."""
    try:
        there = engine().api.containers(all=True, filters={"label": CLAIM}) if runs else []
    except UNREACHABLE as error:
        raise EngineError("The Docker engine does not answer.", explain(error), "Start it again.") from None
    remove([container["Id"] for container in there if container["Labels"]["rosetta.run"] in runs])


def run_cell(order: Order) -> Iterator[Event | Placed | Outcome]:
    """Run a cell: where it runs, its latest event now and then, and in the end its outcome."""
    latest: dict[type, Event | Placed] = {}

    def keep(event: Event | Placed) -> None:
        latest[type(event)] = event

    gpus = ray.get_runtime_context().get_accelerator_ids()["GPU"]
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(attempt, order, gpus, keep)
        while not running.done():
            wait([running], SELDOM)
            for kind in list(latest):
                yield latest.pop(kind)
        yield running.result()


def attempt(order: Order, gpus: Sequence[str], on_event: OnEvent) -> Outcome:
    """Bring what the cell needs and run it on the GPUs that Ray has given it; a node that can't is a lost host."""
    task, host = order.task, machine()
    try:
        with place(order, gpus, host) as lease:
            bring_image(order.image, task.image.tag)
            data = datasets.fetch([task.data.name])[task.data.name] if task.data else None
            uuids = tuple(gpu.uuid for gpu in lease.gpus)
            task = replace(task, gpus=uuids, cores=lease.cores, memory=lease.memory, data=data)
            on_event(Placed(engine().host, uuids))
            outcome = engine().run(task, on_event)
    except (RosettaError, RayError) as error:
        return Outcome(Status.HOST_LOST, str(error))
    if host.pretended and outcome.document is not None:
        outcome = replace(outcome, document=pretend(outcome.document, lease))
    return replace(outcome, host=engine().host)


@contextmanager
def place(order: Order, gpus: Sequence[str], host: Host) -> Iterator[Lease]:
    """What the cell holds: these GPUs, when nobody else on this machine has them, and their share of the rest."""
    held = [device(name, order.task.cell.gpu, host) for name in sorted(gpus)]
    shared = [each.uuid for model in order.models for each in host.of_model(model)]
    parts = shares(sorted(os.sched_getaffinity(0)), len(shared) + order.jobs)
    mine = [shared.index(each.uuid) for each in held] or [(len(shared) + order.job) % len(parts)]
    cores = tuple(sorted({core for number in mine for core in parts[number]}))
    with ExitStack() as locks:
        for each in held:
            locks.enter_context(file_locks.waited_for(file_locks.host_folder() / lock_name(each.uuid)))
        yield Lease(tuple(held), cores, MEMORY // len(parts) * len(mine))


def device(name: str, model: str, host: Host) -> Device:
    """A GPU by Ray's name for it, its UUID or its number; raises GpuError if that is none of the model."""
    for number, each in enumerate(host.devices):
        if name in (str(number), each.uuid) and each in host.of_model(model):
            return each
    raise GpuError(
        f"Ray gave a cell for {model} the GPU {name} of {socket.gethostname()}, which is none.",
        remedy="A node has GPUs of one kind, and its label names it: see docs/clusters.md.",
    )


def bring_image(source: Source, tag: str) -> None:
    """Have an image on the engine of this node; raises EngineError."""
    docker = engine()
    docker.use({tag: source.id})
    name, _, version = tag.partition(":")
    try:
        if has(source.id):
            return
        with file_locks.waited_for(file_locks.host_folder() / f"image-{source.id[-16:]}.lock"):
            fetch(source)
            docker.api.tag(source.id, name, version)
    except NotFound:
        raise EngineError(
            f"{docker.host} has loaded {tag}, but knows it by another id.",
            remedy="The engines of a cluster need the same kind of image store ('docker info': Storage Driver).",
        ) from None
    except UNREACHABLE as error:
        raise EngineError(f"{docker.host} could not load {tag}.", explain(error)) from None


def fetch(source: Source) -> None:
    """Get an image from a registry if it lies in one, else from its home, unless another cell did so meanwhile."""
    api: Any = engine().api
    for digest in source.digests:
        if not has(source.id):
            with suppress(APIError):  # one way is left
                api.pull(digest)
    if not has(source.id):
        for said in api.load_image(pieces(source)):
            if "error" in said:
                raise EngineError("An image could not be loaded.", str(said["error"]))


def has(image: str) -> bool:
    """Whether the engine of this node has an image."""
    api: Any = engine().api
    try:
        api.inspect_image(image)
    except NotFound:
        return False
    return True


def pieces(source: Source) -> Iterator[bytes]:
    """An image as its home saves it, piece by piece through Ray's object store."""
    for piece in on(source.home, saved, source.id, _generator_backpressure_num_objects=AHEAD):
        yield ray.get(piece)


def saved(image: str) -> Iterator[bytes]:
    """An image of this node's engine, as 'docker save' writes it."""
    yield from engine().api.get_image(image, CHUNK)
