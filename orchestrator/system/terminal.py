"""All output to a terminal: foreign text can't control it, and a lost reader ends no run."""

import errno
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from orchestrator.system.addresses import without_secrets

Say = Callable[[str], None]
"""Takes a line for the user."""


def silent(text: str) -> None:
    """Say nothing."""


KEPT = "\n\t"
"""Characters that are not printable but harmless."""


def plain(value: Any) -> Any:
    """Return text that can't control a terminal: without control characters (C0, C1) and bidirectional ones.

    An escape sequence becomes plain characters. Addresses lose logins and signatures.
    """
    if not isinstance(value, str):
        return value
    value = without_secrets(value)
    if value.isprintable():
        return value
    return "".join(letter if letter.isprintable() or letter in KEPT else " " for letter in value)


def one_line(text: str) -> str:
    """Return text as ``plain`` does and on one line: a name with line breaks can't pass for lines of ours."""
    return " ".join(plain(text).split())


def echo(text: object = "", err: bool = False, nl: bool = True, lead: str = "") -> None:
    """Print text from any source as plain text; ``lead`` is our own and may be styled."""
    import click

    with writing_to(sys.stderr if err else sys.stdout):
        click.echo(lead + str(plain(str(text))), err=err, nl=nl)


def command_line(*words: object) -> str:
    """Return a command that we advise, quoted for a shell, such as a path with blanks or a pattern.

    Every command in a message with a path or a name of the user's in it goes through here.
    """
    return shlex.join(str(word) for word in words)


def quoted(*words: object) -> str:
    """Return such a command for a sentence: in quotes, unless it has quotes of its own."""
    line = command_line(*words)
    return line if "'" in line else f"'{line}'"


def note(text: str) -> None:
    """Print a note, which is not a result and takes one line, to standard error."""
    echo(one_line(text if text.startswith("note: ") else f"note: {text}"), err=True)


# --- Readers that go away -------------------------------------------------------------------------------------------
_lost: list[OSError] = []


@contextmanager
def writing_to(stream: IO[str] | None) -> Iterator[None]:
    """Write to a stream. If that fails, further output is discarded, and the program goes on: a run is worth more.

    A reader that has gone (``rosetta run | head``) is no error; any other error is kept for ``lost_output``.
    """
    try:
        yield
    except OSError as error:
        if error.errno != errno.EPIPE:
            _lost.append(error)
        with suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())  # type: ignore[union-attr]
            os.close(nowhere)


def lost_output() -> OSError | None:
    """Flush all output, and return an error of any output so far."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            with writing_to(stream):
                stream.flush()
    return _lost.pop() if _lost else None


def number(value: float) -> str:
    """Format a number with three decimals, a large one with three significant digits."""
    return f"{value:.3f}" if abs(value) < 1e6 else f"{value:.3g}"


def clock(seconds: float | None) -> str:
    """A duration: 0:07, 12:34, 25:00:00."""
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
