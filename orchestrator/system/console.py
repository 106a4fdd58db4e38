"""Rich's console with the same protection as all other output: see terminal.py."""

import sys
from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from orchestrator.system.terminal import plain, writing_to


class Outlet:
    """A stream that ignores writes once its reader has gone."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text, or nothing if nobody reads any more."""
        with writing_to(self._stream):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        with writing_to(self._stream):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class PlainConsole(Console):
    """A console whose text can't control the terminal; its own styles and cursor movements still work."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of a renderable, with plain text."""
        for segment in super().render(renderable, options):
            shown = segment.text if segment.control else plain(segment.text)
            yield segment if shown == segment.text else Segment(shown, segment.style)


NARROWEST = 20
"""Columns below which nothing fits: a console that is narrower, as for COLUMNS=0, is taken to have as many."""


def screen(stderr: bool = False, **options: Any) -> PlainConsole:
    """Return the console on which a command prints; ``options`` are rich's own."""
    stream = sys.stderr if stderr else sys.stdout
    file: Any = Outlet(stream) if stream is not None else None
    console = PlainConsole(file=file, **options)
    if console.width < NARROWEST:
        console.width = NARROWEST
    return console
