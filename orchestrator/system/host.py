"""The GPUs and driver of a machine, and why a combination can't run on it."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from orchestrator.errors import GpuError
from orchestrator.system.gpus import (
    CAPABILITY,
    CUDA,
    KNOWN,
    NO_MODELS,
    Capability,
    Version,
    driver_text,
    exact,
    model_of,
    title_of,
)

PRETENDED = ("GPU-pretended-", "MIG-pretended-")
"""UUID prefixes of pretended GPUs and slices, so that no real driver ever hands out a GPU for one."""

BUILT_FOR = ("x86_64", "amd64")
"""The processor architecture of all GPU images: the name that uname and Docker use, and Podman's."""

Board = tuple[str, int | None]
"""What identical cards have in common: the driver's name for them, and bytes of memory."""


@dataclass(frozen=True)
class Device:
    """A GPU of a machine, or a slice of one, as its driver reports it; None is unknown.

    ``memory`` in bytes, ``power_limit`` in watts. With ``mig`` it is divided into slices, and can't be used as a whole.
    ``others`` counts processes that are on it. A slice has the UUID of its GPU as ``parent``, if that is known.
    ``index`` is the driver's number of the GPU.
    """

    name: str
    uuid: str
    memory: int | None = None
    power_limit: float | None = None
    mig: bool = False
    capability: Capability | None = None
    others: int | None = None
    parent: str = ""
    index: int | None = None

    @property
    def model(self) -> str:
        """The card's short name."""
        return model_of(self.name)

    @property
    def exact(self) -> str:
        """The short name with the capability, as far as that is known."""
        return exact(self.model, self.capability) if self.capability else self.model

    @property
    def board(self) -> Board:
        """What it has in common with identical cards."""
        return self.name, self.memory

    @property
    def is_slice(self) -> bool:
        """Whether it is a part of a GPU that MIG divides."""
        return self.uuid.startswith("MIG-") or " mig " in self.name.lower()


@dataclass(frozen=True)
class Unreadable:
    """A GPU, by the driver's number, whose data can't be read well enough for a cell, and why."""

    index: int
    reason: str


