"""What rounds of a measurement say: median, spread, interval, and whether to rank it. ``evidence.py`` compares two.

All times in seconds. Nothing here draws at random or takes noise to be of some shape: what holds, holds for any.
"""

import json
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from orchestrator.cell.parameters import is_checked
from orchestrator.cell.workloads import ranks_synthetic
from orchestrator.compare import cores_used

if TYPE_CHECKING:
    import numpy as np

    Numbers = Sequence[float] | np.ndarray[Any, np.dtype[Any]]

CONFIDENCE = 0.95
"""Confidence of intervals; the rest is how often, over a whole table, equal libraries may be called different."""

NOISY = 0.10
"""Relative spread above which rounds are too far apart to rank."""

ENOUGH = 4
"""Fewest rounds that can tell anything: with three on each side, no order of them is rarer than one in ten."""

LOADED = 1.25
"""Load per core above which a machine is too busy to measure on: a cell alone makes 1."""


class Doubt(StrEnum):
    """Why a time is shown, but not ranked."""

    SYNTHETIC = "synthetic"
    SHORTENED = "shortened"
    THROTTLED = "throttled"
    SHARED = "shared"
    NOISY = "noisy"
    LOADED = "loaded"
    CORES = "cores"
    UNPROVED = "unproved"


def median(values: "Numbers") -> float:
    """The median; raises ValueError without values."""
    import numpy as np

    if not len(values):
        raise ValueError("no values")
    return float(np.median(values))


def spread(values: "Numbers") -> float | None:
    """Return the width of the middle half of the values, as a share of the median; None for fewer than two.

    Quartiles, so that further rounds outvote one that was disturbed; the range would only ever grow. Fewer than
    ``ENOUGH`` values have no quartiles to speak of: of these it is the range.
    """
    import numpy as np

    if len(values) < 2:
        return None
    ends = (25, 50, 75) if len(values) >= ENOUGH else (0, 50, 100)
    low, middle, high = np.percentile(values, ends)
    return float((high - low) / middle) if middle else None


def interval(values: "Numbers") -> tuple[float, float] | None:
    """Return the ``CONFIDENCE`` interval of the median; None for fewer than the six values that it takes.

    Two of the values themselves, the k-th from either end: the median lies outside with the chance that of n throws of
    a coin fewer than k are heads, whatever the noise looks like (Thompson 1936; Conover, Practical Nonparametric
    Statistics, section 3.2).
    """
    ordered, rank = sorted(values), lowest_rank(len(values))
    return (float(ordered[rank - 1]), float(ordered[-rank])) if rank else None


def lowest_rank(count: int) -> int:
    """Return the largest k for which the k-th values from both ends enclose the median surely enough; else 0."""
    rank, outside = 0, 0.0
    while rank < count // 2:
        outside += 2 * math.comb(count, rank) / 2**count
        if outside > 1 - CONFIDENCE:
            break
        rank += 1
    return rank


# --- Which rows are ranked ------------------------------------------------------------------------------------------
def doubts(rows: Sequence[Mapping[str, Any]]) -> tuple[Doubt, ...]:
    """Why the rounds of one field, rows of the schema, are not ranked; empty if they are.

    Synthetic data is a doubt except where it was published as a column of its own.
    """
    synthetic = any(row["data"] != "real" and not ranks_synthetic(row["workload"]) for row in rows)
    shortened = any(row["shortened"] for row in rows)
    found = {
        Doubt.SYNTHETIC: synthetic,
        Doubt.SHORTENED: shortened,
        Doubt.THROTTLED: any(slowed_by(row) for row in rows),
        Doubt.SHARED: any(row.get("gpu_others") for row in rows),
        Doubt.LOADED: any(was_loaded(row) for row in rows),
        Doubt.CORES: any(uses_cores_otherwise(row) for row in rows),
        Doubt.NOISY: (spread([row["seconds"] for row in rows if row["seconds"] is not None]) or 0) > NOISY,
        Doubt.UNPROVED: not synthetic and not shortened and not all(is_proved(row) for row in rows),
    }
    return tuple(doubt for doubt, holds in found.items() if holds)


def slowed_by(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return why a run's GPUs were throttled at its start, middle or end, as their driver says: heat, power.

    A baseline of others may say anything there: what is not in the declared form says nothing.
    """
    moments = ("gpus_before", "gpus_during", "gpus_after")
    try:
        states = [state for moment in moments for state in json.loads(row.get(moment) or "[]")]
        return tuple(sorted({reason for state in states for reason in state.get("throttled") or ()}))
    except (ValueError, TypeError, AttributeError, RecursionError):
        return ()


def is_proved(row: Mapping[str, Any]) -> bool:
    """Whether a run's row records parity of the same script, image and platform, and what it showed of itself."""
    shown = bool(row.get("checks")) or not is_checked(row["workload"])
    return shown and str(row.get("proof") or "").startswith("parity")


def agree(row: Mapping[str, Any], other: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Whether two rows have the same in these columns; what one of them does not tell, may be."""
    return all(None in (row[name], other[name]) or row[name] == other[name] for name in names)


def was_loaded(row: Mapping[str, Any]) -> bool:
    """Whether the machine was overloaded before or after a run without GPU."""
    loads = (row.get("load_before"), row.get("load_after"))
    return row["gpu"] == "none" and any(load is not None and load > LOADED for load in loads)


def uses_cores_otherwise(row: Mapping[str, Any]) -> bool:
    """Whether a run without GPU used more or less of its cores than its library does on a quiet machine."""
    used, band = row.get("cpu_used"), cores_used.band(row)
    return used is not None and band is not None and not band[0] <= used <= band[1]
