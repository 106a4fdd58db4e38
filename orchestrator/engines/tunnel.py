"""``DOCKER_HOST=ssh://…``: a tunnel to the socket of an engine on another host, by the user's own ssh.

Docker's SDK would start an ssh for each request, and loses them when a container's output ends; Docker's command needs
the same host for builds. One tunnel serves both, with the user's keys, agent and ~/.ssh/config.
"""

import atexit
import shutil
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.errors import EngineError
from orchestrator.system.addresses import without_secrets
from orchestrator.system.terminal import quoted

REMOTE = "/var/run/docker.sock"
"""The engine's default socket on the other host; an address may name another, such as a rootless engine's."""

OPTIONS = ("BatchMode=yes", "ExitOnForwardFailure=yes", "StreamLocalBindUnlink=yes", "ServerAliveInterval=15")


class Tunnel:
    """A local socket that forwards to a host's engine; raises EngineError if ssh can't connect."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._folder = Path(tempfile.mkdtemp(prefix="rosetta-ssh-"))
        self.socket = self._folder / "docker.sock"
        self._opening = threading.Lock()
        self._ssh: subprocess.Popen[str] | None = None
        atexit.register(self.close)
        self.open()

    def open(self) -> None:
        """Open the tunnel, or open it again if ssh has ended."""
        with self._opening:
            if self._ssh is not None and self._ssh.poll() is None:
                return
            self._end()
            pipe = subprocess.PIPE
            # A session of its own: Ctrl-C is for the cells, which are ended through this tunnel.
            command = self._command()
            self._ssh = subprocess.Popen(
                command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True
            )
            self._wait_until_open(self._ssh)

    def _wait_until_open(self, ssh: "subprocess.Popen[str]") -> None:
        """Wait until the remote ``cat`` echoes a line: then all is open. It ends with its input, so with us."""
        assert ssh.stdin is not None
        assert ssh.stdout is not None
        with suppress(BrokenPipeError):  # if ssh has ended already, no line comes back
            ssh.stdin.write("open\n")
            ssh.stdin.flush()
        complaints = []
        for line in ssh.stdout:
            if line == "open\n":
                return
            complaints.append(line.strip())
        self._end()
        raise EngineError(
            f"No engine answers at {without_secrets(self.address)}.",
            complaints[-1] if complaints else "ssh has ended.",
            f"Make sure that {quoted(*self._destination(), 'docker', 'version')} works without a password.",
        )

    def close(self) -> None:
        """End ssh and remove the socket."""
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)
        atexit.unregister(self.close)

    def _end(self) -> None:
        """End ssh, if there is one, and close its pipes."""
        if self._ssh is None:
            return
        self._ssh.terminate()
        with suppress(BrokenPipeError), self._ssh:  # its input may hold what nobody will read
            pass
        self._ssh = None

    def _destination(self) -> list[str]:
        parts = urlsplit(self.address)
        user = f"{parts.username}@" if parts.username else ""
        return ["ssh", *(["-p", str(parts.port)] if parts.port else []), f"{user}{parts.hostname}"]

    def _command(self) -> list[str]:
        options = [word for option in OPTIONS for word in ("-o", option)]
        program, *port, host = self._destination()
        remote = urlsplit(self.address).path.rstrip("/") or REMOTE
        return [program, *options, "-L", f"{self.socket}:{remote}", *port, "--", host, "cat"]
