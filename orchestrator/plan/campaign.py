"""A campaign: what to run in one hour on a GPU, in the order that tells most.

A step is a line of a table. Its cells are those of the matrix file's libraries; what is done is not run again.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from orchestrator.cell.cell import Cell
from orchestrator.plan.combinations import cells_of_file
from orchestrator.plan.selection import known_words, selector
from orchestrator.plan.verdicts import Planned, Verdict, data_reason
from orchestrator.system import gpus
from orchestrator.system.host import Host

SINGLE = ("cnn", "rnn", "resnet50")
LEADING = ("pytorch", "jax", "tensorflow", "keras-torch", "keras-jax", "keras-tf")
"""Today's libraries, which have several precisions: they are measured first."""

ALL = "*"
MANY = 1000


class Kind(StrEnum):
    """What is done in a step."""

    DOCTOR = "doctor"
    PARITY = "parity"
    CELLS = "cells"
    OPPONENTS = "opponents"


@dataclass(frozen=True)
class Step:
    """One step: its axes, where it runs cells; ``rounds`` are their seeds, of which the user may want fewer.

    ``libraries`` may hold ``*``, for all that the matrix file has.

    ``epochs`` and ``samples`` are None for the published length. One that is ``on_card`` is left out without a card.
    """

    name: str
    says: str
    kind: Kind = Kind.CELLS
    workloads: Sequence[str] = ()
    libraries: Sequence[str] = LEADING
    precisions: Sequence[str] = ("fp32",)
    rounds: range = range(1)
    n_gpus: Sequence[int] = (1,)
    data: str = "real"
    epochs: int | None = None
    samples: int | None = None
    on_card: bool = False


DENSENET = Step("densenet121", "the published length, if its images are here", workloads=("densenet121",), on_card=True)
SHORT = replace(
    DENSENET,
    name="densenet121, short",
    says="an epoch of synthetic images",
    data="synthetic",
    epochs=1,
    samples=6400,
)
"""An epoch that shows what a card does, where the 87,306 images of the published run are a matter of hours."""

PRECISIONS = ("fp32", "tf32", "amp-bf16")

STEPS: Sequence[Step] = (
    Step("doctor", "what this machine has, and what it lacks", Kind.DOCTOR),
    Step("parity", "today's libraries have the same model as the reference", Kind.PARITY, SINGLE, data="synthetic"),
    Step("fp32", "the three workloads of one GPU, first seed", workloads=SINGLE),
    Step("precisions", "the same in tf32 and bf16", workloads=SINGLE, precisions=PRECISIONS[1:], on_card=True),
    Step("opponents", "the same networks, written as the notebooks of 2018 were", Kind.OPPONENTS),
    Step("seeds", "further seeds", workloads=SINGLE, precisions=PRECISIONS, rounds=range(1, MANY)),
    SHORT,
    replace(SHORT, name="scaling", says="the same epoch on several GPUs", n_gpus=(2, 4, 8)),
    Step("others, parity", "all other libraries", Kind.PARITY, SINGLE, (ALL,), data="synthetic"),
    Step("others", "all other libraries, fp32, first seed", workloads=SINGLE, libraries=(ALL,)),
    DENSENET,
)
"""The steps of a campaign, in order. What does not fit into the time is left out from the end."""


@dataclass(frozen=True)
class Wanted:
    """What a user may change: how many seeds, which cells, and what is run in place of the published length."""

    seeds: int = 3
    only: Sequence[str] = ()
    skip: Sequence[str] = ()
    data: str | None = None
    epochs: int | None = None
    samples: int | None = None
    cpu: bool = False


@dataclass(frozen=True)
class Part:
    """A step with the cells that can run, and the reasons of those that can't, each with its libraries."""

    step: Step
    planned: Sequence[Planned] = ()
    impossible: Mapping[str, Sequence[str]] = field(default_factory=dict)


Adapt = Callable[[list[Cell]], list[Cell]]
Plan = Callable[[list[Cell], Step], list[Planned]]


