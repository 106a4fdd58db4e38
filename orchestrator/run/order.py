"""How long cells are likely to take, by the results so far, and the order that follows."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from orchestrator.cell import quality
from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Status
from orchestrator.errors import ResultError
from orchestrator.plan.verdicts import Planned
from orchestrator.results.files import read_results
from orchestrator.results.paths import ResultsFolder

Expected = Callable[[Cell], float | None]
"""The seconds from creating a cell's container to its end; None for a cell of which nothing is known."""

COLUMNS = ("cell", "data", "epochs", "samples", "parity", "status", "wall_seconds")
Question = tuple[str, str, int | None, int | None, bool]


def expected(folder: Path) -> Expected:
    """From the merged results of a folder: the median of the same cell's runs of the same length, any repeat.

    What can't be read is no history; whether results are sound is for others to say.
    """
    try:
        table = read_results(ResultsFolder(folder).merged).select(list(COLUMNS))
    except ResultError:
        return lambda cell: None
    times: dict[Question, list[float]] = defaultdict(list)
    for name, data, epochs, samples, parity, status, seconds in zip(
        *(table[c].to_pylist() for c in COLUMNS), strict=True
    ):
        if status in (Status.OK, Status.QUALITY) and seconds is not None:
            times[name, data, epochs, samples, parity is not None].append(seconds)
    medians = {question: statistics.median(values) for question, values in times.items()}
    return lambda cell: medians.get((cell.id, cell.data, *quality.asked(cell), cell.parity))


def in_order(ready: Sequence[Planned], expected: Expected) -> list[Planned]:
    """Rounds over the matrix, one for each repeat; in each the longest first, so that none of them ends a round alone.

    Cells of unknown length may be the longest; they come first, in the matrix's own order.
    """

    def rank(planned: Planned) -> tuple[int, float]:
        seconds = expected(planned.cell)
        return planned.cell.repeat, -(float("inf") if seconds is None else seconds)

    return sorted(ready, key=rank)
