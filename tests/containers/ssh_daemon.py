"""A host that is reached by ssh: this machine plays it, with a daemon of the test's own."""

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DAEMON = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
"""


def key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def listening(sshd: str, folder: Path) -> Iterator[tuple[str, Path]]:
    """Where an ssh daemon answers, and a folder with an ``ssh`` that knows the way in, as ~/.ssh/config has it."""
    key(folder / "host")
    key(folder / "user")
    Path("/run/sshd").mkdir(exist_ok=True)
    port = free_port()
    (folder / "sshd_config").write_text(DAEMON.format(port=port, folder=folder))
    ssh = folder / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(
        f"#!/bin/sh\nexec {shutil.which('ssh')} -F none -i {folder}/user -o StrictHostKeyChecking=no"
        ' -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR "$@"\n'
    )
    ssh.chmod(0o755)
    with subprocess.Popen([sshd, "-f", folder / "sshd_config", "-D", "-e"], stderr=subprocess.PIPE) as daemon:
        assert daemon.stderr is not None
        daemon.stderr.readline()  # "Server listening on …"
        yield f"ssh://{getpass.getuser()}@127.0.0.1:{port}", ssh.parent
        daemon.terminate()


def program() -> str | None:
    """OpenSSH's server, if it is here and may be run."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    return sshd if os.getuid() == 0 else None
