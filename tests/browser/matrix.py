"""Rows of a whole matrix, for pages that have everything to show: 23 libraries on eight platforms and cards."""

from collections.abc import Iterator
from typing import Any

from benchmarks.agreeing import agreeing
from orchestrator.cell.cell import Cell
from orchestrator.cell.workloads import workloads
from orchestrator.compare import published_2018
from orchestrator.images.definitions import library_index
from orchestrator.results.rows import incompatible_row, unfilled_row

PLACES = (
    *(("cpu", "none"), ("cuda8", "k80"), ("cuda9", "p100"), ("cuda9", "v100")),
    *(("cuda11", "a100"), ("cuda12", "v100"), ("cuda12", "h200"), ("cuda13", "h200")),
)
LIBRARIES = sorted({*published_2018.LIBRARIES, *library_index()})[:23]
ROUNDS = 4
OTHER_MACHINE = {"cpu": "AMD EPYC 7763", "cores": 64, "host": "b"}


def rows(like: dict[str, Any], libraries: int = len(LIBRARIES)) -> Iterator[dict[str, Any]]:
    """The rows of the first ``libraries``; ``like`` is a real one, from which they take what they don't say."""
    for number, library in enumerate(LIBRARIES[:libraries]):
        for workload in workloads():
            for place, (platform, gpu) in enumerate(PLACES):
                yield from rounds(like, number, Cell(library, workload, platform, gpu), (number * 5 + place * 3) % 11)


def rounds(like: dict[str, Any], number: int, cell: Cell, kind: int) -> Iterator[dict[str, Any]]:
    """The rows of one cell: impossible, failed, short, of a single round, or of several; a few cells have none."""
    if kind in (0, 1, 2):
        yield incompatible_row(cell, f"no release supports {cell.platform}", "docker")
        return
    if kind == 3:
        return
    card = {"gpu_name": cell.gpu.upper(), "driver": "580.65"} if cell.gpu != "none" else {}
    machine = OTHER_MACHINE if cell.platform in ("cuda12", "cuda13") else {"host": "a"}
    own = {
        name: value
        for name, value in unfilled_row(cell).items()
        if value is not None and name not in ("status", "reason")
    }
    seconds = 30 * (1 + number % 7) / (1 + PLACES.index((cell.platform, cell.gpu)))
    for repeat in range(1 if kind in (4, 5) else ROUNDS):
        base = {**like, **own, **card, **machine, "repeat": repeat, "n_gpus": int(cell.gpu != "none"), "workers": 1}
        base |= {"run": f"{cell.id}-{repeat}", "proof": "parity of this script and image, run 1"}
        if kind == 4:
            base |= {"status": "failed", "reason": "exit code 1: CUDNN_STATUS_NOT_SUPPORTED", "quality": None}
            yield {
                **base,
                "seconds": None,
                "seconds_warm": None,
                "steps": None,
                "log_tail": "CUDNN_STATUS_NOT_SUPPORTED",
            }
        elif kind == 5:
            yield agreeing(base, seconds=seconds, epochs=1, samples=1280, data="synthetic", shortened=True)
        else:
            yield agreeing(base, seconds=seconds * (1 + repeat / 100))
