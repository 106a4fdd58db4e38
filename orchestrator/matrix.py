"""matrix.yaml → cells: axes, include and exclude, profiles, cell ids, selectors."""

import difflib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from orchestrator.cell.cell import AXES, DEFAULTS, Cell
from orchestrator.errors import MatrixError, SelectionError

Word = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*$", max_length=40)]
Count = Annotated[int, Field(ge=1)]
Values = Annotated[list[Word], Field(min_length=1)]

EVERY_IMAGE = "*"
"""On the axis ``library``: every library that a file in images/ defines."""


class Strict(BaseModel):
    """Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Point(Strict):
    """An entry of ``include`` or ``exclude``: some axes with one value each, and in ``include`` parameters of a run."""

    library: Word | None = None
    workload: Word | None = None
    platform: Word | None = None
    gpu: Word | None = None
    n_gpus: Count | None = None
    precision: Word | None = None
    variant: Word | None = None
    data: Word | None = None
    repeat: Annotated[int, Field(ge=0)] | None = None
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
    variant: Values | None = None
    data: Values | None = None
    repeat: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] | None = None


assert tuple(Axes.model_fields) == AXES, "the axes of a matrix file are those of a cell"


class Profile(Strict):
    """A named selection: axes that replace those of the file, includes and excludes that come after the file's."""

    description: str = ""
    axes: Axes = Axes()
    include: list[Point] = []
    exclude: list[Point] = []


class MatrixFile(Strict):
    """The whole of matrix.yaml."""

    axes: Axes
    include: list[Point] = []
    exclude: list[Point] = []
    profiles: dict[Word, Profile] = {}


def read(path: Path) -> tuple[MatrixFile, "Lines"]:
    """Read and validate a matrix file.

    Raises MatrixError with file, line, key and the nearest valid word.
    """
    import yaml

    try:
        text = path.read_text()
        root = yaml.compose(text, Loader=yaml.BaseLoader)
    except OSError as error:
        why = f"{path} can't be read: {error.strerror}."
        raise MatrixError(why, remedy="Name another with --matrix FILE.") from None
    except yaml.YAMLError as error:
        raise MatrixError(f"{path} is not valid YAML: {error}") from None
    if root is None:
        raise MatrixError(f"{path} is empty.", remedy="It needs at least 'axes' with 'library' and 'workload'.")
    lines = Lines(path, root)
    try:
        # BaseLoader leaves every scalar as text: YAML itself would read 9.0 and 3.10 as numbers.
        return MatrixFile.model_validate(cuda_as_platform(yaml.load(text, Loader=yaml.BaseLoader))), lines
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
        """The first complaint of pydantic, as a person needs it."""
        first = error.errors(include_url=False)[0]
        location = [step for step in first["loc"] if step != "[key]"]
        key = ".".join(map(str, location))
        if first["type"] == "extra_forbidden":
            where = [step for step in location[:-1] if isinstance(step, str)]
            return self.complaint(location, f"unknown key '{location[-1]}'", str(location[-1]), known_keys(where))
        said = f"not {first['input']!r}" if isinstance(first["input"], str | int | float) else ""
        return MatrixError(f"{self.path}:{self.of(location)}: {key}: {first['msg']}.", said and f"It can be {said}.")

    def complaint(self, location: Sequence[str | int], what: str, word: str, known: Iterable[str]) -> MatrixError:
        """An error about a word, with the nearest valid one."""
        known = sorted(known)
        near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
        remedy = f"Did you mean '{near[0]}'? " if near else ""
        return MatrixError(
            f"{self.path}:{self.of(location)}: {'.'.join(map(str, location))}: {what}.",
            remedy=f"{remedy}Known: {', '.join(known)}.",
        )


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
    return list(model.model_fields)


def cells(
    path: Path, profile: str | None, known: Mapping[str, Iterable[str]], overrides: Mapping[str, Any] | None = None
) -> list[Cell]:
    """The cells of a profile of a matrix file, repeat by repeat: rounds over the whole matrix.

    ``known`` lists the valid words of each axis; its ``library`` also replaces the ``*``. ``overrides`` are what the
    command line asked for: lists replace axes (``data``, ``repeat``), numbers replace parameters (``epochs``,
    ``samples``). Raises MatrixError.
    """
    file, lines = read(path)
    check_words(file, lines, known)
    chosen = choose_profile(file, profile, path)
    axes = {**values(file.axes), **values(chosen.axes)}
    for needed in ("library", "workload"):
        if needed not in axes:
            raise MatrixError(f"{path}: axes.{needed} is missing.", remedy="Without it there is no cell.")
    axes["library"] = expand_libraries(axes["library"], known["library"])
    overrides = {key: value for key, value in (overrides or {}).items() if value is not None}
    asked = {key: value for key, value in overrides.items() if key in AXES}
    parameters = {key: value for key, value in overrides.items() if key not in AXES}
    excludes = [values(point) for point in (*file.exclude, *chosen.exclude)]
    includes = [values(point) for point in (*file.include, *chosen.include)]
    points = [p for point in combine({**axes, **asked}, includes, excludes) for p in replaced(point, asked)]
    missing = next((p for p in points if not {"library", "workload"} <= p.keys()), None)
    if missing is not None:
        raise MatrixError(f"{path}: include: {missing} matches no combination and names no library and workload.")
    result = sorted((Cell(**{**DEFAULTS, **point, **parameters}) for point in points), key=lambda cell: cell.repeat)
    if not result:
        raise MatrixError(f"{path}: the matrix is empty.", "Its excludes remove every combination of its axes.")
    return list(dict.fromkeys(result))


