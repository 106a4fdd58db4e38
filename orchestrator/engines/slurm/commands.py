"""Slurm's commands, and their output as typed models.

They are run with ``--format``, not ``--json``: its fields have kept their meaning since long before Slurm could write
JSON, which changes from version to version and needs a plugin that not every cluster has.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Annotated, TypeVar

from pydantic import Field, StringConstraints, ValidationError

from orchestrator.cell.strict import Strict, complaint
from orchestrator.engines.slurm.remedies import remedy_of
from orchestrator.errors import EngineError, EngineGoneError
from orchestrator.system.terminal import one_line

PATIENCE = 120.0
"""Timeout in seconds for a command."""

LARGEST_ANSWER = 32 * 2**20
"""Most bytes of output; a job in the queue takes some hundred."""

OTHERS = ("SBATCH_", "SQUEUE_", "SINFO_", "SCANCEL_", "SACCT_", "SLURM_CLUSTERS")
"""Prefixes of the variables by which users change what a command does: another cluster, fewer jobs, other options."""


class FullError(EngineGoneError):
    """As many jobs of this user's are in the queue as the site allows."""


FULL = ("submitjob",)
"""What the names of all limits on queued jobs have: AssocMaxSubmitJobLimit, QOSGrpSubmitJobsLimit and others.

The sentence that follows them, "Job violates accounting/QOS policy (job submit limit, ...)", has every other limit too.
"""

PASSING = (
    "unable to contact slurm controller",
    "standby mode",
    "rate limit exceeded",
    "message receive failure",
    "missing socket",
    "socket timed out",
    "temporarily unable to accept job",
    "transport endpoint",
    "connection refused",
    "connection timed out",
    "zero bytes were transmitted",
    "resource temporarily unavailable",
    "slurmctld",
)
"""Error texts of commands that may work a minute later."""

KINDS: Mapping[type[EngineError], Sequence[str]] = {FullError: FULL, EngineGoneError: PASSING}
"""The error of a command by what it says; the first that fits. All others are refusals."""

Model = TypeVar("Model", bound=Strict)
Word = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f|]*$", max_length=2000)]
Number = Annotated[int, Field(ge=0, le=2**40)]


class Job(Strict):
    """A job in ``squeue``; ``reason`` is why it waits, ``node`` where it runs or ran. Sites may change a comment."""

    id: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,18}$")]
    state: Annotated[str, StringConstraints(pattern=r"^[A-Z_]{1,40}$")]
    reason: Word
    node: Word
    name: Word
    comment: Word


class NodeKind(Strict):
    """Identical nodes of a partition in ``sinfo``: how many, and each one's CPUs, MiB of memory and GPUs.

    ``limit`` is the time limit of the partition's jobs, as Slurm writes it.
    """

    partition: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x20|]{1,200}$")]
    limit: Word
    count: Number
    cpus: Number
    memory: Number
    gres: Word
    nodes: Word

    @property
    def is_default(self) -> bool:
        """Whether this is the default partition, for jobs that name none."""
        return self.partition.endswith("*")

    @property
    def name(self) -> str:
        """The partition's name."""
        return self.partition.rstrip("*")


def said_by(*words: str, given: str = "") -> str:
    """Return the output of a Slurm command; raises EngineGoneError if it may work later, EngineError otherwise.

    It runs in a session of its own, since Ctrl-C in a terminal hits a whole group: an ``sbatch`` or ``squeue`` that it
    ended would look like a refusal of the cluster.
    """
    try:
        done = subprocess.run(
            words,
            input=given,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            check=False,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if not name.startswith(OTHERS)},
        )
    except FileNotFoundError:
        remedy = "Run this on a login node of the cluster; see docs/cluster-slurm.md."
        raise EngineError(f"There is no command '{words[0]}' here.", remedy=remedy) from None
    except subprocess.TimeoutExpired:
        raise EngineGoneError(f"Slurm's {words[0]} did not answer in {PATIENCE:.0f} s.") from None
    except OSError as error:  # a busy login node has no process or memory left
        raise EngineGoneError(f"Slurm's {words[0]} can't be started: {error.strerror}.") from None
    if done.returncode:
        raise refusal(words[0], one_line(done.stderr[-2000:]), done.returncode)
    return done.stdout[:LARGEST_ANSWER]


def refusal(command: str, said: str, code: int) -> EngineError:
    """Return the error of a command that failed."""
    kind = next((kind for kind, texts in KINDS.items() if any(text in said.lower() for text in texts)), EngineError)
    return kind(f"Slurm's {command} refuses: {said or f'exit code {code}'}"[:600], remedy=remedy_of(said))


def submitted(script: str) -> str:
    """Submit a script and return the number of its job; raises EngineError."""
    said = said_by("sbatch", "--parsable", given=script)
    number = said.strip().splitlines()[-1].partition(";")[0] if said.strip() else ""
    if not re.fullmatch(r"[0-9]{1,18}", number):
        raise EngineError(f"sbatch printed no job ID: {one_line(said)[:200]!r}.")
    return number


def cancel(jobs: Sequence[str]) -> None:
    """Cancel jobs; those that have ended already are no error. Raises EngineError."""
    if jobs:
        said_by("scancel", "--quiet", *jobs)


JOB_FORMAT = "%A|%T|%r|%N|%j|%k"


def jobs() -> list[Job]:
    """Return this user's jobs, including those that ended recently or are in hidden partitions; raises EngineError."""
    mine = ("--all", "--states=all", f"--user={os.getuid()}")
    return jobs_in(said_by("squeue", "--noheader", *mine, f"--format={JOB_FORMAT}"))


def jobs_in(said: str) -> list[Job]:
    """Return the jobs in the output of ``squeue``; raises EngineError for invalid text about one of ours."""
    found = []
    for line in said.splitlines():
        fields = line.split("|", JOB_FORMAT.count("|"))
        if fields[-1].startswith(MARKED):
            found.append(parsed(Job, fields, "squeue"))
            continue
        with suppress(EngineError):  # a job of this user's that is none of ours, or whose comment the site has changed
            found.append(parsed(Job, fields, "squeue"))
    return found


MARKED = "rosetta:"

NODE_FORMAT = "%P|%l|%D|%c|%m|%G|%N"


def node_kinds() -> list[NodeKind]:
    """Return the kinds of nodes in the partitions whose nodes are up; raises EngineError."""
    said = said_by("sinfo", "--noheader", "--all", "--exact", "--noconvert", f"--format={NODE_FORMAT}")
    return list(node_kinds_in(said))


def node_kinds_in(said: str) -> Iterator[NodeKind]:
    """Yield the kinds of nodes in the output of ``sinfo``; raises EngineError for invalid text."""
    for line in filter(None, said.splitlines()):
        fields = [field.removesuffix("+") for field in line.split("|")]
        yield parsed(NodeKind, fields, "sinfo")


def parsed(model: type[Model], fields: Sequence[str], command: str) -> Model:
    """Return the fields of a line as a model; raises EngineError that says what is wrong."""
    names = list(model.model_fields)
    try:
        if len(fields) != len(names):
            raise EngineError(f"{command} printed {len(fields)} fields instead of {len(names)}.")
        return model.model_validate(dict(zip(names, fields, strict=True)))
    except ValidationError as error:
        raise EngineError(f"{command} printed unexpected output: {complaint(error, 'a line')}.") from None


def version() -> str:
    """Return Slurm's version, as its commands report it; raises EngineError."""
    return one_line(said_by("sinfo", "--version"))[:100]
