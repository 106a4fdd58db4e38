"""Foreign text on its way to a terminal or a page."""

from collections.abc import Callable
from typing import Any

Say = Callable[[str], None]
"""Takes a line for the user."""


def plain(value: Any) -> Any:
    """Text that can't steer a terminal: results of other machines are not trusted."""
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in value)


def clock(seconds: float | None) -> str:
    """A duration: 0:07, 12:34, 25:00:00."""
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
