"""The interface of engines: prepare images, run a cell, list what runs, stop."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from orchestrator.cell import contract, profile
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
    """Where an attempt runs, if that was not known before: the machine's name, and the UUIDs of its GPUs."""

    host: str
    gpus: tuple[str, ...]


@dataclass(frozen=True)
class Queued:
    """An attempt is waiting in an external queue; ``state`` says where and why."""

    state: str


OnEvent = Callable[[Event | Placed | Queued], None]


@dataclass(frozen=True)
class Task:
    """What an engine needs to run a cell once.

    ``gpus`` are UUIDs, ``data`` is the folder mounted as /data, ``weights`` the file that a cell with weights of its
    own starts from, ``cores`` are the numbers of the cores it may use (none: all), ``deadline`` is in seconds,
    ``memory`` in bytes, ``expected`` the seconds that it took before. With ``profile`` it runs that many steps under a
    profiler, and leaves a recording in place of a document. Whoever runs a ``claim`` or uses a GPU holds its lock, so
    any other cell found running for it is an orphan. ``owner`` is the claim of the run, by which is found what its
    cells share; empty if they share nothing.
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
    owner: str = ""
    expected: float | None = None
    profile: int = 0

    @property
    def arguments(self) -> list[str]:
        """The command-line arguments of the cell's container."""
        return [*contract.arguments(self.cell), *profile.arguments(self.profile)]


class Leases(Protocol):
    """Hands out and takes back GPUs, cores and memory; see ``Slots``."""

    @property
    def count(self) -> int:
        """How many cells can run at a time."""

    def take(self, model: str, n_gpus: int = 1) -> Lease | None:
        """Return a lease of GPUs of a model, or without GPU for ``none``; None if the cell has to wait."""

    def give_back(self, lease: Lease, model: str) -> None:
        """End a lease."""


class Engine(Protocol):
    """Runs cells in one place."""

    name: str
    host: str
    """The name of the machine on which cells run."""

    stopping: bool
    """True once ``stop`` was called: cells that end from then on were stopped, they did not fail."""

    in_containers: bool
    """Whether cells run in containers, isolated from their machine."""

    takes_weights: bool
    """Whether a file of weights from this machine reaches the cells."""

    built_by_docker: bool
    """Whether its images are built by docker's own command, on this machine."""

    def __hash__(self) -> int: ...

    @property
    def version(self) -> str:
        """The engine's name and version, for display."""

    @property
    def image_folder(self) -> Path | None:
        """The folder of its images on this machine; None if they are elsewhere or that is unknown."""

    def machine(self) -> Host:
        """Return the hardware of the machine on which cells run."""

    def slots(self, host: Host, models: Collection[str], cpu_cells: int) -> Leases:
        """Return the slots of that machine, for cells on these GPU models and for cells without GPU."""

    def unavailable(self, image: Image) -> str | None:
        """Return why this engine can't serve an image, or None."""

    def machine_code(self, image: Image) -> Scan | None:
        """Return the GPUs that an image has code for; None if it is not here or was not scanned."""

    def built_on(self, image: Image) -> str:
        """Return an image's bases by digest, as recorded in rows, also before it is built; empty if there are none."""

    def prepare(self, images: Sequence[Image], say: Say) -> Mapping[str, str]:
        """Build missing images; returns their digests by tag. Raises BuildError."""

    def run(self, task: Task, on_event: OnEvent) -> Outcome:
        """Run a cell to its end and clean up, see ``working_beside``.

        Failures of the cell or its engine are reported in the outcome.
        """

    def cells(self) -> Mapping[str, str]:
        """Return the claims of all cells, whoever started them, by their handles for ``remove``; raises EngineError."""

    def remove(self, handle: str) -> None:
        """Kill a cell and remove all traces of it."""

    def stop(self) -> None:
        """Kill all running cells; called from another thread."""

    def leave(self) -> None:
        """Stop after an error that is not the cells' doing: what can go on without this process does."""

    def working_beside(self) -> AbstractContextManager[None]:
        """Return a context in which ``run`` may leave removing what has ended to other threads; it waits for them."""


def with_cores(slots: Leases, cores: int | None) -> Leases:
    """Return the slots, limited to ``cores`` cores per cell; None leaves them as they are."""
    return slots if cores is None else FewerCores(slots, cores)


class FewerCores:
    """Slots whose leases keep at most the first ``cores`` of their cores."""

    def __init__(self, slots: Leases, cores: int) -> None:
        self._slots, self._cores = slots, cores

    @property
    def count(self) -> int:
        """How many cells can run at a time."""
        return self._slots.count

    def take(self, model: str, n_gpus: int = 1) -> Lease | None:
        """Return a lease with fewer cores; None if the cell has to wait."""
        lease = self._slots.take(model, n_gpus)
        every = (lease.cores or sorted(os.sched_getaffinity(0))) if lease else ()
        return replace(lease, cores=tuple(every[: self._cores])) if lease else None

    def give_back(self, lease: Lease, model: str) -> None:
        """End a lease."""
        self._slots.give_back(lease, model)


class RemovesAtOnce:
    """Base of engines that remove what has ended before ``run`` returns, and whose cells end with this process."""

    def leave(self: Engine) -> None:
        """Kill all running cells."""
        self.stop()

    def working_beside(self) -> AbstractContextManager[None]:
        """Return a context that changes nothing."""
        return nullcontext()


class OnThisHost(RemovesAtOnce):
    """Base of engines whose cells run on this machine."""

    in_containers, takes_weights, built_by_docker = True, True, False

    def slots(self, host: Host, models: Collection[str], cpu_cells: int) -> Leases:
        """Return slots of this machine's GPUs and shares of its other resources."""
        return Slots(host, models, cpu_cells)
