"""The one model of a row: what is read from any file becomes a row here, or is refused by name.

A column of ``schema.COLUMNS`` that needs no check beyond its type has no entry here; RULES has the others, and
``disagreement`` checks columns against each other.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    Json,
    RootModel,
    StringConstraints,
    ValidationError,
    create_model,
)

from orchestrator.cell import arithmetic, quality
from orchestrator.cell.arithmetic import SHORTEST, Figures
from orchestrator.cell.cell import OWN, Cell
from orchestrator.cell.contract import Status
from orchestrator.cell.events import LONGEST
from orchestrator.cell.strict import LARGEST_INTEGER, ONE_LINE, complaint
from orchestrator.results.schema import COLUMNS, PHASES, SCHEMA_VERSION
from orchestrator.system.gpus import PLATFORMS, PRECISIONS

LONGEST_TEXT = 100_000
"""Most characters that any text of a row may have."""

SEVERAL_LINES = ("reason", "proof", "log_tail")
"""The columns whose text may have several lines: readers of all others put it into a line of their own."""


def text(longest: int, pattern: str | None = None) -> Any:
    """Return a type for text of at most ``longest`` characters."""
    return Annotated[str, StringConstraints(max_length=longest, pattern=pattern)]


def one_of(words: Iterable[str]) -> Any:
    """Return a type for one of these words."""
    return Literal[tuple(map(str, words))]


Word = text(100, r"^[a-z0-9][a-z0-9._-]*$")
Line = Annotated[str, StringConstraints(max_length=LONGEST_TEXT, pattern=ONE_LINE)]
Name = Annotated[str, StringConstraints(max_length=200, pattern=ONE_LINE)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Duration = Annotated[FiniteFloat, Field(ge=0, le=LONGEST)]
Whole = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
Amount = Annotated[int, Field(ge=1, le=10**12)]
Few = Annotated[int, Field(ge=0, le=1024)]


class GpuState(BaseModel):
    """A GPU at a moment of a run, as far as it was told; other keys are left out."""

    model_config = ConfigDict(extra="ignore")

    uuid: Name | None = None
    throttled: Annotated[list[Name], Field(max_length=64)] | None = None
    power_limit: FiniteFloat | None = None
    graphics_clock: FiniteFloat | None = None
    memory_clock: FiniteFloat | None = None
    temperature: FiniteFloat | None = None


class Said(RootModel["Line | int | float | bool | list[Said] | dict[Line, Said] | None"]):
    """What JSON of others may have in it: its texts are shown as they are once it is parsed."""


States = Json[Annotated[list[GpuState], Field(max_length=64)]]

RULES: Mapping[str, Any] = {
    **dict.fromkeys(("library", "workload", "variant", "gpu"), Word),
    "cell": text(500),
    "repeat": Whole,
    "platform": one_of((*PLATFORMS, OWN)),
    "precision": one_of(PRECISIONS),
    "data": one_of(("real", "synthetic")),
    "input": one_of(("host", "device")),
    "status": one_of(Status),
    "seconds": Annotated[FiniteFloat, Field(ge=SHORTEST, le=LONGEST)],
    "quality": Share,
    "metric": Name,
    **dict.fromkeys(("epochs", "samples", "steps", "samples_tested"), Amount),
    **dict.fromkeys(("n_gpus", "workers"), Few),
    "epoch_seconds": Annotated[list[Duration], Field(max_length=100_000)],
    "epoch_qualities": Annotated[list[Share], Field(max_length=100_000)],
    "parity": Json[dict[Name, Annotated[FiniteFloat, Field(ge=0)]]],
    "findings": Json[dict[Name, Share | None]],
    "packages": Json[dict[Name, Name]],
    **dict.fromkeys(("gpus_before", "gpus_during", "gpus_after"), States),
    **dict.fromkeys(("installation", "checks"), Json[dict[Line, Said]]),
    "capability": text(20, r"^\d+\.\d+$"),
    "energy": Annotated[FiniteFloat, Field(ge=0)],
    "key": text(64, r"^[A-Za-z0-9_-]*$"),
    "run": Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=ONE_LINE)],
    "schema": Literal[SCHEMA_VERSION],
}
"""The rules for columns beyond their types."""

BY_KIND: Mapping[str, Any] = {
    "whole": Whole,
    "real": FiniteFloat,
    "reals": Annotated[list[FiniteFloat], Field(max_length=100_000)],
    "truth": bool,
}
"""The check of every column of a type; text and times are checked all together, see files.py."""

CHECKED = tuple(name for name, kind in COLUMNS.items() if name in RULES or kind.rstrip("?") in BY_KIND)
"""The columns that are checked row by row."""

MEASURED = ("seconds", "quality", "metric", "epochs", "samples", "steps", "samples_tested")
"""The columns that a run that ended ok, or with bad quality, must have."""

PREFIX = "column_"
"""Prefix of the model's fields, which can't have all names that columns have."""


@cache
def model() -> type[BaseModel]:
    """The model of a row, made of the schema and RULES: a field for each checked column."""
    fields: dict[str, Any] = {}
    for name in CHECKED:
        kind = COLUMNS[name]
        rule = RULES.get(name) or (Duration if name.endswith("seconds") else BY_KIND[kind.rstrip("?")])
        fields[PREFIX + name] = (rule | None if kind[-1] == "?" else rule, Field(alias=name))
    return create_model(
        "CheckedRow", __config__=ConfigDict(extra="ignore", strict=True, protected_namespaces=()), **fields
    )


def wrong(row: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a row, given its checked columns, or None."""
    try:
        known = {name.removeprefix(PREFIX): value for name, value in model().model_validate(row).__dict__.items()}
    except ValidationError as error:
        return complaint(error, "the row")
    return disagreement(known)


