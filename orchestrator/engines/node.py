"""Code that runs on a node of a Ray cluster: it reports the hardware, and runs cells on the node's Docker engine."""

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
from orchestrator.engines.pretended_host import pretended_host
from orchestrator.engines.protocol import OnEvent, Placed, Queued, Task
from orchestrator.errors import EngineError, GpuError, RosettaError
from orchestrator.system import file_locks
from orchestrator.system.host import Device, Host
from orchestrator.system.slots import MEMORY, Lease, lock_name, shares

SELDOM = 1.0
"""Seconds between forwarded events of a cell; others are dropped, since a container may print millions."""

CHUNK, AHEAD = 8 * 2**20, 8
"""Bytes per chunk of an image, and how many chunks may lie in Ray's object store at a time."""


@dataclass(frozen=True)
class Source:
    """An image by its id: its ``digests`` in registries, and the node ``home`` that certainly has it."""

    id: str
    digests: tuple[str, ...]
    home: str


@dataclass(frozen=True)
class Order:
    """A cell for a node, which it shares with cells on GPUs of ``models`` and with ``jobs`` cells without GPU.

    ``job`` is its number among the latter.
    """

    task: Task
    image: Source
    models: tuple[str, ...]
    jobs: int
    job: int = 0


@dataclass(frozen=True)
class Seen:
    """A node's report on itself: the name of its engine's machine, and that machine's hardware."""

    name: str
    host: Host


@cache
def remote(function: Callable[..., Any]) -> Any:
    """Return a function as a Ray task that is never retried and by default reserves no CPU."""
    return ray.remote(num_cpus=0, max_retries=0)(function)


def on(node: str, function: Callable[..., Any], *words: Any, **options: Any) -> Any:
    """Run a function on one node, however busy it is."""
    there = NodeAffinitySchedulingStrategy(node, soft=False)
    return remote(function).options(scheduling_strategy=there, **options).remote(*words)


@cache
def engine() -> DockerEngine:
    """The engine of the node; raises EngineError."""
    return DockerEngine()


@cache
def machine() -> Host:
    """Return the node's hardware, read by the harness that Ray brought along: the GPUs are on the node itself."""
    return pretended_host() or probe.of_harness()


def look(lost: Collection[str]) -> Seen | str:
    """Return what this node has, or why it can't run cells; first removes the ``lost`` attempts' containers.

    A node that comes back may still be running them.
    """
    try:
        forget(lost)
        return Seen(engine().host, machine())
    except RosettaError as error:
        return str(error)


def cells() -> dict[str, str]:
    """Return the claims of the cells on this node, by container; raises EngineError."""
    return dict(engine().cells())


def remove(containers: Collection[str]) -> None:
    """Remove containers."""
    for container in containers:
        engine().remove(container)


def forget(runs: Collection[str]) -> None:
    """Remove the containers of attempts whose results nobody waits for any more; raises EngineError."""
    try:
        there = engine().api.containers(all=True, filters={"label": CLAIM}) if runs else []
    except UNREACHABLE as error:
        raise EngineError("The Docker engine does not answer.", explain(error), "Start it again.") from None
    remove([container["Id"] for container in there if container["Labels"].get("rosetta.run") in runs])


def run_cell(order: Order) -> Iterator[Event | Placed | Queued | Outcome]:
    """Run a cell; yields where it runs, its latest events from time to time, and at the end its outcome."""
    latest: dict[type, Event | Placed | Queued] = {}

    def keep(event: Event | Placed | Queued) -> None:
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
    """Fetch what the cell needs and run it on the GPUs that Ray assigned; if the node can't, it is a lost host."""
    task, host = order.task, machine()
    try:
        with place(order, gpus, host) as lease:
            bring_image(order.image, task.image.tag)
            data = datasets.fetch([task.data.name])[task.data.name] if task.data else None
            uuids = tuple(gpu.uuid for gpu in lease.gpus)
            task = replace(task, gpus=uuids, cores=lease.cores, memory=lease.memory, data=data, owner="")
            on_event(Placed(engine().host, uuids))
            outcome = engine().run(task, on_event)
    except (RosettaError, RayError) as error:
        return Outcome(Status.HOST_LOST, str(error))
    if host.pretended and outcome.document is not None:
        outcome = replace(outcome, document=pretend(outcome.document, lease))
    return replace(outcome, host=engine().host)


@contextmanager
def place(order: Order, gpus: Sequence[str], host: Host) -> Iterator[Lease]:
    """Yield the cell's lease: these GPUs, once nobody else on this machine holds them, and their share of the rest."""
    held = [device(name, order.task.cell.gpu, host) for name in sorted(gpus)]
    if len({each.board for each in held}) > 1:
        names = ", ".join(each.name for each in held)
        raise GpuError(
            f"Ray gave a cell GPUs on different boards: {names}.",
            remedy="Start one Ray node for each board: see docs/clusters.md.",
        )
    shared = [each.uuid for model in order.models for each in host.of_model(model)]
    parts = shares(sorted(os.sched_getaffinity(0)), len(shared) + order.jobs)
    mine = [shared.index(each.uuid) for each in held] or [(len(shared) + order.job) % len(parts)]
    cores = tuple(sorted({core for number in mine for core in parts[number]}))
    with ExitStack() as locks:
        for each in held:
            locks.enter_context(file_locks.waited_for(file_locks.host_folder() / lock_name(each.uuid)))
        yield Lease(tuple(held), cores, MEMORY // len(parts) * len(mine))


def device(name: str, model: str, host: Host) -> Device:
    """Return a GPU by Ray's name for it, its UUID or number; raises GpuError if there is none such of the model."""
    for place, each in enumerate(host.devices):
        number = place if each.index is None else each.index  # the driver's own, which a GPU that is lost has too
        if name in (str(number), each.uuid) and each in host.of_model(model):
            return each
    raise GpuError(
        f"Ray gave a cell for {model} the GPU {name} of {socket.gethostname()}, which is no {model}.",
        remedy="Start one Ray node for each kind of GPU, with its label: see docs/clusters.md.",
    )


def bring_image(source: Source, tag: str) -> None:
    """Make sure that this node's engine has an image; raises EngineError."""
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
            f"{docker.host} has loaded {tag}, but under a different id.",
            remedy="The engines of a cluster need the same kind of image store ('docker info': Storage Driver).",
        ) from None
    except UNREACHABLE as error:
        raise EngineError(f"{docker.host} could not load {tag}.", explain(error)) from None


def fetch(source: Source) -> None:
    """Pull an image from a registry that has it, else load it from its home, unless another cell did so meanwhile."""
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
    """Return whether this node's engine has an image."""
    api: Any = engine().api
    try:
        api.inspect_image(image)
    except NotFound:
        return False
    return True


def pieces(source: Source) -> Iterator[bytes]:
    """Yield an image saved at its home, in chunks through Ray's object store."""
    for piece in on(source.home, saved, source.id, _generator_backpressure_num_objects=AHEAD):
        yield ray.get(piece)


def saved(image: str) -> Iterator[bytes]:
    """Yield an image of this node's engine, as 'docker save' writes it."""
    yield from engine().api.get_image(image, CHUNK)
