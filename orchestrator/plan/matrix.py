"""matrix.yaml → cells: axes, include and exclude, profiles, cell ids, selectors."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, Field, StringConstraints, ValidationError, WithJsonSchema

from orchestrator.cell.cell import AXES
from orchestrator.cell.strict import Strict, in_words
from orchestrator.errors import MatrixError
from orchestrator.plan.models import Models
from orchestrator.system import yaml_files
from orchestrator.system.words import advice

FORM, LONGEST = r"^[a-z0-9][a-z0-9.-]*$", 40
Word = Annotated[str, StringConstraints(pattern=FORM, max_length=LONGEST)]
Listed = Annotated[
    str,
    StringConstraints(max_length=200),
    WithJsonSchema({"type": "string", "pattern": FORM, "maxLength": LONGEST}),
]
"""A word of an axis whose words are listed: ``check_words`` refuses any other, and says what was meant."""

MOST = 10**9
Count = Annotated[int, Field(ge=1, le=MOST)]
Repeat = Annotated[int, Field(ge=0, le=MOST)]
Values = Annotated[list[Listed], Field(min_length=1)]
Folder = Annotated[str, StringConstraints(pattern=r"^[^\x00]+$", max_length=4096)]

EVERY_IMAGE = "*"
"""On the axis ``library``: every library that a file in images/ defines."""

HERE = "here"
"""On the axis ``gpu``: every model that the engine has."""


class Point(Strict):
    """An entry of ``include`` or ``exclude``: some axes with one value each, and in ``include`` parameters of a run."""

    library: Word | None = None
    workload: Listed | None = None
    platform: Listed | None = None
    gpu: Listed | None = None
    n_gpus: Count | None = None
    precision: Listed | None = None
    variant: Word | None = None
    data: Listed | None = None
    repeat: Repeat | None = None
    epochs: Count | None = None
    samples: Count | None = None


class Axes(Strict):
    """The axes; a combination of one value of each is a cell. ``repeat`` is also the seed of the run.

    ``n_gpus`` train one model together; on the platform cpu as many processes stand for them.
    """

    library: Annotated[list[Word | str], Field(min_length=1)] | None = None
    workload: Values | None = None
    platform: Values | None = None
    gpu: Values | None = None
    n_gpus: Annotated[list[Count], Field(min_length=1)] | None = None
    precision: Values | None = None
    variant: Annotated[list[Word], Field(min_length=1)] | None = None
    data: Values | None = None
    repeat: Annotated[list[Repeat], Field(min_length=1)] | None = None


assert tuple(Axes.model_fields) == AXES, "the axes of a matrix file are those of a cell"


class Profile(Strict):
    """A named selection: axes that replace those of the file, includes and excludes that come after the file's."""

    description: str = ""
    axes: Axes = Axes()
    include: list[Point] = []
    exclude: list[Point] = []


class MatrixFile(Strict):
    """The whole of matrix.yaml. ``with`` are folders with libraries of the user's own, seen from the file."""

    axes: Axes
    include: list[Point] = []
    exclude: list[Point] = []
    profiles: dict[Word, Profile] = {}
    own: Annotated[list[Folder], Field(alias="with")] = []

    def own_folders(self, beside: Path) -> list[Path]:
        """The folders of ``with``, for a file that lies in ``beside``."""
        return [beside / os.path.expanduser(name) for name in self.own]  # Path's own raises for an unknown user


def read(path: Path) -> tuple[MatrixFile, "Lines"]:
    """Read and validate a matrix file.

    Raises MatrixError with file, line, key and the nearest valid word.
    """
    content, root = yaml_files.read(path, remedy="Name another with --matrix FILE.")
    if root is None:
        raise MatrixError(f"{path} is empty.", remedy="It needs at least 'axes' with 'library' and 'workload'.")
    lines = Lines(path, root)
    try:
        return MatrixFile.model_validate(cuda_as_platform(content)), lines
    except ValidationError as error:
        raise lines.error(error) from None


