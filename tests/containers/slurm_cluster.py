"""A Slurm cluster of this machine's: a controller and nodes with pretended GPUs, each a container of one image.

A folder of the host is the file system that they share: it has the same path everywhere. Slurm's commands are put on
the path of whoever types them here, and are typed in the controller's container. Nodes have no accounting (slurmdbd),
no cgroups and no network to the outside.
"""

import json
import os
import subprocess
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from tests.pretended_driver import hook, machines

COMMANDS = ("sbatch", "squeue", "scancel", "scontrol", "sinfo", "sacct")
CONFIGURATION = """
ClusterName=pretended
SlurmctldHost=controller
SlurmUser=root
AuthType=auth/munge
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=5
KillWait=2
InactiveLimit=0
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
"""
START = """
install -o munge -g munge -m 400 {shared}/munge.key /etc/munge/munge.key
mkdir -p /run/munge /var/spool/slurmctld /var/spool/slurmd
chown munge /run/munge
[ -e /dev/nvidia0 ] || mknod /dev/nvidia0 c 195 0
[ -e /dev/nvidia1 ] || mknod /dev/nvidia1 c 195 1
rm -f /run/munge/*
runuser -u munge -- /usr/sbin/munged
{daemon}
exec sleep infinity
"""
"""What a container begins with; its first process outlives the daemon, so that this can be killed and started."""

LONGEST = 60.0
"""Seconds until the nodes are there."""


class SlurmCluster:
    """A controller and ``nodes`` with two pretended A100 each; a context that starts them and removes them.

    ``shared`` is the folder that all of them share, ``cpus`` what each node says that it has.
    """

    def __init__(self, image: str, shared: Path, nodes: Sequence[str] = ("node1", "node2"), cpus: int = 4) -> None:
        self.image, self.shared, self.nodes, self.cpus = image, shared, tuple(nodes), cpus
        self.name = f"rosetta-slurm-{uuid.uuid4().hex[:8]}"
        self.commands = shared / "commands"

    def __enter__(self) -> "SlurmCluster":
        try:
            self._write()
            docker("network", "create", "--internal", self.name)
            self._start("controller", "slurmctld")
            for node in self.nodes:
                self._start(node, "slurmd")
            self.wait_for(self.nodes)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove everything but the folder."""
        containers = [self.container(name) for name in ("controller", *self.nodes)]
        subprocess.run(["docker", "rm", "--force", "--volumes", *containers], check=False, capture_output=True)
        subprocess.run(["docker", "network", "rm", self.name], check=False, capture_output=True)

    def container(self, name: str) -> str:
        """The container of a machine."""
        return f"{self.name}-{name}"

    def inside(self, machine: str, *words: str) -> str:
        """What a command prints on a machine."""
        return docker("exec", self.container(machine), *words)

    def jobs(self, without: str = "") -> list[str]:
        """The jobs that wait or run, by number; without those of a name."""
        said = self.inside("controller", "squeue", "--noheader", "--format=%A %j")
        return [number for number, name in map(str.split, said.splitlines()) if name != without]

    def newest_job(self) -> int:
        """The number of the latest job, whatever became of it."""
        return max(map(int, self.inside("controller", "squeue", "--noheader", "--states=all", "--format=%A").split()))

    def kill(self, node: str) -> None:
        """Pull the plug of a node."""
        docker("kill", self.container(node))

    def start(self, node: str) -> None:
        """Have it boot again."""
        docker("start", self.container(node))

    def wait_for(self, nodes: Sequence[str]) -> None:
        """Until these nodes can run jobs."""
        until = time.monotonic() + LONGEST
        while True:
            said = subprocess.run(
                ["docker", "exec", self.container("controller"), "sinfo", "--noheader", "--Node", "--format=%N %t"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            ready = {
                line.split()[0] for line in said.stdout.splitlines() if line.split()[1] in ("idle", "mix", "alloc")
            }
            if ready >= set(nodes):
                return
            if time.monotonic() > until:
                logs = [docker("logs", self.container(name)) for name in ("controller", *self.nodes)]
                raise RuntimeError(f"no cluster: {said.stdout}{said.stderr}{logs}")
            time.sleep(0.3)

    def _write(self) -> None:
        """What all machines read: configuration, key, driver; and the commands."""
        self.commands.mkdir(parents=True)
        (self.shared / "munge.key").write_bytes(os.urandom(1024))
        names = ",".join(self.nodes)
        (self.shared / "slurm.conf").write_text(
            f"{CONFIGURATION}NodeName={names} CPUs={self.cpus} Gres=gpu:a100:2 State=UNKNOWN\n"
            f"PartitionName=gpu Nodes={names} Default=YES MaxTime=1-00:00:00 State=UP\n"
        )
        (self.shared / "gres.conf").write_text(f"NodeName={names} Name=gpu Type=a100 File=/dev/nvidia[0-1]\n")
        (self.shared / "cgroup.conf").write_text("CgroupPlugin=disabled\n")
        told = machines.MACHINES["a100"]
        machines.build_library(told["driver"], self.shared)
        (self.shared / "machine").write_text(hook.described(told) or "")
        for name in COMMANDS:
            command = self.commands / name
            command.write_text(
                f'#!/bin/sh\nexec docker exec --interactive {self.container("controller")} {name} "$@"\n'
            )
            command.chmod(0o755)

    def _start(self, name: str, daemon: str) -> None:
        """Start a machine."""
        shared = str(self.shared)
        script = START.format(shared=shared, daemon=f"{daemon} -N {name}" if daemon == "slurmd" else daemon)
        places = {
            self.shared: shared,
            **{self.shared / file: f"/etc/slurm/{file}" for file in ("slurm.conf", "gres.conf", "cgroup.conf")},
            self.shared / hook.LIBRARY: f"/usr/lib/x86_64-linux-gnu/{hook.LIBRARY}",
            self.shared / "machine": f"/{hook.MACHINE}",
        }
        docker(
            "run", "--detach", "--init", "--privileged", f"--name={self.container(name)}", f"--hostname={name}",
            f"--network={self.name}", f"--network-alias={name}",
            *(f"--volume={here}:{there}" for here, there in places.items()),
            self.image, "sh", "-c", script,
        )  # fmt: skip


def docker(*words: str) -> str:
    """What docker's command prints; raises CalledProcessError with what it says."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"docker {words[0]}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":  # to look around in one
    import sys
    import tempfile

    with tempfile.TemporaryDirectory(prefix="rosetta-slurm-") as folder, SlurmCluster(sys.argv[1], Path(folder)) as it:
        print(json.dumps({"folder": folder, "name": it.name}), flush=True)
        sys.stdin.read()