@dataclass(frozen=True)
class Host:
    """A machine's GPUs, and its driver's version, empty without one; ``lacks`` may say why there are no GPUs.

    An ``imagined`` one has not even a pretended driver: cells are planned for it, and nothing is proved there. Several
    machines as one have ``nodes``, each with its own driver. ``architecture`` is the processor's, empty if unknown.
    """

    devices: tuple[Device, ...] = ()
    driver: Version = ()
    lacks: str = ""
    imagined: bool = False
    nodes: tuple["Host", ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    architecture: str = ""

    @property
    def pretended(self) -> bool:
        """Whether its GPUs are not real but made up by a test."""
        return any(device.uuid.startswith(PRETENDED) for device in self.devices)

    @cached_property
    def _unlike(self) -> frozenset[str]:
        """The models that cards of several compute capabilities share; one that is not known may be another, too."""
        told = {(device.model, device.capability or KNOWN.get(device.model)) for device in self.devices}
        return frozenset(model for model, count in Counter(model for model, _ in told).items() if count > 1)

    def name_of(self, device: Device) -> str:
        """Return a card's model name here: with its capability if another card has the same name but another one."""
        return device.exact if device.model in self._unlike else device.model

    @cached_property
    def _named(self) -> dict[str, list[Device]]:
        """The cards, including divided ones, by their model name here and by the name with the capability."""
        named: dict[str, list[Device]] = defaultdict(list)
        for device in self.devices:
            for name in {self.name_of(device), device.exact}:
                named[name].append(device)
        return named

    @property
    def models(self) -> tuple[str, ...]:
        """The distinct models that a cell can use, in the driver's order."""
        return tuple(dict.fromkeys(self.name_of(device) for device in self.devices if not device.mig))

    def of_model(self, model: str) -> tuple[Device, ...]:
        """Return the GPUs of a model that a cell can use as a whole."""
        return tuple(device for device in self._named.get(model, ()) if not device.mig)

    def most_together(self, model: str) -> int:
        """Return how many GPUs of a model one cell can use: all of one board on one machine, but only one slice."""
        if self.nodes:
            return max(node.most_together(model) for node in self.nodes)
        if any(device.is_slice for device in self.of_model(model)):
            return 1
        return max(map(len, self.boards_of(model)), default=0)

    def boards_of(self, model: str) -> list[tuple[Device, ...]]:
        """Return the GPUs of a model, grouped by identical board."""
        boards: dict[Board, list[Device]] = defaultdict(list)
        for device in self.of_model(model):
            boards[device.board].append(device)
        return [tuple(alike) for alike in boards.values()]

    def alike(self, model: str, count: int) -> tuple[Device, ...]:
        """Return the first ``count`` GPUs of a model that one cell can use together; empty if there are too few."""
        return next((found[:count] for found in self.boards_of(model) if len(found) >= count), ())

    def driver_of(self, model: str) -> Version:
        """Return the driver of a model's machines; empty if they differ, or no machine has the model."""
        drivers = {node.driver for node in self.nodes or (self,) if node.of_model(model)}
        return drivers.pop() if len(drivers) == 1 else ()

    def capability_of(self, model: str) -> Capability | None:
        """Return the compute capability of a model, from its driver or ``KNOWN``; None if in neither."""
        told = (device.capability for device in self._named.get(model, ()) if device.capability)
        return next(told, KNOWN.get(model))


class Kind(StrEnum):
    """The kind of a finding about a machine."""

    CARDS = "GPUs that a cell can have"
    NONE = "no GPU at all"
    BOARDS = "unlike boards of one model"
    DIVIDED = "GPUs that are divided, and have no slices"
    UNREADABLE = "GPUs that can't be read"
    BUSY = "GPUs on which somebody else computes"


@dataclass(frozen=True)
class Found:
    """A finding on a ``machine``, or on this many equal ``nodes``; ``model`` is set for CARDS."""

    kind: Kind
    said: str
    machine: Host
    model: str = ""
    nodes: int = 1

    @property
    def line(self) -> str:
        """The finding as text."""
        if self.nodes == 1:
            return self.said
        counted = self.kind in (Kind.CARDS, Kind.NONE)
        return f"{self.nodes} × {self.said}" if counted else f"{self.said} (on {self.nodes} nodes)"


def is_here(name: str) -> bool:
    """Whether an engine's machine, by its name, is the one that this process runs on."""
    return name == os.uname().nodename


def described(host: Host) -> list[str]:
    """Return the findings, a line for each GPU model: "2 × Tesla V100-SXM2-16GB (v100), driver 470.57"."""
    return [found.line for found in found_on(host)]


def found_on(host: Host) -> list[Found]:
    """Return the findings by model, and what is wrong; equal findings of several machines are counted together."""
    alike: dict[tuple[Kind, str, str], Found] = {}
    for machine in host.nodes or (host,):
        for found in on_machine(machine, host.name_of):
            same = (found.kind, found.said, found.model)
            alike[same] = replace(found, nodes=alike[same].nodes + 1) if same in alike else found
    return list(alike.values())


def on_machine(host: Host, name_of: Callable[[Device], str]) -> Iterator[Found]:
    """Yield the findings on one machine; ``name_of`` returns the name of a card's model in the plan."""
    if not host.devices:
        yield Found(Kind.NONE, f"no GPU: {why_none(host)}", host)
    whole = [device for device in host.devices if not device.mig]
    by_model: dict[str, Counter[Board]] = defaultdict(Counter)
    for device in whole:
        by_model[name_of(device)][device.board] += 1
    for model, boards in by_model.items():
        cards = " and ".join(f"{count} × {title_of_board(board, boards)}" for board, count in boards.items())
        yield Found(Kind.CARDS, f"{cards} ({model}), driver {driver_text(host.driver)}", host, model)
    if busy := sum(bool(device.others) for device in whole):
        yield Found(Kind.BUSY, f"other processes are using {busy} of them", host)
    for model, boards in by_model.items():
        if len(boards) > 1:
            said = f"{len(boards)} different boards of the model {model}: a result from one counts for all,"
            yield Found(Kind.BOARDS, f"{said} and gpu_name in its row says which it was", host)
    for name, count in Counter(device.name for device in without_slices(host.devices)).items():
        remedy = "create them with 'nvidia-smi mig -cgi PROFILE -C'"
        yield Found(Kind.DIVIDED, f"{count} × {name} divided by MIG without slices: {remedy}", host)
    by_reason: dict[str, list[int]] = defaultdict(list)
    for each in host.unreadable:
        by_reason[each.reason].append(each.index)
    for reason, numbers in by_reason.items():
        yield Found(Kind.UNREADABLE, f"{numbered(numbers)} can't be read: {reason}", host)


def why_none(host: Host) -> str:
    """Return why a machine has no GPU."""
    if host.lacks or not host.driver:
        return host.lacks or "no NVIDIA driver on this machine"
    lost = len(host.unreadable)
    several = f"none of the {lost:,} can be read" if lost > 1 else "its only one can't be read"
    shown = several if lost else "it shows none"
    return f"driver {driver_text(host.driver)} is there, but {shown}"


def title_of_board(board: Board, boards: Counter[Board]) -> str:
    """Return a board's driver name, with its memory if only that distinguishes it from another."""
    name, memory = board
    same = sum(name == other for other, _ in boards)
    return f"{name} with {memory / 2**30:.0f} GiB" if same > 1 and memory else name


def numbered(numbers: Sequence[int], most: int = 8) -> str:
    """GPUs by their numbers: "GPU 3", "GPUs 3, 5"."""
    shown = ", ".join(map(str, numbers[:most])) + (f" and {len(numbers) - most} more" if len(numbers) > most else "")
    return f"GPU{'' if len(numbers) == 1 else 's'} {shown}"


def without_slices(devices: Sequence[Device]) -> list[Device]:
    """Return divided GPUs that have no slices; a slice without known parent is matched to a GPU by name."""
    slices = [device for device in devices if device.is_slice]
    parents = {part.parent for part in slices}
    names = {part.name.lower().partition(" mig ")[0] for part in slices if not part.parent}
    return [card for card in devices if card.mig and card.uuid not in parents and card.name.lower() not in names]


def together(nodes: Sequence[Host]) -> Host:
    """Combine several machines into one; raises GpuError if some pretend their GPUs and others have real ones."""
    with_gpus = [node for node in nodes if node.devices]
    pretending = [node for node in with_gpus if node.pretended]
    if 0 < len(pretending) < len(with_gpus):
        raise GpuError(
            "Some nodes of the cluster pretend to have GPUs, others have real ones.",
            remedy="Unset ROSETTA_HOST on the nodes.",
        )
    devices = tuple(device for node in nodes for device in node.devices)
    return Host(devices, imagined=any(node.imagined for node in nodes), nodes=tuple(nodes))


def machine_reason(platform: str, gpu: str, host: Host, n_gpus: int = 1) -> str | None:
    """Return why this machine can't run a combination, or None; for several machines, why none of them can."""
    if not host.nodes:
        return lack(platform, gpu, host, " on this machine", n_gpus)
    lacking = [lack(platform, gpu, node, "", n_gpus) for node in host.nodes]
    if None in lacking:
        return None
    counted = Counter(filter(None, lacking))
    return "no node can run it: " + "; ".join(f"{reason} ({count:,})" for reason, count in counted.items())


def lack(platform: str, gpu: str, host: Host, where: str, n_gpus: int) -> str | None:
    """Return what one machine lacks, or None; reasons call the machine ``where``."""
    if platform == "cpu":
        return None
    if not host.driver:
        return host.lacks or f"no NVIDIA driver{where}"
    there = len(host.of_model(gpu))
    if not there:
        return absence(gpu, host, where)
    most = host.most_together(gpu)
    if most < n_gpus:
        if host.of_model(gpu)[0].is_slice:
            return f"a CUDA program sees only one MIG slice, but {n_gpus} GPUs are needed"
        unlike = f", at most {most} with the same board and memory" if most < there else ""
        return f"{there} × {title_of(gpu)}{where}{unlike}, but {n_gpus} are needed"
    if host.architecture not in ("", *BUILT_FOR):
        return f"images for GPUs are built for {BUILT_FOR[0]}, but the processor{where} is {host.architecture}"
    oldest = CUDA[platform].oldest_driver
    if host.driver < oldest:
        return f"driver {driver_text(host.driver)} is too old for {platform}, which needs {driver_text(oldest)}"
    return None


def absence(gpu: str, host: Host, where: str) -> str:
    """Return the reason for a model that a machine with a driver does not have."""
    if not host.devices:
        return f"no GPU{where}: {why_none(host)}"
    title = "GPU" if gpu in NO_MODELS else title_of(gpu)
    meant = [model for model in host.models if CAPABILITY.sub("", model) == gpu != model]
    if meant:
        return f"{title} may be any of these{where}: {', '.join(meant)}"
    divided = any(host.name_of(device) == gpu or not host.models for device in host.devices)
    lost = f"; {numbered([each.index for each in host.unreadable])} can't be read" if host.unreadable else ""
    return f"no {title}{where}" + (" that is not divided by MIG" if divided else "") + lost
