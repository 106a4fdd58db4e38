"""A node of a cluster in a container: an ordinary user with Podman, Apptainer and this checkout, and no Docker."""

import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orchestrator.system.checkout import ROOT

USER = "scientist"
PREPARE = f"""
set -e
[ -e /dev/fuse ] || mknod /dev/fuse c 10 229
[ -e /dev/net/tun ] || {{ mkdir -p /dev/net; mknod /dev/net/tun c 10 200; }}
chmod 666 /dev/fuse /dev/net/tun
mount --make-rshared /
install -d -m 700 -o {USER} /scratch/run /home/{USER}/.config /home/{USER}/.config/containers
printf '[storage]\\ndriver="overlay"\\ngraphroot="/scratch/graph"\\nrunroot="/scratch/runroot"\\n' \\
    >/home/{USER}/.config/containers/storage.conf
"""

VARIABLES = {
    "XDG_RUNTIME_DIR": "/scratch/run",
    "TMPDIR": "/scratch",
    "LD_LIBRARY_PATH": "/opt/python/lib",
    "PYTHONPATH": "/checkout:/opt/site-packages",
    "PYTHONDONTWRITEBYTECODE": "1",
    "ROSETTA_CACHE": "/scratch/cache",
    "ROSETTA_IMAGES": "/images",
    "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
}
PYTHON = f"/opt/python/bin/python{sys.version_info.major}.{sys.version_info.minor}"
"""This very interpreter: the node sees it at another place."""

ROSETTA = [PYTHON, "-c", "import sys; from orchestrator.cli.main import main; sys.exit(main())"]


class Node:
    """A running node, which sees archives of images in ``images`` as /images."""

    def __init__(self, container: str) -> None:
        self.container = container

    def run(self, *words: str, user: str = USER, stdin: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command there, as the ordinary user."""
        given = [word for name, value in {**VARIABLES, **variables}.items() for word in ("--env", f"{name}={value}")]
        command = ["docker", "exec", "--interactive", "--user", user, "--workdir", "/scratch", *given, self.container]
        return subprocess.run([*command, *words], input=stdin, capture_output=True, text=True, check=False)

    def rosetta(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run this program there."""
        return self.run(*ROSETTA, *words, **variables)

    @property
    def process(self) -> int:
        """Its first process, as this machine numbers it."""
        command = ["docker", "inspect", "--format={{.State.Pid}}", self.container]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def read(self, path: str) -> bytes:
        """A file of the node."""
        return subprocess.run(["docker", "exec", self.container, "cat", path], capture_output=True, check=True).stdout


@contextmanager
def running_node(images: Path, checkout: Path = ROOT) -> Iterator[Node]:
    """A node that runs a checkout, removed at the end."""
    image = subprocess.run([ROOT / ".ci" / "node-image"], capture_output=True, text=True, check=True).stdout.strip()
    mounts = {
        sys.base_prefix: "/opt/python",
        sysconfig.get_path("purelib"): "/opt/site-packages",
        checkout: "/checkout",
        images: "/images",
    }
    volumes = [f"--volume={source}:{target}:ro" for source, target in mounts.items()]
    command = [
        "docker",
        "run",
        "--detach",
        "--rm",
        "--privileged",
        "--tmpfs=/scratch:exec,mode=1777,size=12g",
        *volumes,
    ]
    done = subprocess.run([*command, image, "sleep", "infinity"], capture_output=True, text=True, check=True)
    node = Node(done.stdout.strip())
    try:
        prepared = node.run("sh", "-c", PREPARE, user="root")
        assert prepared.returncode == 0, prepared.stderr
        yield node
    finally:
        subprocess.run(["docker", "rm", "--force", node.container], check=True, capture_output=True)
