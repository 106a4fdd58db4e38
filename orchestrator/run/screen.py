"""What is seen while cells run: a live table in a terminal, one line per change elsewhere, JSON for programs."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.markup import escape

from orchestrator.cell.cell import Cell
from orchestrator.run.progress import Progress
from orchestrator.system.terminal import clock, echo, number
from orchestrator.system.words import part_of

if TYPE_CHECKING:
    from rich.table import Table

    from orchestrator.plan.verdicts import Planned
    from orchestrator.run.order import Expected


COLOURS = {"ok": "green", "quality": "yellow", "again": "yellow", "elsewhere": "blue"}
LONGEST_TABLE = 32
"""Cells that the live table shows; more don't fit a screen."""


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
        elif kind not in ("started", "queued", "placed", "epoch"):
            word, _, rest = WORDS[kind](facts).partition("  ")
            colour = COLOURS.get(word, "red")
            said = f"{counted(facts)}{cell.id}{repeat(cell)}"
            self.console.print(f"{escape(said)}  [{colour}]{escape(word)}[/]  {escape(rest)}", highlight=False)

    def table(self) -> "Table":
        """Return a table of what runs now, with the overall progress."""
        with self._changing:
            cells, counts = list(self.cells.values()), dict(self.counts)
        so_far = "".join(f", {count:,} {status}" for status, count in counts.items())
        title = f"{part_of(self.done, self.total, 'cell')}{so_far}{eta(self.left)}"
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
        echo(json.dumps({"event": kind, "time": datetime.now(UTC).isoformat(), **of_cell, **facts}))


def choose(console: Console, as_json: bool) -> Progress:
    """Return the progress display that suits the reader."""
    return Json() if as_json else Live(console) if console.is_terminal else Lines(console)


def result(facts: Mapping[str, Any]) -> str:
    """How a cell ended: time beside quality, or the reason why there is none."""
    if facts["status"] in ("ok", "quality") and facts["seconds"] is not None:
        return f"{facts['status']}  {facts['seconds']:.1f} s  {facts['metric']} {facts['quality']:.3f}"
    return f"{facts['status']}  {facts['reason'].splitlines()[0] if facts['reason'] else ''}"


WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "note": lambda facts: str(facts["text"]),
    "started": lambda facts: f"started{''.join(f' on {gpu}' for gpu in facts['gpus'])}",
    "queued": lambda facts: str(facts["state"]),
    "placed": lambda facts: f"on {', '.join((facts['host'], *facts['gpus']))}",
    "epoch": lambda facts: f"epoch {facts['epoch']:.0f}/{facts['epochs']:.0f}  loss {number(facts['loss'])}",
    "again": lambda facts: f"again  in {facts['pause']:,.0f} s: {facts['reason']}",
    "elsewhere": lambda facts: "elsewhere  run by another orchestrator",
    "finished": result,
}
"""Each kind of change as text; the first word, before two spaces, is coloured."""


def counted(facts: Mapping[str, Any]) -> str:
    """Return how many cells are done, if the change has that number."""
    if "done" not in facts:
        return ""
    return f"[{facts['done']}] " if facts["total"] is None else f"[{facts['done']}/{facts['total']}] "


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
        loss = "" if entry.loss is None else number(entry.loss)
        made.add_row(*map(Text, (entry.cell, entry.state, cards, epoch, loss, clock(entry.gone), clock(entry.left))))
    if len(entries) > LONGEST_TABLE:
        made.add_row(f"and {len(entries) - LONGEST_TABLE:,} more")
    return made
