"""The parameters of each workload, from workloads/params.json."""

import json
from collections.abc import Mapping
from typing import Any

from orchestrator.cell.cell import Cell
from orchestrator.system import library_folders
from orchestrator.system.library_folders import remembered


@remembered
def parameters() -> Mapping[str, Mapping[str, Any]]:
    """Return the content of workloads/params.json."""
    content: dict[str, dict[str, Any]] = json.loads(
        (library_folders.PROGRAM.workloads / "params.json").read_text(encoding="utf-8")
    )
    return content


def parameters_of(workload: str, variant: str) -> Mapping[str, Any]:
    """Return the parameters of a workload, with what a variant changes of them; see harness/arguments.py."""
    own = dict(parameters()[workload])
    changes = own.pop("variants", {}).get(variant, {})
    return {**own, **changes}


def changes_parameters_alone(workload: str, variant: str) -> bool:
    """Whether a variant of a workload has the reference's script."""
    return variant in parameters().get(workload, {}).get("variants", {})


def is_checked(workload: str) -> bool:
    """Whether the runs of a workload watch themselves: see Checks in contract.py."""
    return "scores" in parameters().get(workload, {})


def dataset_of(cell: Cell) -> str | None:
    """Return the data set, or the weights, that a cell needs; None if it makes its data itself."""
    known = parameters()[cell.workload]
    dataset: str | None = known["dataset"] if cell.data == "real" else None
    return known["pretrained"][cell.library] if cell.variant == "pretrained" else dataset
