"""What is seen while cells run: a live table in a terminal, one line per change elsewhere, JSON for programs."""

import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.markup import escape

from orchestrator.cell.cell import Cell
from orchestrator.engines.protocol import Event, Placed
from orchestrator.system.slots import Lease

if TYPE_CHECKING:
    from rich.table import Table

    from orchestrator.history import Expected
    from orchestrator.plan.verdicts import Planned

COLOURS = {"ok": "green", "quality": "yellow", "again": "yellow", "elsewhere": "blue"}
LONGEST_TABLE = 32
"""Cells that the live table shows; more don't fit a screen."""


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
        self.counts: dict[str, int] = {}
        self._ahead: dict[Cell, float | None] = {}
        self._changing = threading.RLock()

    @abstractmethod
    def show(self, kind: str, cell: Cell | None, **facts: Any) -> None:
        """Let a person or a program see one change."""

    def say(self, text: str) -> None:
        """Tell of preparation."""
        with self._changing:
            self.show("note", None, text=text)

    @contextmanager
    def running(self, ordered: "Sequence[Planned]", expected: "Expected", slots: int) -> Iterator[None]:
        """Show progress over these cells while the context is open."""
        self._ahead = {planned.cell: expected(planned.cell) for planned in ordered}
        self.total, self.slots = self.total + len(ordered), max(1, slots)
        yield

    def started(self, cell: Cell, lease: Lease) -> None:
        """A cell begins."""
        gpus = tuple(gpu.uuid for gpu in lease.gpus)
        with self._changing:
            self.cells[cell] = Running(cell, gpus, self._ahead.pop(cell, None))
            self.show("started", cell, gpus=gpus, cores=lease.cores, memory=lease.memory)

    def event(self, cell: Cell, event: Event) -> None:
        """A cell said something: show its epoch and loss."""
        numbers = [event.get(name) for name in ("epoch", "epochs", "loss")]
        known = [float(number) for number in numbers if isinstance(number, int | float)]
        if event["event"] != "epoch" or len(known) != len(numbers):
            return
        epoch, epochs, loss = known
        with self._changing:
            self.cells[cell] = replace(self.cells[cell], epoch=epoch, epochs=epochs, loss=loss)
            self.show("epoch", cell, epoch=epoch, epochs=epochs, loss=loss)

    def placed(self, cell: Cell, place: Placed) -> None:
        """It is known now where a cell runs."""
        with self._changing:
            self.cells[cell] = replace(self.cells[cell], state=f"running on {place.host}", gpus=place.gpus)
            self.show("placed", cell, **vars(place))

    def again(self, cell: Cell, reason: str, pause: float) -> None:
        """A cell was lost with its host, and is tried again after some seconds."""
        with self._changing:
            self.cells[cell] = replace(self.cells[cell], state="waiting for its host", epoch=0, loss=None)
            self.show("again", cell, reason=reason, pause=pause)

    def elsewhere(self, cell: Cell) -> None:
        """Another orchestrator has run a cell of ours."""
        with self._changing:
            self._count(cell, "elsewhere")
            self.show("elsewhere", cell)

    def finished(self, cell: Cell, row: Mapping[str, Any]) -> None:
        """A cell has its row."""
        with self._changing:
            self._count(cell, str(row["status"]))
            names = ("status", "reason", "seconds", "metric", "quality", "wall_seconds")
            self.show("finished", cell, done=self.done, total=self.total, **{name: row[name] for name in names})

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
        return (sum(ahead) + unknown * mean + sum(filter(None, now))) / self.slots


class Lines(Progress):
    """One line per change, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def show(self, kind: str, cell: Cell | None, **facts: Any) -> None:
        """Print a line."""
        text = WORDS[kind](facts)
        if cell is not None:
            text = f"{time.strftime('%H:%M:%S')} {counted(facts)}{cell.id}{repeat(cell)}  {text}"
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class Live(Progress):
    """A table of what runs now, below one line for each cell that has ended."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    @contextmanager
    def running(self, ordered: "Sequence[Planned]", expected: "Expected", slots: int) -> Iterator[None]:
        """Show the table while the context is open."""
        from rich.live import Live as Screen

        with super().running(ordered, expected, slots):
            screen = Screen(console=self.console, get_renderable=self.table, refresh_per_second=2, transient=True)
            with screen:
                yield

    def show(self, kind: str, cell: Cell | None, **facts: Any) -> None:
        """Print what stays above the table; the rest is in the table."""
        if cell is None:
            self.console.print(escape(str(facts["text"])), highlight=False)
        elif kind not in ("started", "placed", "epoch"):
            word, _, rest = WORDS[kind](facts).partition("  ")
            colour = COLOURS.get(word, "red")
            said = f"{counted(facts)}{cell.id}{repeat(cell)}"
            self.console.print(f"{escape(said)}  [{colour}]{escape(word)}[/]  {escape(rest)}", highlight=False)

    def table(self) -> "Table":
        """What runs now, and how far everything is."""
        with self._changing:
            cells, counts = list(self.cells.values()), dict(self.counts)
        so_far = "".join(f", {count:,} {status}" for status, count in counts.items())
        title = f"{self.done:,} of {self.total:,} cells{so_far}{eta(self.left)}"
        now = time.monotonic()
        return board(
            [
                Entry(f"{r.cell.id}{repeat(r.cell)}", r.state, r.gpus, r.epoch, r.epochs, r.loss, now - r.since, r.left)
                for r in cells
            ],
            title,
        )