def disagreement(row: Mapping[str, Any]) -> str | None:
    """Return how columns contradict each other, or None; ``parity`` and the like are objects already."""
    workers = row["workers"] or row["n_gpus"] or 1
    axes = {axis: row[axis] for axis in ("library", "workload", "platform", "gpu", "precision", "variant")}
    cell = Cell(**axes, n_gpus=workers)
    if cell.id != row["cell"]:
        return f"cell: {row['cell'][:100]!r} but its axes say {cell.id!r}"
    if row["status"] not in (Status.OK, Status.QUALITY):
        return None
    missing = [name for name in MEASURED if row[name] is None]
    if missing:
        return f"{', '.join(missing)}: missing, although it ended {row['status']}"
    length = (row["epochs"], row["samples"])
    if quality.is_shorter(row["workload"], length, workers) and not row["shortened"]:
        return "shortened: false, although it is shorter than the published run"
    if row["status"] == Status.OK:
        status, reason = quality.judged(
            row["workload"], row["data"], workers, length, row["quality"], row["metric"], row["parity"]
        )
        if status is not Status.OK:
            return f"status: ok, although {reason}"
    return arithmetic.disagreement(figures(row, workers))


def figures(row: Mapping[str, Any], workers: int) -> Figures:
    """The figures of a row that has all of them."""
    return Figures(
        row["workload"],
        row["data"],
        row["parity"] is not None,
        workers,
        row["epochs"],
        row["samples"],
        row["steps"],
        row["samples_tested"],
        row["seconds"],
        row["seconds_warm"],
        row["epoch_seconds"] or (),
        row["epoch_losses"] or (),
        row["quality"],
        row["metric"],
        row["epoch_qualities"],
        {phase: row[f"{phase}_seconds"] for phase in PHASES},
        row["precision"],
        {name: value.model_dump() for name, value in row["checks"].items()} if row["checks"] is not None else None,
        row["wall_seconds"],
    )


def first_wrong(rows: Sequence[Mapping[str, Any]]) -> tuple[int, str] | None:
    """The first of some rows that is wrong, by its place, and what it is; None if all are right."""
    return next(((at, said) for at, row in enumerate(rows) if (said := wrong(row)) is not None), None)
