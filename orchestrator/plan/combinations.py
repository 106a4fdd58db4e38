"""From the axes of a matrix file to cells: products, includes, excludes, profiles."""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.cell.cell import AXES, DEFAULTS, Cell
from orchestrator.errors import MatrixError
from orchestrator.plan.matrix import EVERY_IMAGE, HERE, MatrixFile, Profile, check_words, read, values
from orchestrator.system.words import advice

USUAL = "full"
"""The profile of the command line where none is named."""


def cells_of_file(
    path: Path,
    profile: str | None,
    known: Mapping[str, Iterable[str]],
    overrides: Mapping[str, Any] | None = None,
    here: Callable[[], Sequence[str]] = tuple,
) -> list[Cell]:
    """The cells of a profile of a matrix file, repeat by repeat: rounds over the whole matrix.

    ``known`` lists the valid words of each axis; its ``library`` also replaces the ``*``. ``overrides`` are what the
    command line asked for: lists replace axes (``data``, ``repeat``), numbers replace parameters (``epochs``,
    ``samples``). ``here`` returns the models that the GPU ``here`` stands for, and is called only if it is named.
    Raises MatrixError.
    """
    file, lines = read(path)
    check_words(file, lines, known)
    chosen = choose_profile(file, profile, path)
    axes = {**values(file.axes), **values(chosen.axes)}
    for needed in ("library", "workload"):
        if needed not in axes:
            raise MatrixError(f"{path}: axes.{needed} is missing.", remedy="Add it: no cell can do without.")
    axes["library"] = expand(axes["library"], EVERY_IMAGE, sorted(known["library"]))
    overrides = {key: value for key, value in (overrides or {}).items() if value is not None}
    asked = {key: value for key, value in overrides.items() if key in AXES}
    parameters = {key: value for key, value in overrides.items() if key not in AXES}
    excludes = [values(point) for point in (*file.exclude, *chosen.exclude)]
    includes = [values(point) for point in (*file.include, *chosen.include)]
    if HERE in axes.get("gpu", ()) or any(point.get("gpu") == HERE for point in (*includes, *excludes)):
        models = here()
        # Without a card, ``here`` stays and its cells say that they can't run: without the axis they'd have no GPU.
        axes["gpu"] = expand(axes.get("gpu", ()), HERE, models) or list(axes.get("gpu", ()))
        includes, excludes = (
            [each for p in points for each in with_gpus(p, models)] for points in (includes, excludes)
        )
    axes = {axis: words for axis, words in axes.items() if words}
    points = [p for point in combine({**axes, **asked}, includes, excludes) for p in replaced(point, asked)]
    missing = next((p for p in points if not {"library", "workload"} <= p.keys()), None)
    if missing is not None:
        raise MatrixError(f"{path}: include: {missing} matches no combination and names no library and workload.")
    result = sorted((Cell(**{**DEFAULTS, **point, **parameters}) for point in points), key=lambda cell: cell.repeat)
    if not result:
        raise MatrixError(f"{path}: the matrix is empty.", "Its excludes remove every combination of its axes.")
    return list(dict.fromkeys(result))


def combine(
    axes: Mapping[str, Sequence[Any]], includes: Sequence[Mapping[str, Any]], excludes: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """The product of the axes, less excludes, plus includes, with the semantics of GitHub Actions' matrices.

    The platform cpu goes with no GPU, and the others with one: no other combination is in the product.
    An include whose values contradict no combination of the axes is added to each such combination; one that fits
    none is a combination of its own. An exclude works on the product only and never removes what an include adds.
    """
    product = [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]
    originals = [p for p in product if makes_sense(p) and not any(fits(exclude, p) for exclude in excludes)]
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
    """Return the point with the requested axes, unless it has them already, as those of the axes' product do."""
    other = {axis: choices for axis, choices in asked.items() if point.get(axis) not in choices}
    return ({**point, **dict(zip(other, choice, strict=True))} for choice in itertools.product(*other.values()))


def fits(wanted: Mapping[str, Any], point: Mapping[str, Any]) -> bool:
    """Whether the point has every value of ``wanted``."""
    return all(point.get(key) == value for key, value in wanted.items())


def choose_profile(file: MatrixFile, name: str | None, path: Path) -> Profile:
    """Return a profile by name; None, or the usual name in a file without profiles, gives an empty one."""
    if name is None or (name == USUAL and not file.profiles):
        return Profile()
    if name not in file.profiles:
        remedy = advice(name, file.profiles) if file.profiles else "It has no profiles: leave out --profile."
        raise MatrixError(f"{path} has no profile '{name}'.", remedy=remedy)
    return file.profiles[name]


def makes_sense(point: Mapping[str, Any]) -> bool:
    """Whether platform and GPU go together, where a point has both."""
    platform, gpu = point.get("platform"), point.get("gpu")
    return None in (platform, gpu) or (platform == "cpu") == (gpu == DEFAULTS["gpu"])


def expand(said: Sequence[str], word: str, meant: Iterable[str]) -> list[str]:
    """The words of an axis with one replaced by what it stands for, each once."""
    words = itertools.chain.from_iterable(meant if each == word else [each] for each in said)
    return list(dict.fromkeys(words))


def with_gpus(point: dict[str, Any], models: Sequence[str]) -> list[dict[str, Any]]:
    """Return a point of include or exclude, once per model if it names the GPU ``here``."""
    return [{**point, "gpu": model} for model in models] if point.get("gpu") == HERE else [point]
