"""What a run costs beside its time: time to accuracy, energy, memory, money, share of its card. Columns on request."""

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, TypeAdapter, ValidationError

from orchestrator.cell import quality
from orchestrator.cell.contract import Status
from orchestrator.cell.strict import complaint
from orchestrator.compare.limits import share_of_peak
from orchestrator.errors import MatrixError
from orchestrator.report.fields import Entry, duration
from orchestrator.results.rows import Row
from orchestrator.system import yaml_files
from orchestrator.system.words import nearest

if TYPE_CHECKING:
    import pyarrow as pa

Prices = Mapping[str, float]
"""Price per hour by GPU model, as in matrix.yaml; ``none`` is a machine without a GPU."""

PRICES = TypeAdapter(dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]])

Of = Callable[[Row, Prices], float | None]


@dataclass(frozen=True)
class Cost:
    """A column: its heading, what it says of a row, and how a number is written.

    For programs it is a number of ``unit``, ``factor`` times what is said of a row.
    """

    heading: str
    of: Of
    written: Callable[[float], str]
    unit: str = ""
    factor: float = 1.0

    def entry(self, rows: Sequence[Row], prices: Prices) -> Entry:
        """Return the median over the rounds that ended ok; empty if none has a value."""
        told = [self.of(row, prices) for row in rows if row["status"] == Status.OK]
        known = [value for value in told if value is not None]
        if not known:
            return Entry()
        middle = statistics.median(known)
        return Entry(self.written(middle), value=middle * self.factor, unit=self.unit)


def energy(row: Row, prices: Prices) -> float | None:
    """Return the GPUs' joules per 1,000 processed samples; None if unknown."""
    processed = (row["epochs"] or 0) * (row["samples"] or 0)
    return 1000 * row["energy"] / processed if row["energy"] is not None and processed else None


def memory(row: Row, prices: Prices) -> float | None:
    """Most bytes in use: of the cards, else of the container, else of the process."""
    names = ("gpu_peak_memory", "container_memory", "peak_memory")
    return next((float(row[name]) for name in names if row[name] is not None), None)


def price(row: Row, prices: Prices) -> float | None:
    """Price of the measured time, for all of its cards."""
    hour = prices.get(row["gpu"])
    if hour is None or row["seconds"] is None:
        return None
    seconds = row["wall_seconds"] if row["workload"] == "resnet50" else row["seconds"]  # its seconds are those of 1,000
    return hour * max(row["n_gpus"] or 1, 1) * seconds / 3600 if seconds is not None else None


def time_to_accuracy(row: Row, prices: Prices) -> float | None:
    """Seconds until the accuracy had reached the lower end of its band, in whole epochs; None if it never did."""
    band = quality.band_of(row["workload"], row["data"], row["workers"] or 1)
    seconds, reached = row["epoch_seconds"], row["epoch_qualities"]
    if not (band and reached and row["seconds"] is not None):
        return None
    last = next((place for place, value in enumerate(reached) if value >= band["low"]), None)
    return None if last is None else float(row["seconds"]) - sum(seconds[last + 1 :])


COSTS: Mapping[str, Cost] = {
    "accuracy": Cost("to accuracy", time_to_accuracy, duration, "s"),
    "peak": Cost("of its peak", lambda row, prices: share_of_peak(row), lambda value: f"{100 * value:.2g} %", "%", 100),
    "energy": Cost("J per 1,000", energy, lambda value: f"{value:,.0f} J" if value >= 10 else f"{value:.2g} J", "J"),
    "memory": Cost("memory", memory, lambda value: f"{value / 1e9:,.2f} GB", "GB", 1e-9),
    "price": Cost("price", price, lambda value: f"{value:.3g}"),
}


def read_prices(path: Path) -> Prices:
    """A file with the price of an hour for each model, ``v100: 3.06``, in whatever currency. Raises MatrixError."""
    content, _ = yaml_files.read(
        path, "List GPU models with their price per hour, such as 'v100: 3.06'; 'none' for CPUs."
    )
    try:
        return PRICES.validate_python(content or {})
    except ValidationError as error:
        what = f"{path} is not a list of prices: {complaint(error, 'the whole file')}."
        raise MatrixError(what, remedy="Write one line per model: 'v100: 3.06'.") from None


def unpriced(results: "pa.Table", prices: Prices, path: Path) -> Iterator[str]:
    """Yield a note on each GPU model that has times but no price, and the nearest name that has one."""
    columns = (results[name].to_pylist() for name in ("gpu", "status", "parity"))
    timed = {gpu for gpu, status, parity in zip(*columns, strict=True) if status == Status.OK and parity is None}
    for gpu in sorted(timed - prices.keys()):
        card = "CPUs ('none')" if gpu == "none" else f"'{gpu}'"
        near = nearest(gpu, prices)
        yield f"{path} has no price for {card}" + (f"; is it '{near}' there?" if near else ", so none is shown")
