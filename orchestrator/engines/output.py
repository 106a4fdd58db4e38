"""A cell's output, split into events for the screen and a log of bounded size."""

import re

from orchestrator.cell import events
from orchestrator.cell.contract import Document, Outcome, Status
from orchestrator.cell.events import LONGEST_LINE
from orchestrator.engines.protocol import OnEvent
from orchestrator.system.terminal import plain

LOG_HEAD, LOG_TAIL, ERRORS_TAIL = 64 * 2**10, 256 * 2**10, 16 * 2**10
LONGEST_ERROR = 4 * 2**10
"""Bytes that are kept of a line of STDERR for the reason: its beginning says what is wrong."""

STDOUT, STDERR = "stdout", "stderr"
"""The pipes of a container; an engine of processes joins both in one, STDOUT."""


class Output:
    """A cell's output: events are forwarded, and all lines are kept as its log, head and tail.

    A container is not trusted: lines and log are cut at a limit, and a line that is not an event is just text.
    """

    def __init__(self, on_event: OnEvent) -> None:
        self.on_event = on_event
        self._begun = {STDOUT: b"", STDERR: b""}
        self._head, self._tail, self._errors = bytearray(), bytearray(), bytearray()
        self._cut = self._within_error = False

    def feed(self, chunk: bytes, pipe: str = STDOUT) -> None:
        """Take the next bytes of a pipe, which may be split anywhere."""
        *lines, rest = (self._begun[pipe] + chunk).split(b"\n")
        for line in lines:
            self._take(line[:LONGEST_LINE], pipe)
        while len(rest) > LONGEST_LINE:
            self._take(rest[:LONGEST_LINE], pipe, whole=False)
            rest = rest[LONGEST_LINE:]
        self._begun[pipe] = rest

    @property
    def errors(self) -> str:
        """The end of what came through STDERR: two pipes may arrive in any order, and the log ends with either."""
        return self._errors.decode(errors="replace")

    def close(self) -> str:
        """Return the log as text."""
        for pipe, line in self._begun.items():
            if line:
                self._take(line, pipe)
            self._begun[pipe] = b""
        gap = b"\n[... cut ...]\n" if self._cut or len(self._tail) > LOG_TAIL else b""
        return (bytes(self._head) + gap + bytes(self._tail[-LOG_TAIL:])).decode(errors="replace")

    def _take(self, line: bytes, pipe: str, whole: bool = True) -> None:
        """Take a line, or if not ``whole`` a piece of one that goes on."""
        if pipe == STDERR:
            if not self._within_error:
                self._errors = (self._errors + line[:LONGEST_ERROR] + b"\n")[-ERRORS_TAIL:]
            self._within_error = not whole
        event = events.parse(line)
        if event is not None:
            self.on_event(event)
        if len(self._head) < LOG_HEAD:
            self._head += line + b"\n"
        else:
            self._tail += line + b"\n"
            if len(self._tail) > 2 * LOG_TAIL:
                del self._tail[:-LOG_TAIL]
                self._cut = True


NO_REASON = re.compile(r"""{"event"|\s*\[(CALL STACK|0x[0-9a-f]+)\]""")
"""Lines that tell a person nothing: events, and the C++ stack frames below an error message, as CNTK prints them."""

ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
"""What colours a terminal's text; often the last line has nothing but the end of the colour."""


def failure(log: str, exit_code: int, errors: str = "") -> Outcome:
    """The outcome of a cell that left no document: its exit code and its last error, or the last line of its log."""
    said = telling(errors) or telling(log)
    last = f": {plain(said[-1])[:300].strip()}" if said else ""  # cut afterwards: half an address hides its login
    reason = "left no result although it ended with exit code 0" if exit_code == 0 else f"exit code {exit_code}"
    return Outcome(Status.FAILED, reason + last, log=log)


def telling(text: str) -> list[str]:
    """Return the lines that tell a person something."""
    lines = (ESCAPES.sub("", line).strip() for line in text.splitlines() if not NO_REASON.match(line))
    return [line for line in lines if any(map(str.isalnum, line))]


def success(document: Document, log: str) -> Outcome:
    """The outcome of a cell that left a valid document."""
    return Outcome(Status.OK, document=document, log=log)


def too_late(deadline: float, log: str) -> Outcome:
    """The outcome of a cell that was killed at its deadline, in seconds."""
    return Outcome(Status.TIMEOUT, f"not finished after {deadline:,.0f} s", log=log)


def stopped() -> Outcome:
    """The outcome of a cell that was not started because the engine is stopping."""
    return Outcome(Status.FAILED, "stopped before it began")
