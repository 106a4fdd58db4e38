"""Slurm's commands, and their output as typed models.

They are run with ``--format``, not ``--json``: its fields have kept their meaning since long before Slurm could write
JSON, which changes from version to version and needs a plugin that not every cluster has.
"""

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Annotated, TypeVar

from pydantic import Field, StringConstraints, ValidationError

from orchestrator.cell.strict import Strict, complaint
from orchestrator.errors import EngineError, EngineGoneError
from orchestrator.system.terminal import one_line

PATIENCE = 120.0
"""Timeout in seconds for a command."""

LARGEST_ANSWER = 32 * 2**20
"""Most bytes of output; a job in the queue takes some hundred."""

PASSING = (
    "unable to contact slurm controller",
    "socket timed out",
    "temporarily unable to accept job",
    "transport endpoint",
    "connection refused",
    "connection timed out",
    "zero bytes were transmitted",
    "resource temporarily unavailable",
    "slurmctld",
    "submitlimit",
    "maxsubmit",
    "job submit limit",
)
"""Error texts of commands that may work a minute later."""

Model = TypeVar("Model", bound=Strict)
Word = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f|]*$", max_length=2000)]
Number = Annotated[int, Field(ge=0, le=2**40)]


class Job(Strict):
    """A job in ``squeue``; ``reason`` is why it waits, ``node`` where it runs or ran."""

    id: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,18}$")]
    state: Annotated[str, StringConstraints(pattern=r"^[A-Z_]{1,40}$")]
    reason: Word
    node: Word
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
        )
    except FileNotFoundError:
        remedy = "Run this on a login node of the cluster; see docs/cluster-slurm.md."
        raise EngineError(f"There is no command '{words[0]}' here.", remedy=remedy) from None
    except subprocess.TimeoutExpired:
        raise EngineGoneError(f"Slurm's {words[0]} did not answer in {PATIENCE:.0f} s.") from None
    if done.returncode:
        said = one_line(done.stderr[-2000:])
        passing = any(word in said.lower() for word in PASSING)
        kind = EngineGoneError if passing else EngineError
        raise kind(f"Slurm's {words[0]} refuses: {said or f'exit code {done.returncode}'}"[:600])
    return done.stdout[:LARGEST_ANSWER]


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


JOB_FORMAT = "%A|%T|%r|%N|%k"


def jobs() -> list[Job]:
    """Return this user's jobs, including those that ended recently; raises EngineError."""
    user = str(os.getuid())
    return jobs_in(said_by("squeue", "--noheader", "--states=all", f"--user={user}", f"--format={JOB_FORMAT}"))


def jobs_in(said: str) -> list[Job]:
    """Return the jobs in the output of ``squeue``; raises EngineError for invalid text about one of ours."""
    found = []
    for line in said.splitlines():
        fields = line.split("|")
        if MARKED in fields[-1]:
            found.append(parsed(Job, fields, "squeue"))
            continue
        with suppress(EngineError):  # a job of this user's that is none of ours, or whose comment the site has changed
            found.append(parsed(Job, fields, "squeue"))
    return found


MARKED = "rosetta:"

NODE_FORMAT = "%P|%l|%D|%c|%m|%G|%N"


def node_kinds() -> list[NodeKind]:
    """Return the kinds of nodes in the partitions whose nodes are up; raises EngineError."""
    said = said_by("sinfo", "--noheader", "--exact", f"--format={NODE_FORMAT}")
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
