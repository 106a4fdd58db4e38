"""What is wrong with input of others is said in plain words, and in none of pydantic's."""

from typing import Annotated, Literal

import pytest
from pydantic import Field, FiniteFloat, Json, ValidationError

from orchestrator.cell.strict import Strict, Text, complaint


class Some(Strict):
    word: Annotated[str, Field(pattern="^[a-z]+$", min_length=1, max_length=3)] = "a"
    number: Annotated[float, Field(ge=0, le=10)] = 0
    amount: Annotated[int, Field(gt=0, lt=5)] = 1
    finite: FiniteFloat = 0
    truth: bool = True
    kind: Literal["real", "synthetic"] = "real"
    names: dict[Text, int] = {}
    several: Annotated[list[int], Field(max_length=1)] = []
    inner: Json[dict[str, int]] | None = None


class Needs(Strict):
    key: int


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"word": "A"}, "word: has a form or characters that it may not have"),
        ({"word": "abcd"}, "word: must have at most 3 characters"),
        ({"word": ""}, "word: must have at least 1 characters"),
        ({"word": 1}, "word: must be text"),
        ({"number": "x"}, "number: must be a number"),
        ({"number": -1}, "number: must be 0 or more"),
        ({"number": 11}, "number: must be 10 or less"),
        ({"amount": 0}, "amount: must be more than 0"),
        ({"amount": 5}, "amount: must be less than 5"),
        ({"amount": 1.5}, "amount: must be a whole number"),
        ({"amount": "x"}, "amount: must be a whole number"),
        ({"finite": float("nan")}, "finite: must be a finite number"),
        ({"truth": "perhaps"}, "truth: must be true or false"),
        ({"kind": "x"}, "kind: must be 'real' or 'synthetic'"),
        ({"names": 1}, "names: must be a mapping of names to values"),
        ({"several": 1}, "several: must be a list"),
        ({"several": [1, 2]}, "several: must have at most 1 entries"),
        ({"inner": "{"}, "inner: is not valid JSON"),
        ({"other": 1}, "other: is not known"),
        ([], "the whole: must be a mapping of names to values"),
    ],
)
def test_each_fault_has_its_words(content, said):
    with pytest.raises(ValidationError) as error:
        Some.model_validate(content)
    assert complaint(error.value, "the whole") == said


def test_what_is_missing_is_named():
    with pytest.raises(ValidationError) as error:
        Needs.model_validate({})
    assert complaint(error.value, "the whole") == "key: is missing"
