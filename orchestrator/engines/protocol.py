"""What every engine can do: get images ready, run a cell, tell what runs, stop."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Outcome
from orchestrator.cell.events import Event
from orchestrator.images.architectures import Scan
from orchestrator.images.image import Image
from orchestrator.system.host import Host
from orchestrator.system.slots import MEMORY, Lease, Slots
from orchestrator.system.terminal import Say


@dataclass(frozen=True)
class Placed:
    """Where an attempt at a cell runs, if that was not known before: a machine's name, and UUIDs of its GPUs."""

    host: str
    gpus: tuple[str, ...]


OnEvent = Callable[[Event | Placed], None]


@dataclass(frozen=True)
class Task:
    """What an engine needs to run a cell once.

    ``gpus`` are UUIDs, ``data`` is the folder to be seen as /data, ``weights`` the file that a cell with weights of its
    own starts from, ``cores`` are the numbers of those it may use (none: all), ``deadline`` in seconds, ``memory`` in
    bytes. Whoever runs a ``claim`` or uses a GPU holds its lock, so any other cell that is found to run for it is an
    orphan.
    """

    cell: Cell
    image: Image
    key: str
    run: str
    gpus: Sequence[str] = ()
    data: Path | None = None
    weights: Path | None = None
    cores: Sequence[int] = ()
    deadline: float = 24 * 3600
    memory: int = MEMORY
    claim: str = ""


class Leases(Protocol):
    """Hands out and takes back GPUs, cores and memory; see ``Slots``."""

    @property
    def count(self) -> int:
        """How many cells can run at a time."""

    def take(self, model: str, n_gpus: int = 1) -> Lease | None:
        """What a cell for so many GPUs of a model holds, or for ``none``; None if it has to wait."""

    def give_back(self, lease: Lease, model: str) -> None:
        """End a lease."""


class Engine(Protocol):
    """What a place to run cells can do."""

    name: str
    host: str
    """The name of the machine on which cells run."""

    stopping: bool
    """True once ``stop`` was called: what ends from then on has not failed, it was stopped."""

    def __hash__(self) -> int: ...

    @property
    def version(self) -> str:
        """What it is, with its version, for a person."""

    @property
    def image_folder(self) -> Path | None:
        """Where on this machine its images lie; None if that is elsewhere, or nobody knows."""

    def machine(self) -> Host:
        """What the machine has on which cells run."""

    def slots(self, host: Host, models: Collection[str], cpu_cells: int) -> Leases:
        """What cells hold while they run on that machine: for these models of GPU, and for cells without."""

    def unavailable(self, image: Image) -> str | None:
        """Why this engine can't serve an image, or None."""

    def machine_code(self, image: Image) -> Scan | None:
        """What GPUs an image has code for; None if it is not here, or was not looked into."""

    def built_on(self, image: Image) -> str:
        """What an image is, or will be, built on, as its rows have it: bases by digest; empty where there is none."""

    def prepare(self, images: Sequence[Image], say: Say) -> Mapping[str, str]:
        """Build what is missing; returns a digest for each image tag. Raises BuildError."""

    def run(self, task: Task, on_event: OnEvent) -> Outcome:
        """Run a cell to its end and clean up. Whatever the cell or its engine does, the outcome says it."""

    def cells(self) -> Mapping[str, str]:
        """The claim of every cell that is there, whoever started it, by a handle for ``remove``; raises EngineError."""

    def remove(self, handle: str) -> None:
        """End a cell, and leave nothing of it."""

    def stop(self) -> None:
        """End every cell that is running now, from another thread."""


def with_cores(slots: Leases, cores: int | None) -> Leases:
    """The same slots, with so many cores for each cell at most; None leaves them as they are."""
    return slots if cores is None else FewerCores(slots, cores)


class FewerCores:
    """Slots whose leases have no more than some cores, the first of their own."""

    def __init__(self, slots: Leases, cores: int) -> None:
        self._slots, self._cores = slots, cores

    @property
    def count(self) -> int:
        """How many cells can run at a time."""
        return self._slots.count

    def take(self, model: str, n_gpus: int = 1) -> Lease | None:
        """What a cell holds, with fewer cores; None if it has to wait."""
        lease = self._slots.take(model, n_gpus)
        every = (lease.cores or sorted(os.sched_getaffinity(0))) if lease else ()
        return replace(lease, cores=tuple(every[: self._cores])) if lease else None

    def give_back(self, lease: Lease, model: str) -> None:
        """End a lease."""
        self._slots.give_back(lease, model)


class OnThisHost:
    """What engines have in common whose cells run on this machine."""

    def slots(self, host: Host, models: Collection[str], cpu_cells: int) -> Leases:
        """GPUs of this machine, and shares of the rest."""
        return Slots(host, models, cpu_cells)
