"""What workloads/params.json says of each workload."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from orchestrator.cell.cell import Cell
from orchestrator.system.checkout import ROOT

WORKLOADS = ROOT / "workloads"


@cache
def parameters() -> Mapping[str, Mapping[str, Any]]:
    """workloads/params.json."""
    content: dict[str, dict[str, Any]] = json.loads((WORKLOADS / "params.json").read_text())
    return content


def dataset_of(cell: Cell) -> str | None:
    """The data set that a cell needs, or the weights; None if it makes its data itself."""
    known = parameters()[cell.workload]
    dataset: str | None = known["dataset"] if cell.data == "real" else None
    return known["pretrained"][cell.library] if cell.variant == "pretrained" else dataset
