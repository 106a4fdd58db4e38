"""What a person sees while cells run: a live line per running cell in a terminal, one line per change elsewhere."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from orchestrator.engines import Event
from orchestrator.matrix import Cell

COLOURS = {"ok": "green", "quality": "yellow"}


class Progress:
    """Prints to a console; safe to call from the threads of the cells."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars: Bars | None = None
        self._tasks: dict[Cell, TaskID] = {}
        self._done = 0
        self._total = 0

    def say(self, text: str) -> None:
        """Print one line about preparation."""
        self.console.print(escape(text), highlight=False)

    @contextmanager
    def running(self, total: int) -> Iterator[None]:
        """Show progress over ``total`` cells while the context is open."""
        self._total = total
        if not self.console.is_terminal:
            yield
            return
        texts = (SpinnerColumn(), TextColumn("{task.description}"))
        columns = (*texts, BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn())
        with Bars(*columns, console=self.console, transient=True) as self._bars:
            self._overall = self._bars.add_task("all cells", total=total)
            try:
                yield
            finally:
                self._bars, self._tasks = None, {}

    def started(self, cell: Cell) -> None:
        """A cell begins."""
        if self._bars:
            self._tasks[cell] = self._bars.add_task(cell.id, total=None)
        else:
            self._line(f"{cell.id}  started")

    def event(self, cell: Cell, event: Event) -> None:
        """A cell said something: show its epoch and loss."""
        numbers = [event.get(name) for name in ("epoch", "epochs", "loss")]
        if event["event"] != "epoch" or not all(isinstance(number, int | float) for number in numbers):
            return
        text = f"epoch {event['epoch']:.0f}/{event['epochs']:.0f}  loss {event['loss']:.3f}"
        if self._bars:
            task = self._tasks[cell]
            self._bars.update(task, description=f"{cell.id}  {text}", total=event["epochs"], completed=event["epoch"])
        else:
            self._line(f"{cell.id}  {text}")

    def finished(self, cell: Cell, row: Mapping[str, Any]) -> None:
        """A cell has its row: one line that stays."""
        self._done += 1
        status = str(row["status"])
        if status in COLOURS and row["seconds"] is not None:
            said = f"{row['seconds']:.1f} s  {row['metric']} {row['quality']:.3f}"
        else:
            said = str(row["reason"]).splitlines()[0] if row["reason"] else ""
        self._line(
            f"[{self._done}/{self._total}] {cell.id}  {status}  {said}",
            f"\\[{self._done}/{self._total}] {cell.id}  [{COLOURS.get(status, 'red')}]{status}[/]  {escape(said)}",
        )
        if self._bars:
            self._bars.remove_task(self._tasks.pop(cell))
            self._bars.update(self._overall, completed=self._done)

    def _line(self, plain: str, marked: str | None = None) -> None:
        if self.console.is_terminal and marked is not None:
            self.console.print(marked, highlight=False)
        elif not self.console.is_terminal:
            self.console.print(f"{time.strftime('%H:%M:%S')} {plain}", markup=False, highlight=False, soft_wrap=True)