def values(model: BaseModel) -> dict[str, Any]:
    """What was set in the file, as a dict."""
    return {key: value for key, value in model.model_dump().items() if value is not None}


def combine(
    axes: Mapping[str, Sequence[Any]], includes: Sequence[Mapping[str, Any]], excludes: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The product of the axes, less excludes, plus includes, with the semantics of GitHub Actions' matrices.

    An include whose values contradict no combination of the axes is added to each such combination; one that fits
    none is a combination of its own. An exclude works on the product only and never removes what an include adds.
    """
    product = [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]
    originals = [p for p in product if not any(fits(exclude, p) for exclude in excludes)]
    combinations, own = [dict(point) for point in originals], []
    for include in includes:
        on_axes = {key: value for key, value in include.items() if key in axes}
        hosts = [extended for extended, point in zip(combinations, originals, strict=True) if fits(on_axes, point)]
        for host in hosts:
            host.update(include)
        if not hosts:
            own.append(dict(include))
    return combinations + own


def replaced(point: Mapping[str, Any], asked: Mapping[str, Sequence[Any]]) -> Iterable[dict[str, Any]]:
    """The point with the axes that were asked for, where it is not of the axes' product, which has them already."""
    other = {axis: choices for axis, choices in asked.items() if point.get(axis) not in choices}
    return ({**point, **dict(zip(other, choice, strict=True))} for choice in itertools.product(*other.values()))


def fits(wanted: Mapping[str, Any], point: Mapping[str, Any]) -> bool:
    """Whether the point has every value of ``wanted``."""
    return all(point.get(key) == value for key, value in wanted.items())


def check_words(file: MatrixFile, lines: Lines, known: Mapping[str, Iterable[str]]) -> None:
    """Refuse values that no axis knows; raises MatrixError with the nearest one that it does."""
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


def choose_profile(file: MatrixFile, name: str | None, path: Path) -> Profile:
    """A profile by name; None is the file without any."""
    if name is None:
        return Profile()
    if name not in file.profiles:
        near = difflib.get_close_matches(name, file.profiles, n=1, cutoff=0.5)
        hint = f"Did you mean '{near[0]}'? " if near else ""
        there = ", ".join(file.profiles) or "none"
        raise MatrixError(f"{path} has no profile '{name}'.", remedy=f"{hint}There are: {there}.")
    return file.profiles[name]


def expand_libraries(said: Sequence[str], every: Iterable[str]) -> list[str]:
    """The axis ``library`` with ``*`` replaced, each library once."""
    words = itertools.chain.from_iterable(sorted(every) if word == EVERY_IMAGE else [word] for word in said)
    return list(dict.fromkeys(words))


def selector(only: Sequence[str], skip: Sequence[str]) -> Callable[[Cell], bool]:
    """A test of cells by globs with braces, against the id and against all axes written out."""
    from wcmatch import fnmatch

    def compiled(patterns: Sequence[str]) -> Callable[[str], bool]:
        matcher = fnmatch.compile(list(patterns), flags=fnmatch.BRACE | fnmatch.FORCEUNIX)
        return lambda text: bool(matcher.match(text))

    wanted, unwanted = compiled(only or ["*"]), compiled(skip or [])
    return lambda cell: (wanted(cell.id) or wanted(cell.address)) and not (unwanted(cell.id) or unwanted(cell.address))


def select(every: Sequence[Cell], only: Sequence[str], skip: Sequence[str]) -> list[Cell]:
    """The cells that the selectors leave; raises SelectionError, with ids that are near, where they leave none."""
    if not only and not skip:
        return list(every)
    keep = selector(only, skip)
    chosen = [cell for cell in every if keep(cell)]
    if not chosen:
        ids = sorted({cell.id for cell in every})
        near = difflib.get_close_matches(only[0], ids, n=3, cutoff=0.3) if only else ids[:3]
        raise SelectionError(
            f"No cell of {len(every):,} matches --only {' '.join(only) or '*'}"
            + (f" --skip {' '.join(skip)}." if skip else "."),
            remedy=f"Cell ids look like: {', '.join(near or ids[:3])}. 'rosetta plan' prints all.",
        )
    return chosen


def json_schema() -> str:
    """The JSON Schema of matrix.yaml for editors, as committed in matrix.schema.json."""
    import json

    return json.dumps(MatrixFile.model_json_schema(), indent=1) + "\n"
