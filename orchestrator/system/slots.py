"""Exclusive leases of running cells: GPUs, and a share of the cores and the memory."""

import os
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.system import file_locks
from orchestrator.system.host import Device, Host

MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 7 // 8
"""Bytes that all cells may use together: an eighth of the machine is left to the engine and the system."""


@dataclass(frozen=True)
class Lease:
    """The resources of one cell: GPUs, the numbers of its cores (none: all of them), bytes of memory.

    ``shares`` are the shares that its cores came from, one for each GPU.
    """

    gpus: tuple[Device, ...]
    cores: tuple[int, ...]
    memory: int
    locked: tuple[file_locks.Lock, ...] = ()
    shares: tuple[tuple[int, ...], ...] = ((),)


class Slots:
    """A slot for each GPU of the wanted models, and ``cpu_cells`` slots for cells without.

    A GPU is locked host-wide, so that it belongs to only one cell of all orchestrators. Cores and memory are divided
    evenly among the slots: cells that each start a thread per core would wait for each other.
    """

    def __init__(self, host: Host, models: Collection[str], cpu_cells: int) -> None:
        self._devices = {model: host.of_model(model) for model in models}
        self._boards = {model: host.boards_of(model) for model in models}
        self._free = {"none": cpu_cells, **{model: len(found) for model, found in self._devices.items()}}
        self.count = sum(self._free.values())
        self._shares = shares(sorted(os.sched_getaffinity(0)), self.count)
        self._folder: Path | None = None
        self._changing = threading.Lock()

    def take(self, model: str, n_gpus: int = 1) -> Lease | None:
        """Lease GPUs of a model with their share of the rest; one share for ``none``. None if too few are free."""
        with self._changing:
            count = n_gpus if model != "none" else 1
            if self._free[model] < count:
                return None
            gpus, locked = self._gpus(model, count) if model != "none" else ((), ())
            if model != "none" and not gpus:
                return None
            self._free[model] -= count
            parts = [self._shares.pop() for _ in range(count)]
            cores = tuple(sorted({core for part in parts for core in part}))
            return Lease(gpus, cores, MEMORY // self.count * count, locked, tuple(parts))

    def give_back(self, lease: Lease, model: str) -> None:
        """End a lease."""
        with self._changing:
            for lock in lease.locked:
                lock.release()
            self._shares.extend(lease.shares)
            self._free[model] += len(lease.shares)

    def _gpus(self, model: str, count: int) -> tuple[tuple[Device, ...], tuple[file_locks.Lock, ...]]:
        """Lock GPUs that nobody on this host holds; returns them and their locks, or nothing if there are too few.

        Several GPUs are of one board: among unlike ones, each would be as slow as the slowest.
        """
        for alike in self._boards[model] if count > 1 else (self._devices[model],):
            held = self._held(alike, count)
            if held:
                return tuple(device for device, _ in held), tuple(lock for _, lock in held)
        return (), ()

    def _held(self, devices: Sequence[Device], count: int) -> list[tuple[Device, file_locks.Lock]]:
        self._folder = self._folder or file_locks.host_folder()
        held: list[tuple[Device, file_locks.Lock]] = []
        for device in devices:
            lock = file_locks.take(self._folder / lock_name(device.uuid)) if len(held) < count else None
            if lock is not None:
                held.append((device, lock))
        if len(held) == count:
            return held
        for _, lock in held:
            lock.release()
        return []


def lock_name(uuid: str) -> str:
    """Return the name of a GPU's lock file; drivers before 470 call slices ``MIG-GPU-…/1/0``."""
    return f"{uuid.replace('/', '-')}.lock"


def own_cores() -> tuple[int, ...]:
    """The cores that this process is held to, by ``taskset`` or its container; empty if it may use all."""
    held = sorted(os.sched_getaffinity(0))
    return tuple(held) if len(held) < (os.cpu_count() or 0) else ()


def shares(cores: list[int], count: int) -> list[tuple[int, ...]]:
    """Divide the cores into ``count`` equal shares; a single one gets all, given as no numbers."""
    if count <= 1:
        return [()]
    size = max(1, len(cores) // count)
    parts = [tuple(cores[start : start + size]) for start in range(0, len(cores), size)]
    return [parts[index % len(parts)] for index in range(count)]
