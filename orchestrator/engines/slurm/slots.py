"""How many jobs may be in the queue at a time: what site.yaml allows, and no more than Slurm takes."""

import threading
import time
from collections import Counter
from collections.abc import Callable

from orchestrator.engines.protocol import OnEvent, Queued
from orchestrator.engines.slurm import commands
from orchestrator.engines.slurm.commands import FullError
from orchestrator.errors import EngineGoneError
from orchestrator.system.slots import Lease
from orchestrator.system.terminal import Say

PATIENCE = 30.0
"""Most seconds until a full queue is tried again: jobs that are none of ours may have ended, too."""

LOOK = 0.5
"""Seconds between looks whether a job of ours has ended."""


class JobSlots:
    """Slots for the jobs that a site allows in the queue, shared equally by ``kinds`` of cells; ``count`` can run."""

    def __init__(self, most: int, kinds: int, at_a_time: int) -> None:
        self.count = max(1, min(most, at_a_time))
        self._allowed, self._kinds = most, max(1, kinds)
        self._used: Counter[str] = Counter()
        self._changing = threading.Lock()
        self.fit(most)

    def fit(self, most: int) -> None:
        """Note how many jobs Slurm takes; never more than the site allows."""
        self._most = max(1, min(most, self._allowed))
        self._share = max(1, self._most // self._kinds)

    def take(self, model: str, n_gpus: int = 1) -> Lease | None:
        """Return a lease to submit a job; None if the cell has to wait."""
        with self._changing:
            beyond = sum(max(0, used - self._share) for used in self._used.values())
            if self._used[model] >= self._share and beyond >= self._most - self._share * self._kinds:
                return None  # the remainder of equal shares goes to whoever asks
            if self._used.total() >= self._most:
                return None
            self._used[model] += 1
            return Lease((), (), 0)

    def give_back(self, lease: Lease, model: str) -> None:
        """End a lease."""
        with self._changing:
            self._used[model] -= 1


class Room:
    """What is free in a queue that Slurm limits, learned from what it refuses; ``running`` counts our jobs there."""

    def __init__(self, running: Callable[[], int], stopped: Callable[[], bool], say: Say) -> None:
        self._running, self._stopped, self._say = running, stopped, say
        self._full = 1
        self._waiting = threading.Lock()

    def submitted(self, text: str, slots: JobSlots, on_event: OnEvent) -> str:
        """Submit a script, in a full queue as soon as there is room; raises EngineError."""
        try:
            return commands.submitted(text)
        except FullError as error:
            self._learn(self._running(), slots)
            self._say(f"{error.what.rstrip('.')}; cells wait for room")
        on_event(Queued("waiting for room in the queue"))
        with self._waiting:  # one after another, or all would ask again for each job that ends
            while self._has_come():
                try:
                    job = commands.submitted(text)
                except FullError:
                    self._learn(self._running(), slots)
                else:
                    self._learn(self._running() + 2, slots)  # with this job, and one to see whether there is more room
                    return job
        raise EngineGoneError("stopped before there was room in the queue")

    def _learn(self, jobs: int, slots: JobSlots) -> None:
        """Note how many jobs of ours fill the queue; one more cell may wait for room."""
        self._full = max(1, jobs)
        slots.fit(self._full + 1)

    def _has_come(self) -> bool:
        """Wait until there may be room; False if the run ends before."""
        until = time.monotonic() + PATIENCE
        while self._running() >= self._full and time.monotonic() < until and not self._stopped():
            time.sleep(LOOK)
        return not self._stopped()
