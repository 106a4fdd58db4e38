"""What is seen while cells run: a live table in a terminal, one line per change elsewhere, JSON for programs."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from orchestrator.cell.cell import Cell
from orchestrator.cell.events import Epoch, Event
from orchestrator.engines.protocol import Placed, Queued
from orchestrator.system.slots import Lease

if TYPE_CHECKING:
    from orchestrator.plan.verdicts import Planned
    from orchestrator.run.order import Expected


AT_FULL_PACE = 100
"""Epochs of a cell that are printed as they come, and after which the pause between two is doubled."""


class Pace:
    """A rate limit: lets all through at first, then one a second, then fewer and fewer."""

    def __init__(self) -> None:
        self._count, self._last = 0, 0.0

    def lets_through(self) -> bool:
        """Whether it is time for one more."""
        now, times = time.monotonic(), self._count // AT_FULL_PACE
        if times and now - self._last < 2.0 ** (times - 1):
            return False
        self._count, self._last = self._count + 1, now
        return True


@dataclass(frozen=True)
class Running:
    """A cell that runs now: since when, on what, how far it is, and how long it is likely to take."""

    cell: Cell
    gpus: tuple[str, ...]
    expected: float | None
    state: str = "running"
    epoch: float = 0
    epochs: float = 0
    loss: float | None = None
    since: float = field(default_factory=time.monotonic)
    pace: Pace = field(default_factory=Pace, compare=False)

    @property
    def left(self) -> float | None:
        """Seconds until its end, by earlier runs or else by its own epochs; None if neither is known."""
        gone = time.monotonic() - self.since
        if self.expected is not None:
            return max(0.0, self.expected - gone)
        return gone / self.epoch * (self.epochs - self.epoch) if self.epoch else None


class Progress(ABC):
    """Keeps track of the cells of a run and shows what changes; safe to call from the threads of the cells."""

    def __init__(self) -> None:
        self.cells: dict[Cell, Running] = {}
        self.total = self.done = self.slots = 0
        self.open_ended = False
        """Whether more cells may follow, as nobody knows yet how many it takes."""
        self.counts: dict[str, int] = {}
        self._ahead: dict[Cell, float | None] = {}
        self._changing = threading.RLock()

    @abstractmethod
    def show(self, kind: str, cell: Cell | None, **facts: Any) -> None:
        """Show one change to a person or a program."""

    def say(self, text: str) -> None:
        """Show a note about preparation."""
        with self._changing:
            self.show("note", None, text=text)

    @contextmanager
    def running(self, ordered: "Sequence[Planned]", expected: "Expected", slots: int) -> Iterator[None]:
        """Show progress over these cells while the context is open."""
        self._ahead = {planned.cell: expected(planned.cell) for planned in ordered}
        self.total, self.slots = self.total + len(ordered), max(1, slots)
        yield

    def started(self, cell: Cell, lease: Lease) -> None:
        """Note that a cell has started."""
        gpus = tuple(gpu.uuid for gpu in lease.gpus)
        with self._changing:
            self.cells[cell] = Running(cell, gpus, self._ahead.pop(cell, None))
            self.show("started", cell, gpus=gpus, cores=lease.cores, memory=lease.memory)

    @contextmanager
    def proving(self, cell: Cell, lease: Lease) -> Iterator[None]:
        """Show that a cell is compared with the reference before its own turn comes, while the context is open."""
        with self._changing:
            self.cells[cell] = Running(cell, tuple(gpu.uuid for gpu in lease.gpus), None, state="proving")
        try:
            yield
        finally:
            with self._changing:
                self.cells.pop(cell, None)

    def event(self, cell: Cell, event: Event) -> None:
        """Take in what a cell said: show its epoch and loss."""
        with self._changing:
            running = self.cells.get(cell)
            if running is None or not isinstance(event, Epoch):
                return
            self.cells[cell] = replace(running, epoch=event.epoch, epochs=event.epochs, loss=event.loss)
            if running.pace.lets_through():
                self.show("epoch", cell, epoch=event.epoch, epochs=event.epochs, loss=event.loss)

    def queued(self, cell: Cell, place: Queued) -> None:
        """Note that a cell waits in somebody else's queue."""
        with self._changing:
            self.cells[cell] = replace(self.cells[cell], state=place.state)
            self.show("queued", cell, state=place.state)

    def placed(self, cell: Cell, place: Placed) -> None:
        """Note where a cell runs, once that is known."""
        with self._changing:
            self.cells[cell] = replace(self.cells[cell], state=f"running on {place.host}", gpus=place.gpus)
            self.show("placed", cell, **vars(place))

    def again(self, cell: Cell, reason: str, pause: float) -> None:
        """Note that a cell was lost with its host, and is retried after ``pause`` seconds."""
        with self._changing:
            self.cells[cell] = replace(self.cells[cell], state="waiting for its host", epoch=0, loss=None)
            self.show("again", cell, reason=reason, pause=pause)

    def elsewhere(self, cell: Cell) -> None:
        """Note that another orchestrator has run a cell of ours."""
        with self._changing:
            self._count(cell, "elsewhere")
            self.show("elsewhere", cell)

    def finished(self, cell: Cell, row: Mapping[str, Any]) -> None:
        """Note that a cell has its row."""
        with self._changing:
            self._count(cell, str(row["status"]))
            names = ("status", "reason", "seconds", "metric", "quality", "wall_seconds")
            self.show(
                "finished",
                cell,
                done=self.done,
                total=None if self.open_ended else self.total,
                **{name: row[name] for name in names},
            )

    def _count(self, cell: Cell, what: str) -> None:
        self.done += 1
        self.counts[what] = self.counts.get(what, 0) + 1
        self._ahead.pop(cell, None)
        self.cells.pop(cell, None)

    @property
    def left(self) -> float | None:
        """Seconds until the end of the run, if all waiting cells take what they, or the others, took before."""
        with self._changing:
            ahead = [seconds for seconds in self._ahead.values() if seconds is not None]
            now = [running.left for running in self.cells.values()]
            unknown = len(self._ahead) - len(ahead)
        if (self._ahead and not ahead) or None in now:
            return None
        mean = sum(ahead) / len(ahead) if ahead else 0.0
        return (sum(ahead) + unknown * mean + sum(filter(None, now))) / max(1, self.slots)
