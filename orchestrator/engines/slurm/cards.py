"""The hardware of a cluster's nodes: from ``sinfo``, and for GPUs from a probe that runs as a job in their partition.

Answers are kept in the results folder per partition and kind of GPU, while ``sinfo`` still reports that kind.
"""

import json
import re
import shlex
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from orchestrator.cell.cell import Cell
from orchestrator.engines import probe
from orchestrator.engines.slurm import commands
from orchestrator.engines.slurm.commands import NodeKind
from orchestrator.engines.slurm.folders import VISIBLE, JobFolder, JobFolders, Order, job_of
from orchestrator.engines.slurm.inside import OF_THE_JOB
from orchestrator.engines.slurm.script import MARK, Inside, Wanted, script
from orchestrator.engines.slurm.site import Slurm
from orchestrator.engines.slurm.watch import Watch, is_over, may_have_ended
from orchestrator.errors import EngineError
from orchestrator.system import file_locks, library_folders
from orchestrator.system.gpus import CAPABILITY, version_of
from orchestrator.system.host import Device, Host, described, together
from orchestrator.system.regular_files import read_regular, write_beside
from orchestrator.system.terminal import Say

PATIENCE = 600.0
"""Timeout in seconds for a probe to get a node."""

TRIES = 4
"""Most attempts at a probe whose jobs are lost, cancelled or preempted."""

PROBE, ANSWER = "probe", "answer"
GPU = re.compile(r"(?:^|,)gpu(?::(?P<type>[A-Za-z0-9_][A-Za-z0-9_.-]*))?:(?P<count>[0-9]{1,4})(?:\([^)]*\))?(?=,|$)")
"""A kind of GPU in the GRES field of ``sinfo``: gpu:2, gpu:a100:4(S:0-1), gpu:2080ti:4."""

LIMIT = re.compile(r"(?:(?P<days>[0-9]{1,4})-)?(?P<rest>[0-9]{1,4}(?::[0-9]{1,4}){0,2})")
"""A time limit: minutes, minutes:seconds, hours:minutes:seconds, and after days hours first."""

LEFT = 7 / 8
"""The part of a node's memory for cells; the rest is for the system, as on a single machine."""


@dataclass(frozen=True)
class Kind:
    """Identical nodes: ``gpus`` counts each node's GPUs by their ``--gres`` name, ``memory`` is in MiB, 0 if unknown.

    ``limit`` is a job's time limit in minutes, None without one; ``host`` is the hardware of each node.
    """

    partition: str
    count: int
    cpus: int
    memory: int
    limit: int | None
    gpus: dict[str, int]
    models: dict[str, str] = field(default_factory=dict)
    host: Host = field(default_factory=Host)


@dataclass(frozen=True)
class Share:
    """Where a cell can run and what it may request there: partitions, GPUs, CPUs, MiB of memory, minutes."""

    partitions: tuple[str, ...]
    gres: str
    cpus: int
    memory: int | None
    limit: int | None


def kinds_of(told: Sequence[NodeKind], site: Slurm) -> list[Kind]:
    """Return the nodes of the site's partitions, else of the default one. Raises EngineError."""
    wanted = set(site.partitions) or {kind.name for kind in told if kind.is_default}
    unknown = wanted - {kind.name for kind in told}
    if unknown or not wanted:
        there = ", ".join(sorted({kind.name for kind in told})) or "none"
        what = (
            f"The cluster has no partition {', '.join(sorted(unknown))}."
            if unknown
            else "The cluster has no default partition."
        )
        raise EngineError(what, remedy=f"List some of these in site.yaml, under slurm: partitions: {there}.")
    return [kind_of(kind) for kind in told if kind.name in wanted]


def kind_of(told: NodeKind) -> Kind:
    """Return a kind of node, with its GPUs by their ``--gres`` names."""
    gpus = {
        f"gpu:{found['type']}" if found["type"] else "gpu": int(found["count"]) for found in GPU.finditer(told.gres)
    }
    memory = told.memory if told.memory > 1 else 0  # 1 is Slurm's default where the memory is not configured
    return Kind(told.name, told.count, told.cpus, memory, minutes(told.limit), gpus)


