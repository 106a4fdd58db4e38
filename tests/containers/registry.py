"""A real registry with a password, which a private engine or a node reaches at localhost, in its own network."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAM = Path("/usr/bin/docker-registry")
CONFIG = """\
version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {folder}/blobs}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
auth: {{htpasswd: {{realm: test, path: {folder}/htpasswd}}}}
"""
USER, PASSWORD = "somebody", "planted-registry-password-7193"
HTPASSWD = "$2b$04$C2.o/3wO6LpZEYf9H6faWO4cux1D/D18ZKquhWVptZJbDhepjQKWm"
"""The password as bcrypt keeps it."""


@dataclass(frozen=True)
class Registry:
    """Where it listens, and where everything of it lies."""

    host: str
    folder: Path


@contextmanager
def registry(process: int | None, folder: Path) -> Iterator[Registry]:
    """A registry with nothing in it, in the network of a process, or else in this machine's."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder.mkdir()
    (folder / "htpasswd").write_text(f"{USER}:{HTPASSWD}\n")
    (folder / "config.yml").write_text(CONFIG.format(folder=folder, port=port))
    inside = ["nsenter", f"--net=/proc/{process}/ns/net"] if process else []
    if process:
        subprocess.run([*inside, "ip", "link", "set", "lo", "up"], check=True)
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([*inside, PROGRAM, "serve", folder / "config.yml"], stdout=log, stderr=log)
    try:
        knock = [*inside, "bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"]
        until = time.monotonic() + 60
        while subprocess.run(knock, check=False, capture_output=True).returncode != 0:
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, "the registry did not come up"
            time.sleep(0.1)
        yield Registry(f"localhost:{port}", folder)
    finally:
        server.terminate()
        server.wait(30)


def login(where: Registry, variables: dict[str, str]) -> None:
    """Have docker keep the password in its own settings."""
    command = ["docker", "login", "--username", USER, "--password-stdin", where.host]
    done = subprocess.run(
        command, input=PASSWORD, text=True, env={**os.environ, **variables}, check=False, capture_output=True
    )
    assert done.returncode == 0, done.stderr
