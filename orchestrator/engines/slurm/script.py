"""The batch script of a cell: text that depends only on what is requested."""

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.engines.isolation import LARGEST_FILE
from orchestrator.engines.slurm.site import OPTION, Slurm

BEGAN, ENDED, OUTPUT, ORDER = "began", "ended", "output", "order.json"
"""Files in a job's folder: the notes on its cell's start and end, its output, and its order."""

SCRATCH = "/of-the-job-on-its-node"
"""Placeholder for a folder on the node's own disk, which every job makes and removes."""

MARK = "rosetta"
"""The prefix of our jobs' comments."""

GRACE = 120
"""Seconds that Slurm gives a job beyond its deadline, so that the job itself can kill its cell and say so."""


@dataclass(frozen=True)
class Inside:
    """How a cell is started on a node: the command's words, its variables, and its working directory.

    ``needs`` are the programs that it needs besides the first word.
    """

    words: Sequence[str]
    variables: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path("/")
    kept: Mapping[str, str] = field(default_factory=lambda: {"CUDA_VISIBLE_DEVICES": "CUDA_VISIBLE_DEVICES"})
    """Variables taken from the job's if set there: the cell's name for each, and the job's."""
    needs: Sequence[str] = ()


@dataclass(frozen=True)
class Wanted:
    """What a job requests from Slurm: ``seconds`` for the cell, ``memory`` in MiB; None is left to the cluster."""

    name: str
    comment: str
    partitions: Sequence[str] = ()
    gres: str = ""
    cpus: int | None = None
    memory: int | None = None
    seconds: float = 3600.0
    limit: int | None = None
    """The partition's time limit, in minutes."""
    exclude: Sequence[str] = ()
    """Nodes that can't start cells."""


def options(wanted: Wanted, site: Slurm, folder: Path) -> Iterator[str]:
    """Yield the options of ``sbatch``."""
    yield f"--job-name={wanted.name}"
    yield from [f"--comment={wanted.comment}"] if wanted.comment else []
    yield f"--output={str(folder / OUTPUT).replace('%', '%%')}"  # Slurm replaces %j and the like
    yield "--open-mode=append"
    yield "--no-requeue"  # the orchestrator does its own retries
    yield "--export=NIL"  # nothing from the submitter's environment, above all no credentials
    yield "--nodes=1"
    yield "--ntasks=1"
    chosen = {
        "partition": ",".join(wanted.partitions),
        "account": site.account,
        "qos": site.qos,
        "constraint": site.constraint,
        "gres": wanted.gres,
        "cpus-per-task": wanted.cpus,
        "mem": f"{wanted.memory}M" if wanted.memory else None,
        "time": site.time or minutes(wanted),
        "exclude": ",".join(wanted.exclude),
    }
    yield from (f"--{name}={value}" for name, value in chosen.items() if value)


def minutes(wanted: Wanted) -> int:
    """Return the time limit of a job in minutes: its cell's deadline and grace, capped at the partition's limit.

    Whole hours are asked for without grace: accounts and QOS are limited to such, and what exceeds them never starts.
    """
    asked = math.ceil((wanted.seconds + (GRACE if wanted.seconds % 3600 else 0)) / 60)
    return min(asked, wanted.limit) if wanted.limit else asked


def script(wanted: Wanted, site: Slurm, folder: Path, inside: Inside) -> str:
    """Return the whole batch script. It notes when the cell begins and ends, and leaves all its files in its folder.

    A job that starts when nobody waits for it any more finds no order and ends. A cell only begins where all is there
    that it needs: what ends before is the node's fault.
    """
    here = shlex.quote(str(folder))
    head = [f"#SBATCH {shlex.quote(option)}" for option in options(wanted, site, folder)]
    head += [line for line in site.lines if line.startswith(OPTION)]
    before = [line for line in site.lines if not line.startswith(OPTION)]
    if site.modules:
        before = ["set +u; . /etc/profile", f"module load {shlex.join(site.modules)} || exit 1", *before]
    kept = "".join(f' ${{{name}:+"{own}=${name}"}}' for own, name in inside.kept.items())
    variables = [f"{name}={value}" for name, value in inside.variables.items()]
    needs = shlex.join(dict.fromkeys((inside.words[0], *inside.needs)))
    seconds = max(1, math.ceil(wanted.seconds))
    lines = [
        "#!/bin/bash",
        *head,
        "",
        f"cd {here} && [ -e {ORDER} ] || exit 0  # nobody waits for it any more",
        "export PATH=${PATH:-/usr/local/bin:/usr/bin:/bin}",
        *before,
        "",
        # The site's lines may have set anything: a cell that fails is no end of this script, nor is a full output.
        "set +eufCk +o posix; trap - ERR DEBUG; trap '' XFSZ",
        "scratch=$(mktemp -d) && trap 'rm -rf \"$scratch\"' EXIT || exit 1",
        f"for each in {needs}; do",
        '    command -v "$each" >/dev/null || { echo "$each: command not found" >&2; exit 1; }',
        "done",
        f"cd {shlex.quote(str(inside.folder))} || exit 1",
        f'printf "%s\\n" "$(date +%s.%N)" "$(hostname)" "$({GPUS})" >{here}/.{BEGAN}',
        f"mv {here}/.{BEGAN} {here}/{BEGAN}",
        # Its output is a file, too. This script has no such limit, or it could not say that the cell has ended.
        f"( trap - XFSZ; ulimit -f {LARGEST_FILE // 1024} 2>/dev/null",
        f'exec timeout --signal=KILL {seconds} env -i PATH="$PATH" TMPDIR="$scratch"{kept} \\',
        *(f"    {typed(each)} \\" for each in variables),
        f"    {' '.join(map(typed, inside.words))} </dev/null )",
        "code=$?",
        f'cd {here} && printf "%s\\n" "$(date +%s.%N)" "$code" >.{ENDED} && mv .{ENDED} {ENDED}',
    ]
    return "\n".join(lines) + "\n"


def typed(word: str) -> str:
    """Quote a word for the shell, with ``SCRATCH`` replaced by the job's scratch folder."""
    return '"$scratch"'.join(shlex.quote(part) if part else "" for part in word.split(SCRATCH)) or "''"


GPUS = (
    "timeout 60 nvidia-smi --query-gpu=uuid --format=csv,noheader "
    '${CUDA_VISIBLE_DEVICES:+--id="$CUDA_VISIBLE_DEVICES"} 2>/dev/null'
)
"""The command that prints the UUIDs of a job's GPUs, one per line, if there are any."""
