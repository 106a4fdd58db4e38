"""Where a cell runs: in a container of a Docker engine, of this host or of a cluster's, or as a process."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Document, Outcome, Status
from orchestrator.errors import EngineError
from orchestrator.images.image import Image
from orchestrator.system.host import Host, this_host
from orchestrator.system.slots import MEMORY, Lease, Slots

Event = Mapping[str, Any]
Say = Callable[[str], None]

LOG_HEAD, LOG_TAIL, LONGEST_LINE = 64 * 2**10, 256 * 2**10, 16 * 2**10


@dataclass(frozen=True)
class Placed:
    """Where an attempt at a cell runs, if that was not known before: a machine's name, and UUIDs of its GPUs."""

    host: str
    gpus: tuple[str, ...]


OnEvent = Callable[[Event | Placed], None]


@dataclass(frozen=True)
class Task:
    """What an engine needs to run a cell once.

    ``gpus`` are UUIDs, ``data`` is the folder to be seen as /data, ``cores`` are the numbers of those it may use (none:
    all), ``deadline`` in seconds, ``memory`` in bytes. Whoever runs a ``claim`` or uses a GPU holds its lock, so any
    other cell that is found to run for it is an orphan.
    """

    cell: Cell
    image: Image
    key: str
    run: str
    gpus: Sequence[str] = ()
    data: Path | None = None
    cores: Sequence[int] = ()
    deadline: float = 24 * 3600
    memory: int = MEMORY
    claim: str = ""


class Leases(Protocol):
    """What cells hold while they run is had from here; see ``Slots``."""

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

    def machine(self) -> Host:
        """What the machine has on which cells run."""

    def slots(self, host: Host, models: Collection[str], cpu_cells: int) -> Leases:
        """What cells hold while they run on that machine: for these models of GPU, and for cells without."""

    def unavailable(self, image: Image) -> str | None:
        """Why this engine can't serve an image, or None."""

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


class OnThisHost:
    """What engines have in common whose cells run on this machine."""

    def machine(self) -> Host:
        """What this machine has."""
        return this_host()

    def slots(self, host: Host, models: Collection[str], cpu_cells: int) -> Leases:
        """GPUs of this machine, and shares of the rest."""
        return Slots(host, models, cpu_cells)


def choose(name: str | None, say: Say = lambda text: None, address: str | None = None) -> Engine:
    """The engine by name; without one Docker if it answers, else processes (and ``say`` why).

    ``address`` is that of a Ray cluster. Raises EngineError if the one that was asked for can't be used.
    """
    from orchestrator.engines.process import ProcessEngine

    if name == "process":
        return ProcessEngine()
    if name == "ray":
        return ray_engine(address, say)
    try:
        from orchestrator.engines.docker import DockerEngine

        return DockerEngine()
    except EngineError as error:
        if name == "docker":
            raise
        say(f"{error.what} Cells run as plain processes instead.")
        return ProcessEngine()


def ray_engine(address: str | None, say: Say) -> Engine:
    """The engine of a cluster; raises EngineError, also where Ray is not installed."""
    try:
        from orchestrator.engines.ray import RayEngine
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        raise EngineError("Ray is not installed.", remedy="Install it: pip install 'rosetta-matrix[ray]'.") from None
    return RayEngine(address, say)


class Output:
    """What a cell prints: events are handed on, everything else is kept as its log, head and tail.

    A container is not trusted: lines and log are cut at a limit, and a line that is no event is just text.
    """

    def __init__(self, on_event: OnEvent) -> None:
        self.on_event = on_event
        self._line, self._head, self._tail = b"", bytearray(), bytearray()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes, cut anywhere."""
        *lines, rest = (self._line + chunk).split(b"\n")
        for line in lines:
            self._take(line)
        while len(rest) > LONGEST_LINE:
            self._take(rest[:LONGEST_LINE])
            rest = rest[LONGEST_LINE:]
        self._line = rest

    def close(self) -> str:
        """The log as text."""
        if self._line:
            self._take(self._line)
            self._line = b""
        gap = b"\n[... cut ...]\n" if len(self._tail) > LOG_TAIL else b""
        return (bytes(self._head) + gap + bytes(self._tail[-LOG_TAIL:])).decode(errors="replace")

    def _take(self, line: bytes) -> None:
        event = self._event(line)
        if event is not None:
            self.on_event(event)
        if len(self._head) < LOG_HEAD:
            self._head += line + b"\n"
        else:
            self._tail += line + b"\n"
            if len(self._tail) > 2 * LOG_TAIL:
                del self._tail[:-LOG_TAIL]

    @staticmethod
    def _event(line: bytes) -> Event | None:
        if not line.startswith(b'{"event"'):
            return None
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            return None
        return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def failure(log: str, exit_code: int) -> Outcome:
    """The outcome of a cell that left no document: its exit code and the last thing it said."""
    said = [line for line in log.splitlines() if line.strip() and not line.startswith('{"event"')]
    last = f": {said[-1].strip()[:300]}" if said else ""
    reason = "left no result although it ended with exit code 0" if exit_code == 0 else f"exit code {exit_code}"
    return Outcome(Status.FAILED, reason + last, log=log)


def success(document: Document, log: str) -> Outcome:
    """The outcome of a cell that left a valid document."""
    return Outcome(Status.OK, document=document, log=log)