def minutes(text: str) -> int | None:
    """Convert a time limit as Slurm takes and writes it (90, 30:00, 12:00:00, 1-12) to minutes, rounded up.

    None if there is none, which Slurm also says by 0.
    """
    found = LIMIT.fullmatch(text)
    if found is None:
        return None
    days, parts = int(found["days"] or 0), [int(part) for part in found["rest"].split(":")]
    hours, whole, seconds = [*parts, 0, 0][:3] if found["days"] or len(parts) == 3 else [0, *parts, 0][:3]
    return days * 1440 + hours * 60 + whole + (seconds > 0) or None


def share_of(cell: Cell, kinds: Sequence[Kind], site: Slurm, jobs: int) -> Share | None:
    """Return what a cell requests: its GPUs and an equal share of all else, or without GPU one of ``jobs`` shares.

    Shares are those of a node. None if no node has so many GPUs of the model.
    """
    kinds = [kind for kind in kinds if kind.count]
    if cell.gpu == "none":
        fitting = [kind for kind in kinds if not kind.gpus] or list(kinds)
        names, gres, parts, times = [""], "", [jobs] * len(fitting), 1
    else:
        names = [gres for kind in kinds for gres, model in kind.models.items() if cell.gpu in called(model)]
        names = [name for name in dict.fromkeys(names) if any(kind.gpus.get(name, 0) >= cell.n_gpus for kind in kinds)]
        if not names:
            return None
        fitting = [kind for kind in kinds if kind.gpus.get(names[0], 0) >= cell.n_gpus]
        gres, times = f"{names[0]}:{cell.n_gpus}", cell.n_gpus
        parts = [sum(kind.gpus.values()) for kind in fitting]
    if not fitting:
        return None
    cpus = site.cpus or min(max(1, kind.cpus // part) for kind, part in zip(fitting, parts, strict=True))
    memory = min(int(kind.memory * LEFT) // part for kind, part in zip(fitting, parts, strict=True))
    memory = mebibytes(site.memory) if site.memory else memory
    limits = [kind.limit for kind in fitting]
    limit = None if None in limits else max(filter(None, limits), default=None)
    partitions = tuple(dict.fromkeys(kind.partition for kind in fitting))
    return Share(partitions, gres, cpus * times, memory * times or None, limit)


def called(model: str) -> tuple[str, str]:
    """Return the names of a model: with its compute capability, if it says one, and without."""
    return model, CAPABILITY.sub("", model)


def mebibytes(size: str) -> int:
    """Convert a size as Slurm reads it (512M, 32G) to MiB; at least one."""
    return max(1, int(size[:-1]) * {"K": 1, "M": 2**10, "G": 2**20, "T": 2**30}[size[-1]] // 2**10)


class Cards:
    """The nodes and their GPUs."""

    def __init__(self, folders: JobFolders, site: Slurm, watch: Watch, say: Say) -> None:
        self.folders, self.site, self.watch, self.say = folders, site, watch, say
        self.kept = folders.path / "cards"
        self.kinds = kinds_of(commands.node_kinds(), site)
        self._known = not any(kind.gpus for kind in self.kinds)

    def look(self) -> list[Kind]:
        """Return all nodes with their GPU models; probes those that were never probed before."""
        if not self._known:
            self.kinds = [self._looked_at(kind) for kind in self.kinds]
            self._known = True
        return self.kinds

    @property
    def host(self) -> Host:
        """All nodes as one machine; raises GpuError if they don't belong together."""
        return together([kind.host for kind in self.look() for _ in range(kind.count)])

    def _looked_at(self, kind: Kind) -> Kind:
        devices: list[Device] = []
        models, host = {}, Host()
        for gres, count in kind.gpus.items():
            host = self._asked(kind.partition, gres)
            card = host.devices[0] if host.devices else None
            if card is None:
                continue
            models[gres] = card.exact
            devices += [replace(card, uuid=f"{card.uuid}/{kind.partition}/{number}") for number in range(count)]
        named = {gres: model for model, gres in self.site.gres.items() if gres in kind.gpus}
        return replace(kind, models={**models, **named}, host=replace(host, devices=tuple(devices)))

    def _asked(self, partition: str, gres: str) -> Host:
        """Return a host with one GPU of a kind: from a probe's new or kept answer, else by its name."""
        name = re.sub(r"[^A-Za-z0-9_.-]", "-", f"{partition}-{gres}")
        kept = self.kept / f"{name}.json"
        self.kept.mkdir(parents=True, exist_ok=True)
        with file_locks.waited_for(self.kept / f"{name}.lock"):
            self._forget_probes(name)
            if kept.is_file():
                return card_in(read_regular(kept, probe.LARGEST_ANSWER))
            self.say(f"submitting a job to partition {partition} to read its GPUs ({gres})")
            for _ in range(TRIES):
                answer = self._probe(name, partition, gres)
                if answer is not None:
                    break
            host = card_in(answer) if answer is not None else Host(lacks="no probe job finished")
            if answer is not None and host.devices:
                write_beside(kept, answer)
                return host
        why = host.lacks or "; ".join(described(host)) or "no answer"
        if self.site.driver and ":" in gres:
            self.say(f"{partition}: {gres} is judged by its name, with driver {self.site.driver}: {why}")
            return Host((Device(gres.partition(":")[2], f"GPU-{name}"),), version_of(self.site.driver))
        self.say(f"{partition}: its GPUs ({gres}) can't be used: {why}")
        return Host(lacks=f"partition {partition}: {why}")

    def _forget_probes(self, name: str) -> None:
        """Cancel the probes of dead orchestrators: whoever probes a kind of GPU holds its lock."""
        for order in self.folders.orders(PROBE):
            if order.cell == name:
                self.folders.of(order.key, order.run).remove()
                if job := job_of(order, self.watch.now()):
                    self.watch.cancel([job.id])

    def _probe(self, name: str, partition: str, gres: str) -> bytes | None:
        """Return what the harness reads of one GPU in a job, or why there is no answer; None if the job was lost."""
        order = Order(run=uuid.uuid4().hex, key=PROBE, claim="", cell=name, deadline=PATIENCE, submitted=time.time())
        folder = self.folders.made(order)
        target = shlex.quote(str(folder.path / ANSWER))
        line = f'{{ echo "$CUDA_VISIBLE_DEVICES"; python3 -B -m {probe.MODULE}; }} >{target}'
        inside = Inside(["sh", "-c", line], {}, library_folders.PROGRAM.workloads, OF_THE_JOB)
        comment = f"{MARK}::{PROBE}:{order.run}"
        wanted = Wanted(f"{MARK}:{PROBE}", comment, (partition,), f"{gres}:1", seconds=probe.PATIENCE)
        try:
            job = commands.submitted(script(wanted, self.site, folder.path, inside))
            folder.note(order.model_copy(update={"job": job}))
            try:
                return self._answer(job, folder)
            finally:
                self.watch.cancel([job])
        except EngineError as error:
            return json.dumps({"driver": None, "cuda": None, "gpus": [], "reason": error.what[:400]}).encode()
        finally:
            folder.remove()

    def _answer(self, job: str, folder: JobFolder) -> bytes | None:
        since = until = time.monotonic()
        until += PATIENCE
        while time.monotonic() < until:
            jobs = self.watch.jobs(since)
            if jobs is not None and ((found := jobs.get(job)) is None or is_over(found)):
                break
            time.sleep(0.5)
        else:
            raise EngineError(f"no node was free within {PATIENCE:.0f} s")
        if folder.appear(VISIBLE if may_have_ended(found) else 0.0) is None:
            return None
        return read_regular(folder.path / ANSWER, probe.LARGEST_ANSWER)


def card_in(answer: bytes) -> Host:
    """Return the one GPU of a job from its probe's answer, whose first line is Slurm's CUDA_VISIBLE_DEVICES."""
    first, _, told = answer.partition(b"\n")
    if answer.startswith(b"{"):
        first, told = b"", answer
    host = probe.host_in(told)
    whole = [device for device in host.devices if not device.mig]
    number = int(first) if re.fullmatch(rb"[0-9]{1,3}", first) else 0
    numbered = [device for device in whole if device.index == number]
    chosen = numbered or whole[number : number + 1] or whole[:1]
    return replace(host, devices=tuple(chosen[:1]), unreadable=() if chosen else host.unreadable)
