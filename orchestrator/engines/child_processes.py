"""Run cells as processes on this machine: start and follow them, enforce deadlines, find them by their variables."""

import os
import re
import select
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.engines.output import Output
from orchestrator.engines.protocol import OnEvent, OnThisHost, Task

CLAIM = re.compile(rb"(?:^|\0)ROSETTA_CLAIM=([^\0]+)")
"""Finds the claim in the environment variables of a cell's processes."""

AGAIN = 0.2
"""Seconds until a silent cell is looked at again: its first process may have ended and left others that say nothing."""

LAST_WORDS = 2**20
"""Bytes still read once the first process has ended: what a pipe can hold. Whatever it left behind may write on."""


@dataclass(frozen=True)
class Ended:
    """How a cell's first process ended: its exit code, its output, and whether it was killed at its deadline."""

    exit_code: int
    log: str
    late: bool


class ChildProcesses(OnThisHost):
    """Base of engines that start each cell as a process, the leader of a session of its own."""

    def __init__(self) -> None:
        self.host = socket.gethostname()
        self.stopping = False
        self._running: set[int] = set()
        self._lock = threading.Lock()

    def cells(self) -> Mapping[str, str]:
        """Return the claims of all cells that run here as our user, by process id."""
        claims = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if marked := CLAIM.search((folder / "environ").read_bytes()):
                    claims[folder.name] = marked[1].decode()
        return claims

    def remove(self, handle: str) -> None:
        """Kill a process."""
        with suppress(ProcessLookupError, PermissionError):
            os.kill(int(handle), signal.SIGKILL)

    def stop(self) -> None:
        """Kill the cells that this process started, and their children."""
        with self._lock:
            self.stopping = True
            running = list(self._running)
        for process in running:
            kill_session(process)

    def _remove_orphans(self, claim: str) -> None:
        """Kill what a dead orchestrator left running for this claim, which we hold now."""
        for process, of in self.cells().items():
            if of == claim:
                self.remove(process)

    def _followed(self, start: Callable[[], "subprocess.Popen[bytes]"], task: Task, on_event: OnEvent) -> Ended | None:
        """Start a cell and forward its output from one pipe until it ends or is killed; None if all is stopping."""
        with self._lock:
            if self.stopping:
                return None
            process = start()
            self._running.add(process.pid)
        output, late = Output(on_event), threading.Event()
        deadline = threading.Timer(task.deadline, kill_late, (process.pid, late))
        deadline.daemon = True
        deadline.start()
        said = process.stdout or process.stderr
        try:
            assert said is not None
            with said:
                for chunk in said_until_it_ended(said.fileno(), process):
                    output.feed(chunk)
            process.wait()
        finally:
            deadline.cancel()
            kill_session(process.pid)
            exit_code = process.wait()
            self._remove_orphans(task.claim)  # those that began a session of their own
            with self._lock:
                self._running.discard(process.pid)
        return Ended(exit_code, output.close(), late.is_set())


def said_until_it_ended(pipe: int, process: "subprocess.Popen[bytes]") -> Iterator[bytes]:
    """Yield what a cell writes into a pipe, until its first process has ended: any other may keep the pipe open."""
    waiting, left = select.poll(), LAST_WORDS
    waiting.register(pipe, select.POLLIN)
    while left > 0:
        ended = process.poll() is not None
        if waiting.poll(0 if ended else AGAIN * 1000):
            chunk = os.read(pipe, 2**16)
            if not chunk:
                return
            left -= len(chunk) if ended else 0
            yield chunk
        elif ended:
            return


def kill_late(pid: int, late: threading.Event) -> None:
    """Kill a session whose deadline has passed, and set ``late``."""
    late.set()
    kill_session(pid)


def kill_session(pid: int) -> None:
    """Kill the process group that this session leader leads."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
