"""The share of its cores that each library uses on a quiet machine, as measured: cpu-used.csv."""

import csv
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("cpu-used.csv")

FURTHER = 0.25
"""How far a run's use may be from the measured one, as a share of its cores, before something else is wrong."""


@cache
def measured() -> Mapping[tuple[str, str, int], float]:
    """The share by library, workload and number of cores: processor time ÷ (seconds × cores)."""
    with FILE.open(newline="") as file:
        lines = list(csv.DictReader(file))
    return {(line["library"], line["workload"], int(line["cores"])): float(line["cpu_used"]) for line in lines}


def band(row: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the range of shares usual for a row's library; None if nobody has measured it on so many cores.

    A shortened run compiles for a larger part of its time, so only full ones have a band.
    """
    used = measured().get((row["library"], row["workload"], row["cores"] or 0))
    usual = row["precision"] == "fp32" and row["variant"] == "reference" and not row["shortened"]
    return (used - FURTHER, used + FURTHER) if usual and used is not None else None
