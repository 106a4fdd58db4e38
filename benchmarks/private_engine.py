"""A second Docker engine beside the machine's own, which tests may kill, and which grants requests for GPUs.

It has its own folders, socket and network namespace, so that the engine of the machine notices nothing of it; its
containers have no network. Needs root and the program dockerd. GPUs are granted, though there are none, because the
engine finds a program named nvidia-container-runtime-hook on its PATH: one that does nothing, or what a test gives it.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

FLAGS = "--bridge=none --iptables=false --ip6tables=false --ip-forward=false --userland-proxy=false --log-level=error"
PR_SET_CHILD_SUBREAPER = 36
"""Makes this process the parent of what a killed dockerd leaves, which has to be buried by somebody."""

HOOK = "nvidia-container-runtime-hook"
PROGRAMS = ("unshare", "dockerd", "containerd", "containerd-shim-runc-v2", "runc", "docker-init")
DOES_NOTHING = "#!/bin/sh\nexit 0\n"


class PrivateEngine:
    """An engine whose files all lie in a ``folder`` of their own; a context that ends it and removes them.

    ``hook`` is the text of its NVIDIA hook, in which ``{folder}`` stands for that folder; None: it has none. With
    ``devices`` it hands out those of the lists in its folder ``cdi`` (Container Device Interface); with ``containerd``
    it keeps its images in containerd's store, as Docker 29 does unless told otherwise.
    """

    def __init__(self, hook: str | None = DOES_NOTHING, *, devices: bool = False, containerd: bool = False) -> None:
        self.folder = folder = Path(tempfile.mkdtemp(prefix="rosetta-engine-", dir="/tmp"))  # a socket's path is short
        self.socket = f"unix://{folder}/docker.sock"
        self.daemon: subprocess.Popen[bytes] | None = None
        (folder / "bin").mkdir(parents=True)
        self.path = str(folder / "bin")
        if hook is None:  # no other program than it needs is on its path: the machine's own hook may lie beside them
            for name in PROGRAMS:
                (folder / "bin" / name).symlink_to(shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") or name)
        else:
            self.path += f":{os.environ['PATH']}"
            (folder / "bin" / HOOK).write_text(hook.replace("{folder}", str(folder)))
            (folder / "bin" / HOOK).chmod(0o755)
        features = {"cdi": devices, "containerd-snapshotter": containerd}
        lists = {"cdi-spec-dirs": [str(folder / "cdi")]} if devices else {}
        (folder / "daemon.json").write_text(json.dumps({"features": features, **lists}))
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def start(self) -> None:
        """Start it and wait until it answers."""
        places = {"data-root": "data", "exec-root": "exec", "pidfile": "pid", "config-file": "daemon.json"}
        folders = [f"--{flag}={self.folder / name}" for flag, name in places.items()]
        command = ["unshare", "--net", "dockerd", f"--host={self.socket}", *FLAGS.split(), *folders]
        (self.folder / "pid").unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            variables = {**os.environ, "PATH": self.path}
            self.daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=variables)
        until = time.monotonic() + 120
        while not self.answers():
            if time.monotonic() > until or self.daemon.poll() is not None:
                raise RuntimeError(f"no private engine: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.1)

    def answers(self) -> bool:
        """Whether it can be used."""
        return self.docker("version").returncode == 0

    def docker(self, *words: str) -> "subprocess.CompletedProcess[bytes]":
        """Docker's command with this engine."""
        environment = {**os.environ, "DOCKER_HOST": self.socket}
        return subprocess.run(["docker", *words], env=environment, capture_output=True, check=False)

    def kill(self) -> None:
        """End it without a word, as a crash would; what runs in it goes on."""
        assert self.daemon is not None
        containerd = int((self.folder / "exec" / "containerd" / "containerd.pid").read_text())
        self.daemon.kill()  # unshare has become dockerd
        self.daemon.wait()
        with suppress(ChildProcessError):  # dies with it; the next dockerd would wait ten seconds for its remains
            os.waitpid(containerd, 0)

    def take_image(self, tag: str) -> None:
        """Copy an image from the machine's own engine."""
        with subprocess.Popen(["docker", "save", tag], stdout=subprocess.PIPE) as saved:
            subprocess.run(
                ["docker", "load"], env={**os.environ, "DOCKER_HOST": self.socket}, stdin=saved.stdout, check=True,
                stdout=subprocess.DEVNULL,
            )  # fmt: skip

    def __enter__(self) -> "PrivateEngine":
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it, its containers first, and remove everything."""
        if self.daemon is not None and self.daemon.poll() is None:
            containers = self.docker("ps", "--all", "--quiet").stdout.decode().split()
            if containers:
                self.docker("rm", "--force", "--volumes", *containers)
            self.daemon.send_signal(signal.SIGTERM)
            self.daemon.wait(60)
        for pid in processes_of(self.folder):  # a shim outlives a dockerd that was killed
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for place in mounts_below(self.folder):
            subprocess.run(["umount", "--lazy", place], check=False, capture_output=True)
        shutil.rmtree(self.folder)


def processes_of(folder: Path) -> Iterator[int]:
    """The processes whose command names the folder."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if os.fsencode(folder) in path.read_bytes():
                yield int(path.parent.name)


def mounts_below(folder: Path) -> list[str]:
    """What is mounted below a folder, the deepest first."""
    places = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    return sorted((place for place in places if Path(place).is_relative_to(folder)), reverse=True)
