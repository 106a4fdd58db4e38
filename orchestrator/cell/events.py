"""Events that a cell prints while it runs: the one place where a line of output is parsed as an event, or stays text.

Cells are not trusted: a line may be anything, of any length, in any encoding. What does not fit a model is no event.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, TypeAdapter, ValidationError

LONGEST_LINE = 16 * 2**10
"""Most bytes of an event's line. A real one has less than a thousand."""

LONGEST = 3.2e8
"""Most seconds that anything may have taken: ten years."""

BEGINNING = b'{"event"'
"""The prefix of an event's line, as the harness writes it."""

Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_. /-]*$", max_length=200)]
Number = Annotated[int, Field(ge=0, le=10**9)]
Duration = Annotated[FiniteFloat, Field(ge=0, le=LONGEST)]


class Event(BaseModel):
    """An event that a cell has printed. Keys that its model lacks are ignored: later images may have more."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class Phase(Event):
    """A phase has ended; ``seconds`` is what it took."""

    event: Literal["phase"]
    phase: Word
    seconds: Duration


class Epoch(Event):
    """An epoch has ended: its number from 1, of how many, and its mean loss."""

    event: Literal["epoch"]
    epoch: Number
    epochs: Number
    loss: FiniteFloat
    seconds: Duration | None = None


class Parity(Event):
    """A comparison with the reference, as a whole or of one parameter; its figures are in the document."""

    event: Literal["parity"]


class Result(Event):
    """The document has been written."""

    event: Literal["result"]
    metric: Word
    quality: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    seconds: Duration


Known = Annotated[Phase | Epoch | Parity | Result, Field(discriminator="event")]
MODEL: TypeAdapter[Phase | Epoch | Parity | Result] = TypeAdapter(Known)


def parse(line: bytes) -> Event | None:
    """The event in a line of output, or None for text."""
    if not line.startswith(BEGINNING) or len(line) > LONGEST_LINE:
        return None
    try:
        return MODEL.validate_json(line)
    except ValidationError:
        return None
