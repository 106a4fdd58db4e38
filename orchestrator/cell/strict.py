"""The base of all typed models of external input, common types of their fields, and what is wrong in plain words."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, ValidationError

LARGEST_INTEGER = 2**63 - 1  # JSON has no limit, a Parquet column has this one

ODD = r"\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069"
"""Characters that begin a line of their own or steer what shows them: controls, and marks of direction."""

ONE_LINE = rf"^[^{ODD}]*$"
"""The pattern of text without them."""


def harmless(text: str) -> str:
    """Return text with blanks for odd characters: no run is lost for a tab in the name of a processor."""
    return re.sub(f"[{ODD}]", " ", text)


Text = Annotated[str, StringConstraints(max_length=500), AfterValidator(harmless)]
Seconds = Annotated[FiniteFloat, Field(ge=0)]
Positive = Annotated[int, Field(ge=1, le=LARGEST_INTEGER)]


class Strict(BaseModel):
    """An immutable model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


NUMBER, WHOLE, TRUTH = "must be a number", "must be a whole number", "must be true or false"
MAPPING = "must be a mapping of names to values"
PLAIN: Mapping[str, str] = {
    "missing": "is missing",
    "extra_forbidden": "is not known",
    "none_required": "must be left out",
    "string_type": "must be text",
    "string_unicode": "must be text in UTF-8",
    "string_pattern_mismatch": "has a form or characters that it may not have",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    **dict.fromkeys(("float_type", "float_parsing"), NUMBER),
    "finite_number": "must be a finite number",
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), WHOLE),
    **dict.fromkeys(("bool_type", "bool_parsing"), TRUTH),
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be {le} or less",
    **dict.fromkeys(("literal_error", "enum"), "must be {expected}"),
    **dict.fromkeys(("dict_type", "mapping_type", "model_type", "model_attributes_type"), MAPPING),
    **dict.fromkeys(("list_type", "tuple_type", "iterable_type"), "must be a list"),
    "too_long": "must have at most {max_length} entries",
    "too_short": "must have at least {min_length} entries",
    **dict.fromkeys(("json_invalid", "json_type"), "is not valid JSON"),
}
"""What is wrong, by pydantic's word for it; its braces are filled from what pydantic knows of it."""


def in_words(problem: Mapping[str, Any]) -> str:
    """Return one of pydantic's errors in plain words, to follow the name of what is wrong; ours are words already."""
    plain = PLAIN.get(problem["type"])
    if plain is None:
        return str(problem["msg"]).removeprefix("Value error, ")
    known = problem.get("ctx", {}).items()
    whole = {name: int(value) for name, value in known if isinstance(value, float) and value.is_integer()}
    return plain.format(**{**dict(known), **whole})


def complaint(error: ValidationError, whole: str) -> str:
    """Return the first error and its place, ``gpus.1.name: is missing``; ``whole`` names the whole input."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or whole}: {in_words(first)}"
