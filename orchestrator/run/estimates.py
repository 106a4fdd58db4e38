"""How long a cell is likely to take, for whoever has to choose: from results here, of others, of 2018, or by a rule.

Every estimate says where it comes from, since they are worth very different things.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.cell import quality
from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Status
from orchestrator.cell.workloads import trains
from orchestrator.compare import limits, published_2018
from orchestrator.results.rows import Row
from orchestrator.run import order

COMPARISON = 30.0
"""Seconds for a comparison with the reference: a few steps, and what the library compiles before them."""

START = 30.0
"""Seconds that a cell takes beside what is timed: container, import, data, kernels, evaluation."""

SHARE = 0.05
"""The share of a machine's peak rate at which networks as small as these are taken to run where nothing is known."""

CARDS_2018 = ("v100", "p100", "k80")
"""The cards of 2018, the fastest first: a newer one is taken to need no longer than these."""


@dataclass(frozen=True)
class Estimate:
    """Seconds from the start of a cell to its end, and where they come from."""

    seconds: float
    source: str


class Estimates:
    """Estimates from the merged results of a folder, as they are now, and from published rows."""

    def __init__(self, folder: Path, published: Iterable[Row] = (), cores: int = 1) -> None:
        self.folder, self.cores = folder, cores
        self._published = [row for row in published if row["status"] == Status.OK and row["wall_seconds"]]
        self._here = order.expected(folder)

    def renew(self) -> None:
        """Look at the folder's results again."""
        self._here = order.expected(self.folder)

    def of(self, cell: Cell) -> Estimate:
        """The best estimate that there is of a cell."""
        if (seconds := self._here(cell)) is not None:
            return Estimate(seconds, "this folder's results")
        if (seconds := self._here(replace(cell, precision="fp32"))) is not None:
            return Estimate(seconds, "this folder's results in fp32")
        if cell.parity:
            return Estimate(COMPARISON, f"assumed, {COMPARISON:.0f} s for each comparison")
        return self.of_published(cell) or of_2018(cell) or by_operations(cell, self.cores)

    def of_published(self, cell: Cell) -> Estimate | None:
        """The median of published rows of the same library, card and precision, in proportion to the length."""
        rows = [row for row in self._published if row["parity"] is None and is_like(cell, row)]
        found = [seconds for row in rows if (seconds := scaled(cell, row)) is not None]
        where = "card" if cell.gpu != "none" else "library on another CPU"
        return Estimate(statistics.median(found), f"published rows of the same {where}") if found else None


def is_like(cell: Cell, row: Row) -> bool:
    """Whether a row answers the same question as a cell, whatever the platform, the machine and the length."""
    same = ("library", "workload", "gpu", "precision", "variant")
    return all(row[name] == getattr(cell, name) for name in same) and (row["n_gpus"] or 1) == cell.n_gpus


def scaled(cell: Cell, row: Row) -> float | None:
    """Return a row's whole time, with its timed part scaled to the cell's length; None if that is not known."""
    mine, theirs = amount(*quality.asked(cell)), amount(row["epochs"], row["samples"])
    if not mine or not theirs or not row["seconds"] or not trains(cell.workload):
        return row["wall_seconds"] if not trains(cell.workload) else None
    around = max(0.0, row["wall_seconds"] - row["seconds"])
    return float(around + row["seconds"] * mine / theirs)


def amount(epochs: int | None, samples: int | None) -> int:
    """Return how many samples a run goes through; 0 if that is not known."""
    return (epochs or 1) * (samples or 0)


def of_2018(cell: Cell) -> Estimate | None:
    """Estimate by 2018's figure on the same card, else on its fastest; for a library it did not know, the median."""
    if cell.gpu == "none":
        return None
    for gpu in [cell.gpu] if cell.gpu in CARDS_2018 else CARDS_2018:
        if figures := figures_of(cell, gpu):
            share = share_of_published(cell)
            count = "" if len(figures) == 1 else f", the median of {len(figures)} libraries"
            return Estimate(START + statistics.median(figures) * share, f"2018's figures on a {gpu.upper()}{count}")
    return None


def figures_of(cell: Cell, gpu: str) -> Sequence[float]:
    """The seconds of 2018 for a cell's workload on a card: those of its library, else those of all."""
    figure = published_2018.figure_for(cell.library, cell.variant, cell.workload, gpu, cell.n_gpus, "real")
    if figure:
        return [figure.seconds]
    asked = (cell.workload, gpu, cell.n_gpus, "real")
    every = (f for f in published_2018.figures() if f.last == "HEAD" and f.variant == "reference")
    return [f.seconds for f in every if (f.workload, f.gpu, f.n_gpus, f.data) == asked]


def share_of_published(cell: Cell) -> float:
    """The length of a cell as a share of the published run's; one for what only predicts."""
    full = amount(*quality.published(cell.workload, cell.n_gpus))
    return amount(*quality.asked(cell)) / full if full and trains(cell.workload) else 1.0


def by_operations(cell: Cell, cores: int) -> Estimate:
    """Estimate from what the workload computes, at a twentieth of the machine's peak rate."""
    epochs, samples = quality.asked(cell)
    row = {
        **{"workload": cell.workload, "gpu": cell.gpu, "precision": cell.precision, "n_gpus": cell.n_gpus},
        **{"cores": cores, "epochs": epochs or 1, "samples": samples},
    }
    least = limits.least_seconds(row)
    if least is None:
        return Estimate(START + COMPARISON, "a guess: nothing is known about this card")
    return Estimate(START + least / SHARE, f"assumed, {SHARE:.0%} of the machine's peak rate")
