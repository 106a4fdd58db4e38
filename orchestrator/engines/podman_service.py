"""Podman's own service at a socket of ours, for as long as this process lives.

It takes as long to open its socket as Docker's SDK takes to be imported, so nothing here imports that.
"""

import atexit
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from orchestrator.engines.isolation import LARGEST_FILE, MOST_PROCESSES, within
from orchestrator.engines.sockets import knock
from orchestrator.errors import EngineError
from orchestrator.system.slots import MEMORY

ULIMITS = {"fsize": LARGEST_FILE, "nproc": MOST_PROCESSES, "data": MEMORY}
"""Ulimits for all processes of a service of ours: Podman 5.4 takes none over Docker's API."""

WHILE_WE_LIVE = """
exec 3<&0
podman system service --time=0 "unix://$1/podman.sock" 3<&- &
service=$!
{
    cat <&3; touch "$1/over"; kill "$service"
    for second in 1 2 3 4 5 6 7 8; do sleep 1 3<&-; kill -0 "$service" || exit; done
    kill -KILL "$service"
} >/dev/null 2>&1 &
wait "$service"
kill "$!" 2>/dev/null
[ ! -e "$1/over" ] || rm -rf "$1"
"""
"""Runs the service until it ends, or until nobody holds the other end of standard input.

So it stops, and its folder goes, even if this process is killed.
"""

PATIENCE = 20.0
"""Timeout in seconds for our socket to answer."""


def needed_service() -> "PodmanService | None":
    """Start a service, unless ``CONTAINER_HOST`` names an engine; raises EngineError."""
    if os.environ.get("CONTAINER_HOST"):
        return None
    if connection := os.environ.get("CONTAINER_CONNECTION"):
        remedy = "Set CONTAINER_HOST to its address, which 'podman system connection list' prints."
        raise EngineError(
            f"CONTAINER_CONNECTION={connection} names a Podman by a name that is not read.", remedy=remedy
        )
    return PodmanService()


LONGEST = 70
"""Bytes of a folder's path in which a socket still has a name: the kernel takes 107."""


class PodmanService:
    """A service that has been started; its socket may not be open yet. Raises EngineError without Podman."""

    def __init__(self) -> None:
        if not shutil.which("podman"):
            raise EngineError("The command 'podman' is missing.", remedy="Install Podman 4 or newer.")
        self._folder = Path(tempfile.mkdtemp(prefix="rosetta-podman-", dir=short_folder()))
        self._socket, settings = self._folder / "podman.sock", self._folder / "containers.conf"
        limits = [f"{name}={limit}:{limit}" for name, wanted in ULIMITS.items() for limit in [within(name, wanted)]]
        settings.write_text(f"[containers]\ndefault_ulimits = {limits}\n", encoding="ascii")
        with (self._folder / "log").open("wb") as log:
            # A session of its own: Ctrl-C is for the cells, which are ended through this socket.
            self._process = subprocess.Popen(
                ["sh", "-c", WHILE_WE_LIVE, "sh", str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**of_this_machine(os.environ), "CONTAINERS_CONF_OVERRIDE": str(settings)},
            )
        atexit.register(self.end)

    def opened(self) -> Path:
        """Wait for the socket and return it; raises EngineError if Podman does not open it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(OSError):
                knock(f"unix://{self._socket}")
                return self._socket
            time.sleep(0.02)
        said = (self._folder / "log").read_text(errors="replace").splitlines()
        self.end()
        raise EngineError(
            "Podman did not open a socket.", said[-1][:300] if said else "It printed nothing.", "Try 'podman info'."
        )

    def end(self) -> None:
        """Stop the service and remove its socket."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        shutil.rmtree(self._folder, ignore_errors=True)
        atexit.unregister(self.end)


def short_folder() -> str | None:
    """Return a temporary folder whose path fits into a socket's address, and into a URL as it is; None if none does."""
    there = [tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp"]
    fitting = (path for path in there if len(os.fsencode(path)) <= LONGEST and set(path).isdisjoint("#?%\t\r\n"))
    return next((path for path in fitting if os.access(path, os.W_OK | os.X_OK)), None)


def of_this_machine(variables: Mapping[str, str]) -> dict[str, str]:
    """Return variables with which podman's command works on this machine.

    With a variable that names another, even one set to nothing, it opens no socket; and it loads no archive where the
    path of its temporary folder has a colon.
    """
    kept = {name: value for name, value in variables.items() if name not in ("CONTAINER_HOST", "CONTAINER_CONNECTION")}
    return {name: value for name, value in kept.items() if name != "TMPDIR" or ":" not in value}
