"""Check the given weights: no cell starts unless the harness makes those that params.json declares."""

import runpy
from collections.abc import Iterable
from types import SimpleNamespace

from orchestrator.cell.cell import Cell
from orchestrator.cell.parameters import parameters
from orchestrator.errors import DataError
from orchestrator.system import library_folders


def check(cells: Iterable[Cell]) -> None:
    """Raise DataError if the given weights of one of the cells differ in shape or checksum from those declared."""
    workloads = sorted({cell.workload for cell in cells if are_given_to(cell)})
    if not workloads:  # most runs: the harness imports NumPy, for a fifth of a second
        return
    given = runpy.run_path(str(library_folders.PROGRAM.workloads / "harness" / "weights.py"))["given"]
    for workload in workloads:
        try:
            given(workload, SimpleNamespace(**parameters()[workload]))
        except SystemExit as error:
            raise DataError(
                f"The given weights of {workload} are not those that every library was compared with.",
                f"{str(error)[:1].upper()}{str(error)[1:]}.",
                "Restore workloads/params.json and workloads/harness/weights.py; if the network was changed on purpose,"
                " declare its weights_sha256.",
            ) from None


def are_given_to(cell: Cell) -> bool:
    """Return whether a cell starts from given weights: a comparison does, and a workload whose features must agree."""
    features = "agreement" in parameters().get(cell.workload, {})
    return cell.parity or (features and cell.variant != "pretrained")
