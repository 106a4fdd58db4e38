"""What the parts of a run share."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.cell.contract import Status
from orchestrator.engines.protocol import Engine, Leases
from orchestrator.errors import RosettaError
from orchestrator.results.claims import Claim, Claims
from orchestrator.run import order
from orchestrator.run.builds import Builder
from orchestrator.run.progress import Progress
from orchestrator.system.host import Host
from orchestrator.system.signals import Interruption


@dataclass(frozen=True)
class Settings:
    """How to run: the results folder, cells without GPU at a time, seconds for a cell and a build, source of data.

    ``weights`` is the file that cells with weights of their own start from; ``cores`` how many a cell has at most;
    ``proof`` says whether cells on a CPU pass parity first; None: those that may be ranked.
    """

    results: Path
    jobs: int = 1
    deadline: float = 24 * 3600
    mirror: str | None = None
    build_deadline: float = 3 * 3600
    weights: Path | None = None
    cores: int | None = None
    proof: bool | None = None


@dataclass
class Tally:
    """What came of a run; ``elsewhere`` counts cells that other orchestrators ran meanwhile."""

    statuses: dict[str, int] = field(default_factory=dict)
    elsewhere: int = 0
    interrupted: bool = False
    error: RosettaError | None = None

    def add(self, status: str) -> None:
        """Count one more cell."""
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def include(self, other: "Tally") -> None:
        """Add the counts of a later run, and take over whether it was interrupted, and its error."""
        for status, count in other.statuses.items():
            self.statuses[status] = self.statuses.get(status, 0) + count
        self.elsewhere += other.elsewhere
        self.interrupted, self.error = other.interrupted, other.error

    @property
    def bad(self) -> int:
        """How many of the cells that ran did not end ok."""
        return sum(count for status, count in self.statuses.items() if status != Status.OK)


@dataclass(frozen=True)
class Run:
    """What a run has from its start; ``own_claim`` is the claim of this orchestrator."""

    engine: Engine
    settings: Settings
    host: Host
    claims: Claims
    progress: Progress
    interruption: Interruption
    own_claim: Claim

    @property
    def is_ending(self) -> bool:
        """Whether it was interrupted: from then on cells do not fail, they are stopped.

        Ctrl-C in a terminal also reaches programs that are just being started, before the engine stops anything.
        """
        return self.engine.stopping or self.interruption.came


@dataclass(frozen=True)
class ActiveRun(Run):
    """What a run has in addition while it has cells to run.

    ``unproved`` has the rows of proofs that failed in this run for a passing reason, by their keys.
    """

    slots: Leases
    builder: Builder
    folders: Mapping[str, Path]
    expected: order.Expected
    stopped: threading.Event = field(default_factory=threading.Event)
    unproved: dict[str, Mapping[str, Any]] = field(default_factory=dict)
