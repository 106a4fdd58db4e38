"""What a cell receives and what it returns: the contract between orchestrator and image, version 1."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, StringConstraints, ValidationError

from orchestrator.cell.cell import Cell
from orchestrator.cell.strict import Strict
from orchestrator.errors import ResultError

CONTRACT = 1
"""Version of the contract; also a label on every image."""

LARGEST_DOCUMENT = 4 * 2**20
"""Bytes. A real document has a few thousand; containers are not trusted."""

Text = Annotated[str, StringConstraints(max_length=500)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[FiniteFloat, Field(ge=0)]
Amount = Annotated[FiniteFloat, Field(ge=0)]
LARGEST_INTEGER = 2**63 - 1  # JSON has no limit, a Parquet column has this one
Count = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]
Positive = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]


OWN_WEIGHTS = "own weights, SHA-256 "
"""How ``pretrained`` begins in the document of a cell that was given a file of weights; its sum follows."""


class Status(StrEnum):
    """How a cell ended."""

    OK = "ok"
    FAILED = "failed"
    TIMEOUT = "timeout"
    OOM = "oom"
    QUALITY = "quality"
    INCOMPATIBLE = "incompatible"
    HOST_LOST = "host_lost"


class Versions(Strict):
    """Versions as the library itself reports them, and its own word for the GPU that it uses."""

    framework: Text
    cuda: Text | None
    cudnn: Text | None
    packages: dict[Text, Text]
    device: Text | None = None


class Gpu(Strict):
    """A GPU as seen from inside the cell."""

    name: Text
    uuid: Text
    driver: Text


class Environment(Strict):
    """What the cell ran on, as seen from inside it; ``memory`` in bytes."""

    os: Text
    kernel: Text
    python: Text
    numpy: Text
    cpu: Text
    cores: Count
    memory: Count
    gpus: list[Gpu]


class CardState(Strict):
    """A card at a moment, as NVML told it inside the cell: clocks in MHz, temperature in °C, what throttles it."""

    graphics_clock: Count | None
    memory_clock: Count | None
    temperature: Count | None
    throttled: Annotated[list[Text], Field(max_length=16)] | None


class Card(Strict):
    """A GPU or MIG slice that the cell used. Memory in bytes, energy in joules, power in watts; None is not told.

    ``used`` is True where the card's memory grew or a process joined by the end of the first step, and None where the
    driver tells neither; ``others`` were on it before.
    """

    name: Text
    uuid: Text
    driver: Text
    capability: Annotated[list[Count], Field(min_length=2, max_length=2)] | None
    memory: Count | None
    power_limit: Amount | None
    mig: Literal["off", "slice"]
    used: Literal[True] | None
    memory_growth: Annotated[int, Field(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)] | None
    new_processes: Count | None
    memory_at_start: Count | None
    others: Count | None
    others_memory: Count | None
    peak_memory: Count | None
    energy: Amount | None
    start: CardState
    middle: CardState
    end: CardState


class Checks(Strict):
    """What a timed run showed of itself, outside its clock: see workloads/harness/checks.py.

    ``scores`` is the error of test scores against the reference with the final weights; ``dropout`` is None for a
    network without any.
    """

    steps_watched: Count
    steps_moved: Count
    scores: Amount
    dropout: bool | None


class Document(Strict):
    """The JSON that a container leaves in ``/results``. Times in seconds, memory in bytes.

    ``parity`` has the errors against the reference by what was compared, where the run was to prove the model.
    ``workers`` counts what trained one model together, ``findings`` has the AUC of each (None where it is absent).
    ``gpus`` has the cards that the cell used, where it had some. ``effective_precision`` was read back from the library
    (None: nobody tells), ``gru`` says how a GRU's time-steps were computed.
    ``threads`` is how many the library was told to use, ``cpu_used`` the share of its cores' time that it took while
    the clock ran, ``load_before`` and ``load_after`` what the whole machine had to do, by the core.
    ``checks`` is None where a run only predicted, proved parity, or did not hand over its weights.
    """

    contract: Literal[1]
    library: Text
    workload: Text
    platform: Text
    precision: Text
    effective_precision: Text | None = None
    variant: Text
    data: Literal["real", "synthetic"]
    seed: Annotated[int, Field(ge=-LARGEST_INTEGER, le=LARGEST_INTEGER)]
    n_gpus: Count
    workers: Positive = 1
    epochs: Positive
    samples: Positive
    steps: Positive
    samples_tested: Positive
    shortened: bool
    metric: Text
    quality: Share
    findings: dict[Text, Share | None] | None = None
    pretrained: Text | None = None
    gru: Literal["cudnn", "scan", "loop"] | None = None
    seconds: Seconds
    seconds_warm: Seconds | None
    phases: dict[Text, Seconds]
    epoch_seconds: Annotated[list[Seconds], Field(max_length=100_000)]
    epoch_losses: Annotated[list[FiniteFloat], Field(max_length=100_000)]
    validation_losses: Annotated[list[FiniteFloat], Field(max_length=100_000)] | None = None
    peak_memory: Count
    container_memory: Count | None = None
    parity: dict[Text, Seconds] | None = None
    threads: Positive | None = None
    cpu_used: Amount | None = None
    load_before: Amount | None = None
    load_after: Amount | None = None
    checks: Checks | None = None
    versions: Versions
    environment: Environment
    gpus: Annotated[list[Card], Field(max_length=64)] | None = None


@dataclass(frozen=True)
class Outcome:
    """How one attempt at a cell ended, as the engine saw it. ``wall_seconds`` is the whole life of the container.

    ``host`` is the machine it ran on where that is not the engine's own.
    """

    status: Status
    reason: str = ""
    document: Document | None = None
    log: str = ""
    image_digest: str = ""
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    wall_seconds: float = 0.0
    host: str = ""


def arguments(cell: Cell) -> list[str]:
    """The command line of a cell, as a person would type it behind ``docker run IMAGE``."""
    words = [cell.library, cell.workload]
    if cell.epochs is not None:
        words += ["--epochs", str(cell.epochs)]
    if cell.samples is not None:
        words += ["--samples", str(cell.samples)]
    if cell.n_gpus > 1:
        words += ["--workers" if cell.gpu == "none" else "--gpus", str(cell.n_gpus)]
    words += ["--data", cell.data, "--seed", str(cell.repeat), "--precision", cell.precision]
    words += ["--weights", weights_name(cell)] if cell.weights else []
    return [*words, "--variant", cell.variant, *(["--parity"] if cell.parity else [])]


def weights_name(cell: Cell) -> str:
    """What the file of a cell's own weights is called in its folder ``/weights``."""
    return f"{cell.weights[:16]}.npz"


def parse(raw: bytes, source: str) -> Document:
    """Validate a document; ``source`` names it in the error.

    Raises ResultError for one that is oversized, truncated, of another contract version, or not as declared.
    """
    if len(raw) > LARGEST_DOCUMENT:
        raise ResultError(f"{source} has {len(raw):,} bytes, more than the {LARGEST_DOCUMENT:,} a result may have.")
    try:
        return Document.model_validate_json(raw, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the document"
        if place == "contract":
            version = "none" if first["type"] == "missing" else repr(first["input"])
            raise ResultError(
                f"{source} follows contract version {version}; this orchestrator knows version {CONTRACT}.",
                remedy="Use an image and an orchestrator of the same release.",
            ) from None
        raise ResultError(f"{source} is not a valid result: {place}: {first['msg']}.") from None
