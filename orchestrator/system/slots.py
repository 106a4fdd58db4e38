"""What cells hold alone while they run: GPUs, and a share of the cores and of the memory."""

import os
import threading
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from orchestrator.system import file_locks
from orchestrator.system.host import Device, Host

MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 7 // 8
"""Bytes that cells may use together: an eighth of the machine is left to the engine and to the system."""


@dataclass(frozen=True)
class Lease:
    """What one cell holds: GPUs, the numbers of its cores (none: all of them), bytes of memory.

    ``shares`` are the parts that its cores came from, one for each GPU.
    """

    gpus: tuple[Device, ...]
    cores: tuple[int, ...]
    memory: int
    locked: tuple[file_locks.Lock, ...] = ()
    shares: tuple[tuple[int, ...], ...] = ((),)


class Slots:
    """A slot for each GPU of the models that are wanted, and ``cpu_cells`` slots for cells without.

    A GPU is locked for the whole host, so that it belongs to one cell of all orchestrators. Cores and memory are
    divided evenly among the slots: cells that each start a thread per core would wait for each other.
    """

    def __init__(self, host: Host, models: Collection[str], cpu_cells: int) -> None:
        self._devices = {model: host.of_model(model) for model in models}
        self._free = {"none": cpu_cells, **{model: len(found) for model, found in self._devices.items()}}
        self.count = sum(self._free.values())
        self._shares = shares(sorted(os.sched_getaffinity(0)), self.count)
        self._folder: Path | None = None
        self._changing = threading.Lock()

    def take(self, model: str, n_gpus: int = 1) -> Lease | None:
        """So many GPUs of a model and their share of the rest; one share for ``none``. None if too many are taken."""
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
        """GPUs that nobody on this host holds, and their locks; empty, and nothing held, if there are too few."""
        self._folder = self._folder or file_locks.host_folder()
        held: list[tuple[Device, file_locks.Lock]] = []
        for device in self._devices[model]:
            lock = file_locks.take(self._folder / lock_name(device.uuid)) if len(held) < count else None
            if lock is not None:
                held.append((device, lock))
        if len(held) < count:
            for _, lock in held:
                lock.release()
            return (), ()
        return tuple(device for device, _ in held), tuple(lock for _, lock in held)


def lock_name(uuid: str) -> str:
    """The file that stands for a GPU; drivers before 470 call slices ``MIG-GPU-…/1/0``."""
    return f"{uuid.replace('/', '-')}.lock"


def shares(cores: list[int], count: int) -> list[tuple[int, ...]]:
    """The cores in as many equal shares; whoever is alone gets all, which no numbers means."""
    if count <= 1:
        return [()]
    size = max(1, len(cores) // count)
    parts = [tuple(cores[start : start + size]) for start in range(0, len(cores), size)]
    return [parts[index % len(parts)] for index in range(count)]