def cuda_as_platform(node: Any) -> Any:
    """Allow ``cuda: 9.0`` (or a list) wherever ``platform: cuda9`` is meant, as people write it."""
    if isinstance(node, list):
        return [cuda_as_platform(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: cuda_as_platform(value) for key, value in node.items()}
    if "cuda" in node and "platform" not in node:
        cuda = node.pop("cuda")
        node["platform"] = [platform_of(v) for v in cuda] if isinstance(cuda, list) else platform_of(cuda)
    return node


def platform_of(cuda: str) -> str:
    """The platform of a CUDA version: "9.0" → "cuda9"."""
    return "cuda" + str(cuda).split(".")[0]


class Lines:
    """Where in the file a key or value stands, for errors."""

    def __init__(self, path: Path, root: Any) -> None:
        self.path, self.root = path, root

    def of(self, location: Sequence[str | int]) -> int:
        """The line (from 1) of the deepest node on the way to ``location`` that is written in the file."""
        node, line = self.root, self.root.start_mark.line + 1
        for step in location:
            found = self._child(node, step)
            if found is None:
                break
            line, node = found
        return int(line)

    @staticmethod
    def _child(node: Any, step: str | int) -> tuple[int, Any] | None:
        if isinstance(step, int) and isinstance(node.value, list) and step < len(node.value):
            child = node.value[step]
            return (child.start_mark.line + 1, child) if not isinstance(child, tuple) else None
        if isinstance(node.value, list):
            for pair in node.value:
                if isinstance(pair, tuple) and pair[0].value in (step, "cuda" if step == "platform" else step):
                    return pair[0].start_mark.line + 1, pair[1]
        return None

    def error(self, error: ValidationError) -> MatrixError:
        """Turn pydantic's first complaint into an error for people: a key that is unknown may be the one missing."""
        every = error.errors(include_url=False)
        first = next((one for one in every if one["type"] == "extra_forbidden"), every[0])
        location = [step for step in first["loc"] if step != "[key]"]
        key = ".".join(map(str, location))
        if first["type"] == "extra_forbidden":
            where = [step for step in location[:-1] if isinstance(step, str)]
            return self.complaint(location, f"unknown key '{location[-1]}'", str(location[-1]), known_keys(where))
        said = f"It is {first['input']!r}." if isinstance(first["input"], str | int | float) else ""
        return MatrixError(f"{self.path}:{self.of(location)}: {key}: {in_words(first)}.", said)

    def complaint(self, location: Sequence[str | int], what: str, word: str, known: Iterable[str]) -> MatrixError:
        """An error about a word, with the nearest valid one."""
        what = f"{self.path}:{self.of(location)}: {'.'.join(map(str, location))}: {what}."
        return MatrixError(what, remedy=known.advice(word) if isinstance(known, Models) else advice(word, known))


def known_keys(where: Sequence[str]) -> list[str]:
    """The keys allowed at a place in the file, such as ``["profiles", "quick", "axes"]``."""
    model: Any = MatrixFile
    for step in where:
        field = model.model_fields.get(step) if hasattr(model, "model_fields") else None
        if field is not None:
            kinds = (field.annotation, *get_args(field.annotation))
            model = next((kind for kind in kinds if hasattr(kind, "model_fields")), model)
        if step == "profiles":
            model = Profile
    return [field.alias or name for name, field in model.model_fields.items()]


def values(model: BaseModel) -> dict[str, Any]:
    """Return what was set in the file, as a dict."""
    return {key: value for key, value in model.model_dump().items() if value is not None}


def check_words(file: MatrixFile, lines: Lines, known: Mapping[str, Iterable[str]]) -> None:
    """Raise MatrixError for a value that its axis does not know, with the nearest one that it does."""
    places: list[tuple[list[str | int], BaseModel]] = [(["axes"], file.axes)]
    places += [(["include", i], p) for i, p in enumerate(file.include)]
    places += [(["exclude", i], p) for i, p in enumerate(file.exclude)]
    for name, profile in file.profiles.items():
        here: list[str | int] = ["profiles", name]
        places.append(([*here, "axes"], profile.axes))
        places += [([*here, "include", i], p) for i, p in enumerate(profile.include)]
        places += [([*here, "exclude", i], p) for i, p in enumerate(profile.exclude)]
    for place, model in places:
        for axis, said in values(model).items():
            for index, word in enumerate(said if isinstance(said, list) else [said]):
                if axis in known and word not in known[axis] and not (axis == "library" and word == EVERY_IMAGE):
                    location = [*place, axis, index] if isinstance(said, list) else [*place, axis]
                    raise lines.complaint(location, f"unknown {axis} '{word}'", word, known[axis])


def json_schema() -> str:
    """The JSON Schema of matrix.yaml for editors, as committed in matrix.schema.json."""
    import json

    return json.dumps(MatrixFile.model_json_schema(), indent=1) + "\n"
