"""What a cell receives and what it returns: the contract between orchestrator and image, version 2."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, ValidationError

from orchestrator.cell.cell import Cell
from orchestrator.cell.profile import Recording
from orchestrator.cell.strict import LARGEST_INTEGER, Positive, Seconds, Strict, Text, complaint
from orchestrator.errors import ResultError

CONTRACT = 2
"""Version of the contract, as today's harness writes it into documents."""

UNDERSTOOD = (1, 2)
"""Versions whose documents can be read: 2 has optional keys that 1 lacks."""

KNOWN = " and ".join(map(str, UNDERSTOOD))
"""The understood versions as text for messages."""

RECEIVED = 1
"""The version of an image's inputs, which 2 has not changed; the label on every image."""

LARGEST_DOCUMENT = 4 * 2**20
"""Most bytes of a document. A real one has a few thousand; containers are not trusted."""

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Amount = Annotated[FiniteFloat, Field(ge=0)]
Count = Annotated[int, Field(ge=0, le=LARGEST_INTEGER)]


OWN_WEIGHTS = "own weights, SHA-256 "
"""The prefix of ``pretrained`` in the document of a cell with a given file of weights; its checksum follows."""


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
    """Versions as the library itself reports them, and its own name for the GPU that it uses."""

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
    """A GPU's state at one moment, read by NVML inside the cell: clocks in MHz, temperature in °C, throttle reasons."""

    graphics_clock: Count | None
    memory_clock: Count | None
    temperature: Count | None
    throttled: Annotated[list[Text], Field(max_length=16)] | None


class Card(Strict):
    """A GPU or MIG slice that the cell used. Memory in bytes, energy in joules, power in watts; None is unknown.

    ``used`` is True if its memory grew or a process joined by the end of the first step, and None if the driver
    reports neither; ``others`` counts processes that were on it before.
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
    """Checks of a timed run, made outside its clock: see workloads/harness/checks.py.

    ``scores`` is the error of test scores against the reference with the final weights; ``dropout`` has the rates at
    which units were dropped in training, as counted, None for a network without any.
    """

    steps_watched: Count
    steps_moved: Count
    scores: Amount
    dropout: Annotated[list[Share], Field(max_length=8)] | None


class Document(Strict):
    """The JSON that a container leaves in ``/results``. Times in seconds, memory in bytes.

    ``parity`` has the errors against the reference by what was compared, where the run was to prove the model.
    ``workers`` counts what trained one model together, ``findings`` has the AUC of each (None where it is absent).
    ``gpus`` has the cards that the cell used, where it had some. ``effective_precision`` was read back from the library
    (None: nobody tells), ``gru`` says how a GRU's time-steps were computed.
    ``threads`` is how many the library was told to use, ``cpu_used`` the share of its cores' time that it took while
    the clock ran, ``cpu_in_kernel`` the kernel's share of that; ``load_before`` and ``load_after`` are what the whole
    machine had to do, by the core.
    ``epoch_qualities`` has the quality after each epoch, the last one's being ``quality``.
    ``checks`` is None where a run only predicted, proved parity, or did not hand over its weights.
    ``input`` says where the data set lay while the clock ran, ``layout`` how its images lay on the device, ``compiled``
    what compiled or recorded the steps ahead of them, in ``compile_seconds`` that are part of ``seconds``.
    """

    contract: Literal[1, 2]
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
    epoch_qualities: Annotated[list[Share], Field(max_length=100_000)] | None = None
    validation_losses: Annotated[list[FiniteFloat], Field(max_length=100_000)] | None = None
    peak_memory: Count
    container_memory: Count | None = None
    parity: dict[Text, Seconds] | None = None
    threads: Positive | None = None
    cpu_used: Amount | None = None
    cpu_in_kernel: Share | None = None
    load_before: Amount | None = None
    load_after: Amount | None = None
    checks: Checks | None = None
    input: Literal["host", "device"] | None = None
    layout: Text | None = None
    compiled: Text | None = None
    compile_seconds: Seconds | None = None
    versions: Versions
    environment: Environment
    gpus: Annotated[list[Card], Field(max_length=64)] | None = None


def own_weights(pretrained: str | None) -> str:
    """Return the digest of the user's own weights that a run began with; empty without any."""
    began = pretrained or ""
    return began.removeprefix(OWN_WEIGHTS) if began.startswith(OWN_WEIGHTS) else ""


def nothing() -> None:
    """Do nothing: most engines keep nothing once a cell has ended."""


@dataclass(frozen=True)
class Outcome:
    """How one attempt at a cell ended, as the engine saw it. ``wall_seconds`` is its container's life.

    ``host`` is the machine it ran on, if that is not the engine's own; ``limits`` says how its resource limits were
    enforced and what it was not denied, if that differs from a Docker container. A profiled cell has a ``recording``
    and no document. ``settled`` is called once its row is written: until then its engine keeps what it was read from.
    """

    status: Status
    reason: str = ""
    document: Document | None = None
    log: str = ""
    image_digest: str = ""
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    wall_seconds: float = 0.0
    host: str = ""
    limits: str = ""
    recording: Recording | None = None
    settled: Callable[[], None] = field(default=nothing, repr=False, compare=False)


def arguments(cell: Cell) -> list[str]:
    """Return the arguments of a cell, as a person would type them after ``docker run IMAGE``."""
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
    """Return the name of the file of a cell's own weights in its folder ``/weights``."""
    return f"{cell.weights[:16]}.npz"


def parse(raw: bytes, source: str) -> Document:
    """Validate a document; ``source`` names it in the error.

    Raises ResultError if it is oversized, truncated, of another contract version, or not as declared.
    """
    if len(raw) > LARGEST_DOCUMENT:
        raise ResultError(f"{source} has {len(raw):,} bytes, more than the {LARGEST_DOCUMENT:,} a result may have.")
    try:
        return Document.model_validate_json(raw, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["loc"] == ("contract",):
            version = "none" if first["type"] == "missing" else repr(first["input"])
            raise ResultError(
                f"{source} follows contract version {version}; this orchestrator knows {KNOWN}.",
                remedy="Use an image and an orchestrator of the same release.",
            ) from None
        raise ResultError(f"{source} is not a valid result: {complaint(error, 'the document')}.") from None
