"""The facts on the page of a run: which columns, under which headings, and how their values read."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from orchestrator.report.costs import COSTS
from orchestrator.results.rows import Row
from orchestrator.system.terminal import one_line


class Line(NamedTuple):
    """A fact: its name and its value, as text."""

    name: str
    value: str


FACTS: Mapping[str, Sequence[tuple[str, str]]] = {
    "Result": (
        ("status", "status"), ("reason", "reason"), ("seconds", "time, cold"), ("seconds_warm", "time, warm"),
        ("of_peak", "of the card's peak rate"),
        ("metric", "metric"), ("quality", "quality"), ("epochs", "epochs"), ("samples", "samples per epoch"),
        ("steps", "steps"), ("samples_tested", "samples tested"), ("shortened", "shortened"), ("parity", "parity"),
        ("checks", "checks"),
    ),
    "Where the time went": (
        ("import_seconds", "import"), ("data_seconds", "data"), ("build_seconds", "build"),
        ("first_step_seconds", "first step"), ("train_seconds", "train"), ("warm_up_seconds", "warm up"),
        ("predict_seconds", "predict"), ("evaluate_seconds", "evaluate"), ("wall_seconds", "container, in all"),
    ),
    "What ran": (
        ("framework", "framework"), ("framework_version", "version"), ("cuda", "CUDA"), ("cudnn", "cuDNN"),
        ("packages", "packages"), ("python", "Python"), ("numpy", "NumPy"), ("engine", "engine"), ("image", "image"),
        ("image_digest", "image digest"), ("recipe", "recipe"), ("base", "built on"), ("key", "key"),
        ("commit", "commit"), ("dirty", "uncommitted changes"),
    ),
    "Machine": (
        ("host", "host"), ("cpu", "CPU"), ("cores", "cores"), ("memory", "memory"), ("os", "system"),
        ("kernel", "kernel"), ("gpu_name", "GPU"), ("n_gpus", "GPUs used"), ("driver", "driver"),
        ("gpu_uuids", "UUIDs"), ("capability", "compute capability"), ("device", "device, by the library"),
        ("proof", "proved by"), ("gpu_others", "processes of others"), ("gpu_peak_memory", "most GPU memory"),
        ("gpus_before", "GPUs at the start"), ("gpus_during", "in the middle"), ("gpus_after", "at the end"),
        ("energy", "energy"),
        ("peak_memory", "memory of the process"), ("container_memory", "memory of the container"),
        ("started", "started, UTC"), ("run", "run"),
    ),
}  # fmt: skip
"""The columns of a row on a cell's page, and their names, by heading."""

UNITS = {"energy": " J"}
"""Units of columns whose name does not tell; times are in seconds."""

EMPTY = (None, "", "{}", "[]")


def facts(row: Row) -> dict[str, list[Line]]:
    """The facts of a run that are known, as text."""
    known = {**row, "of_peak": COSTS["peak"].entry([row], {}).time if row["parity"] is None else ""}
    return {
        heading: [Line(name, shown(column, known[column])) for column, name in lines if known[column] not in EMPTY]
        for heading, lines in FACTS.items()
    }


def shown(column: str, value: Any) -> str:
    """A value for a person, with its unit."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if column.endswith("memory"):
        return f"{value / 2**30:,.2f} GiB"
    unit = UNITS.get(column, " s" if "seconds" in column else "")
    if isinstance(value, float):
        return (f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}") + unit
    if isinstance(value, int):
        return f"{value:,}{unit}"
    return in_words(str(value))


def in_words(value: str) -> str:
    """JSON without its brackets: "keras 3.15.1, h5py 3.11". Other text stays as it is."""
    if not value.startswith(("{", "[")):
        return value
    try:
        return one_line(said(json.loads(value)))
    except (ValueError, RecursionError):
        return value


def said(value: Any) -> str:
    """A parsed value in words: names before their values, items one after the other, those of several GPUs apart."""
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {said(each)}" for name, each in value.items())
    if isinstance(value, list):
        apart = "; " if any(isinstance(each, dict) for each in value) else ", "
        return apart.join(said(each) for each in value) or "none"
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
