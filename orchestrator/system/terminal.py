"""Foreign text on its way to a terminal or a page."""

from typing import Any


def plain(value: Any) -> Any:
    """Text that can't steer a terminal: results of other machines are not trusted."""
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in value)
