"""The Apptainer command for a cell: its isolation, mounts and limits. Needs no root and no daemon.

The caller makes the folders, which limit how much a cell can write: see ``apptainer.py``.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.cell import contract
from orchestrator.cell.cell import Cell
from orchestrator.engines.isolation import LARGEST_FILE, MOST_PROCESSES, within
from orchestrator.engines.protocol import Task

PROGRAM = "apptainer"

KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS")
"""Variables of the caller that Apptainer itself needs; a cell sees none of them."""

OWN = ("APPTAINER_CACHEDIR", "APPTAINER_TMPDIR", "APPTAINER_CONFIGDIR")
"""Variables that say where Apptainer may write. Others, as APPTAINER_BIND and APPTAINERENV_…, would affect the cell."""

DENIED: Sequence[str] = (
    "--userns",  # no setuid-root program, even where one is installed
    "--containall",  # no /tmp, home, devices, processes or variables of the host
    "--cleanenv",
    "--no-privs",
    "--no-eval",  # else the image's entry point is evaluated by a shell, arguments and all
)
"""Options that isolate every cell. Its root needs none to be read-only: a SIF file is."""

NO_NETWORK: Sequence[str] = ("--net", "--network", "none")

PLACE = "/workloads"


@dataclass(frozen=True)
class Folders:
    """The host folders that a cell sees: one for results; the rest are optional.

    ``tmp`` becomes /tmp and the home; without it those are Apptainer's own tmpfs, 64 MB by default. ``shared_memory``
    becomes /dev/shm, ``data`` /data, ``kernels`` /kernels; ``weights`` is a file.
    """

    results: Path
    tmp: Path | None = None
    shared_memory: Path | None = None
    data: Path | None = None
    weights: Path | None = None
    kernels: Path | None = None


@dataclass(frozen=True)
class Limits:
    """A cell's limits: the numbers of its cores, and bytes of memory (none: all).

    Memory and processes are limited by cgroups, or else by the kernel's process limits (rlimits); cores by affinity.
    """

    cores: Sequence[int] = ()
    memory: int = 0
    by_groups: bool = False


@dataclass(frozen=True)
class Invocation:
    """A command and its complete environment."""

    argv: list[str]
    variables: Mapping[str, str] = field(default_factory=dict)


def invocation(
    sif: Path,
    task: Task,
    folders: Folders,
    limits: Limits = Limits(),
    gpus: Sequence[str] = (),
    *,
    network: bool = False,
    variables: Mapping[str, str] | None = None,
    nv: bool = False,
) -> Invocation:
    """Return the command that runs a task in a SIF file, with these GPUs by UUID; paths must be absolute.

    ``network`` gives the cell the host's network, where a site forbids network namespaces. ``variables`` are added to
    the cell's environment. ``nv`` mounts NVIDIA's driver even if the GPUs are not yet known.
    """
    inside = dict(variables or {})
    if gpus:
        inside["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    if folders.kernels:
        inside["CUDA_CACHE_PATH"] = "/kernels/cache"
    argv = [
        *limited(limits),
        PROGRAM,
        "--quiet",  # else the last line of a cell that says nothing is one of Apptainer's
        "run",
        *DENIED,
        *([] if network else NO_NETWORK),
        *(group_options(limits) if limits.by_groups else []),
        *binds(task.cell, folders),
        *(["--nv"] if gpus or nv else []),
        f"--pwd={PLACE}",
        str(sif),
        *task.arguments,
    ]
    kept = {name: os.environ[name] for name in (*KEPT, *OWN) if name in os.environ}
    return Invocation(argv, {**kept, **{f"APPTAINERENV_{name}": value for name, value in inside.items()}})


def binds(cell: Cell, folders: Folders) -> list[str]:
    """Return the options for a cell's home and mounts."""
    home = [f"--home={folders.tmp}:/tmp"] if folders.tmp else ["--no-home"]
    mounted = [(folders.results, "/results", "rw"), (folders.data, "/data", "ro"), (folders.kernels, "/kernels", "rw")]
    mounted.append((folders.shared_memory, "/dev/shm", "rw"))
    mounted.append((folders.weights, f"/weights/{contract.weights_name(cell)}", "ro"))
    return [*home, *(f"--mount={mount(source, to, how)}" for source, to, how in mounted if source)]


def mount(source: Path, target: str, how: str) -> str:
    """Return a mount as CSV, in which a path may have any characters: ``--bind`` splits at commas and colons."""
    quoted = str(source).replace('"', '""')
    return f'type=bind,"src={quoted}",dst={target}{",ro" if how == "ro" else ""}'


def limited(limits: Limits) -> list[str]:
    """Return the command prefix that sets a cell's process limits and CPU affinity."""
    words = ["prlimit", f"--fsize={within('fsize', LARGEST_FILE)}", "--core=0"]
    if not limits.by_groups:
        words.append(f"--nproc={within('nproc', MOST_PROCESSES)}")
        words += [f"--data={within('data', limits.memory)}"] if limits.memory else []
    return [*words, *(["taskset", "--cpu-list", ",".join(map(str, limits.cores))] if limits.cores else [])]


def group_options(limits: Limits) -> list[str]:
    """Return Apptainer's options for cgroup limits."""
    memory = [f"--memory={limits.memory}", f"--memory-swap={limits.memory}"] if limits.memory else []
    return [f"--pids-limit={MOST_PROCESSES}", *memory]
