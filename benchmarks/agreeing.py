"""Rows for benchmarks and tests whose numbers agree with each other, as those of real runs do."""

import json
from collections.abc import Mapping
from typing import Any

from orchestrator.cell import quality
from orchestrator.cell.arithmetic import SYNTHETIC_TEST_SET, TEST_SETS
from orchestrator.cell.parameters import is_checked, parameters
from orchestrator.cell.workloads import trains
from orchestrator.results.schema import PHASES


def checks_of(workload: str) -> str | None:
    """What an honest run shows of itself; None for one that is not checked."""
    if not is_checked(workload):
        return None
    dropout = parameters()[workload].get("dropout")
    return json.dumps({"steps_watched": 8, "steps_moved": 8, "scores": 0.0, "dropout": dropout})


def agreeing(row: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """The row, changed, as one that ended ok: with the steps, test set, times and quality that follow from the rest."""
    made = {"seconds": 1.0, **{name: value for name, value in row.items() if value is not None}, **changes}
    workload, epochs, samples = made["workload"], made["epochs"], made["samples"]
    workers = made.get("workers") or made.get("n_gpus") or 1
    known, seconds = parameters()[workload], made["seconds"]
    batch = min(known["batch_size"] * workers, samples)
    whole = TEST_SETS.get(known["dataset"], batch) if made["data"] == "real" else SYNTHETIC_TEST_SET
    band = quality.band_of(workload, made["data"], workers)
    each = seconds / epochs if trains(workload) else seconds * samples / 1000
    follows = {
        "status": "ok",
        "steps": samples * epochs // batch,
        "samples_tested": min(whole // batch * batch, samples) if trains(workload) else min(8, samples),
        "metric": known["metric"],
        "quality": (band["low"] + band["high"]) / 2 if band else 0.9,
        "seconds": seconds,
        "seconds_warm": seconds,
        "epoch_seconds": [each] * epochs,
        "epoch_losses": [1 / number for number in range(1, epochs + 1)] if trains(workload) else [],
        "checks": checks_of(workload),
        "wall_seconds": max(made.get("wall_seconds") or 0.0, 2 * each * epochs),
        "shortened": made.get("shortened", False) or quality.is_shorter(workload, (epochs, samples), workers),
        **{f"{phase}_seconds": None for phase in PHASES},
    }
    return {**row, **changes, **{name: value for name, value in follows.items() if name not in changes}}
