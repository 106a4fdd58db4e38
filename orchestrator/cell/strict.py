"""The base of all typed models of external input, and common types of their fields."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, ValidationError

LARGEST_INTEGER = 2**63 - 1  # JSON has no limit, a Parquet column has this one

Text = Annotated[str, StringConstraints(max_length=500)]
Seconds = Annotated[FiniteFloat, Field(ge=0)]
Positive = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]


class Strict(BaseModel):
    """An immutable model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def complaint(error: ValidationError, whole: str) -> str:
    """Return the first error and its place, ``gpus.1.name: Field required``; ``whole`` names the whole input."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or whole}: {first['msg']}"