class Json(Progress):
    """A JSON object per line and change."""

    def show(self, kind: str, cell: Cell | None, **facts: Any) -> None:
        """Print an object; the cell by its id, repeat and data."""
        of_cell = {"cell": cell.id, "repeat": cell.repeat, "data": cell.data} if cell else {}
        print(json.dumps({"event": kind, "time": datetime.now(UTC).isoformat(), **of_cell, **facts}), flush=True)


def choose(console: Console, as_json: bool) -> Progress:
    """What suits the reader."""
    return Json() if as_json else Live(console) if console.is_terminal else Lines(console)


def result(facts: Mapping[str, Any]) -> str:
    """How a cell ended: time beside quality, or the reason why there is none."""
    if facts["status"] in ("ok", "quality") and facts["seconds"] is not None:
        return f"{facts['status']}  {facts['seconds']:.1f} s  {facts['metric']} {facts['quality']:.3f}"
    return f"{facts['status']}  {facts['reason'].splitlines()[0] if facts['reason'] else ''}"


WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "note": lambda facts: str(facts["text"]),
    "started": lambda facts: f"started{''.join(f' on {gpu}' for gpu in facts['gpus'])}",
    "placed": lambda facts: f"on {', '.join((facts['host'], *facts['gpus']))}",
    "epoch": lambda facts: f"epoch {facts['epoch']:.0f}/{facts['epochs']:.0f}  loss {facts['loss']:.3f}",
    "again": lambda facts: f"again  in {facts['pause']:,.0f} s: {facts['reason']}",
    "elsewhere": lambda facts: "elsewhere  run by another orchestrator",
    "finished": result,
}
"""Each kind of change as text; the first word, before two spaces, is coloured."""


def counted(facts: Mapping[str, Any]) -> str:
    """How many cells are done, where the change is that one more is."""
    return f"[{facts['done']}/{facts['total']}] " if "done" in facts else ""


def repeat(cell: Cell) -> str:
    """The repeat of a cell, unless it is the first."""
    return f" #{cell.repeat}" if cell.repeat else ""


def eta(seconds: float | None) -> str:
    """When something is likely to end, as a clock shows it; the day too if that is not today."""
    if seconds is None:
        return ""
    end = datetime.now().timestamp() + seconds
    form = "%H:%M" if time.strftime("%j") == time.strftime("%j", time.localtime(end)) else "%a %H:%M"
    return f", likely done {time.strftime(form, time.localtime(end))}"


def clock(seconds: float | None) -> str:
    """A duration: 0:07, 12:34, 25:00:00."""
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Entry(NamedTuple):
    """A line of the board; ``gone`` and ``left`` are seconds since the cell began and until its end."""

    cell: str
    state: str
    gpus: Sequence[str]
    epoch: float
    epochs: float
    loss: float | None
    gone: float
    left: float | None


def board(entries: Sequence[Entry], title: str) -> "Table":
    """A table of cells that run now."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", title_style="bold")
    for heading in ("cell", "state", "GPU", "epoch", "loss", "time", "left"):
        made.add_column(heading, justify="left" if heading in ("cell", "state", "GPU") else "right", no_wrap=True)
    for entry in entries[:LONGEST_TABLE]:
        cards = ", ".join(gpu.removeprefix("GPU-")[:12] for gpu in entry.gpus)
        epoch = f"{entry.epoch:.0f}/{entry.epochs:.0f}" if entry.epochs else ""
        loss = "" if entry.loss is None else f"{entry.loss:.3f}"
        made.add_row(*map(Text, (entry.cell, entry.state, cards, epoch, loss, clock(entry.gone), clock(entry.left))))
    if len(entries) > LONGEST_TABLE:
        made.add_row(f"and {len(entries) - LONGEST_TABLE:,} more")
    return made