def parts(path: Path, host: Host, wanted: Wanted, adapt: Adapt, plan: Plan) -> list[Part]:
    """Return a campaign's steps on a machine, with their cells; steps that need a card are left out without one.

    ``adapt`` turns the matrix's cells into those of what is measured, ``plan`` gives verdicts. Raises MatrixError.
    """
    models = () if wanted.cpu else host.models
    keep, seen, found = selector(wanted.only, wanted.skip), set[Cell](), list[Part]()
    for step in STEPS:
        if step.on_card and not models:
            continue
        if not step.workloads:
            found.append(Part(step))
            continue
        every = [cell for cell in adapt(cells_of(step, path, host, models, wanted)) if keep(cell)]
        every = [cell for cell in every if anywhere(cell) not in seen]
        verdicts = newest_platform(plan(every, step)) if every else []
        seen |= {anywhere(one.cell) for one in verdicts}
        possible = [one for one in verdicts if one.verdict is not Verdict.INCOMPATIBLE]
        found.append(Part(step, possible, reasons(verdicts)))
    return [part for part in found if part.planned or part.impossible or not part.step.workloads]


def cells_of(step: Step, path: Path, host: Host, models: Collection[str], wanted: Wanted) -> list[Cell]:
    """The cells of a step in every library of a matrix file, in the order of its seeds."""
    cells: list[Cell] = []
    for model in models or ("none",):
        numbers = [n for n in step.n_gpus if n == 1 or n <= host.most_together(model)]
        rounds = [seed for seed in step.rounds if seed < wanted.seeds]
        if numbers and rounds:
            overrides = {**axes_of(step, wanted, model), "n_gpus": numbers, "repeat": rounds}
            cells += cells_of_file(path, None, known_words(), overrides)
    chosen = [cell for cell in cells if ALL in step.libraries or cell.library in step.libraries]
    return [replace(cell, parity=step.kind is Kind.PARITY) for cell in chosen]


def axes_of(step: Step, wanted: Wanted, model: str) -> dict[str, Any]:
    """Return what a step puts in place of a matrix file's axes on a GPU model, or on ``none``."""
    on_card, measured = model != "none", step.kind is not Kind.PARITY
    return {
        "workload": list(step.workloads),
        "platform": list(gpus.CUDA) if on_card else ["cpu"],
        "gpu": [model],
        "precision": list(step.precisions) if on_card else ["fp32"],
        "variant": ["reference"],
        "data": [(wanted.data if measured else None) or step.data],
        "epochs": (wanted.epochs or step.epochs) if measured else None,
        "samples": (wanted.samples or step.samples) if measured else None,
    }


def newest_platform(planned: Iterable[Planned]) -> list[Planned]:
    """Keep only the newest CUDA version that can run a cell; a cell that none can run stays for its reasons."""
    rank = {name: place for place, name in enumerate(gpus.PLATFORMS)}
    best: dict[Cell, Planned] = {}
    for one in planned:
        question = anywhere(one.cell)
        before = best.get(question)
        if before is None or standing(one, rank) > standing(before, rank):
            best[question] = one
    return list(best.values())


def anywhere(cell: Cell) -> Cell:
    """Return the cell without its platform."""
    return replace(cell, platform="")


def standing(one: Planned, rank: Mapping[str, int]) -> tuple[bool, bool, int]:
    """Rank verdicts on the same cell: what can run first, then what could with its data, then the newest CUDA."""
    possible = one.verdict is not Verdict.INCOMPATIBLE
    return possible, one.reason == data_reason(one.cell), rank.get(one.cell.platform, 0)


def reasons(planned: Iterable[Planned]) -> dict[str, list[str]]:
    """Why cells can't run, each reason with its libraries."""
    found: dict[str, list[str]] = {}
    for one in planned:
        if one.verdict is Verdict.INCOMPATIBLE and one.cell.library not in found.setdefault(one.reason, []):
            found[one.reason].append(one.cell.library)
    return found


def impossible(every: Iterable[Part]) -> dict[str, list[str]]:
    """Return the same for all steps together."""
    found: dict[str, list[str]] = {}
    for part in every:
        for reason, libraries in part.impossible.items():
            found[reason] = list(dict.fromkeys([*found.get(reason, ()), *libraries]))
    return found
