"""Baselines for installations that are not ours: our own rows of this machine, published ones, or 2018."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.cell.cell import OWN
from orchestrator.cell.contract import Status
from orchestrator.compare import comparison, installations, published_2018
from orchestrator.compare.causes import Row
from orchestrator.compare.comparison import Baseline, Finder, Question
from orchestrator.compare.noise import median
from orchestrator.system.terminal import quoted

if TYPE_CHECKING:
    import pyarrow as pa

SAME = ("library", "workload", "precision", "variant", "data", "epochs", "samples", "shortened", "workers", "start")
"""Columns that must agree for a row of ours to be a baseline; the platform is what one wants to know."""

CARDS_2018 = ("k80", "p100", "v100")

MACHINE = ("cpu", "cores", "gpu_name")

MADE_BY = ("cell", "engine", "recipe", "base")
"""What the rounds of one cell have in common; their keys differ, as each round's says which round it is."""


@dataclass(frozen=True)
class Source:
    """Rows of ours, and their name; ``anywhere`` includes those of other machines, which the user asked for."""

    name: str
    rows: Sequence[Row]
    anywhere: bool = False


def source_of(name: str, results: "pa.Table", anywhere: bool = False) -> Source:
    """The rows of some results that can be a baseline, in the order in which they ran: timed, and of our own images."""
    rows = results.sort_by("started").drop_columns("started").to_pylist()
    return Source(name, [row for row in rows if is_ours(row)], anywhere)


def is_ours(row: Row) -> bool:
    """Whether a row is of an image or environment of ours, and has a time. A file of others may say anything."""
    timed = row["status"] == Status.OK and row["parity"] is None and 0 < (row["seconds"] or 0) < math.inf
    return timed and row["platform"] != OWN


def baselines(sources: Sequence[Source], cards: Sequence[str] = ()) -> Finder:
    """Return the function that finds an installation's baseline in the first source that has one, else in 2018.

    ``cards`` are the models of this machine's GPUs: an installation that uses none of them although they are there is
    compared with what ours does on them.
    """

    def find(question: Question, rows: Sequence[Row]) -> Baseline | str:
        row = rows[-1]
        gpus = [row["gpu"]] if row["gpu"] != "none" else [*cards, "none"]
        for gpu in gpus:
            for source in sources:
                chosen = fastest(like(row, gpu, source))
                if chosen:
                    seconds = [theirs["seconds"] for theirs in chosen]
                    return Baseline(seconds, f"{source.name}: {chosen[-1]['cell']}", chosen[-1])
            on_card = (question[0], max(1, question[1]), *question[2:]) if gpu != "none" else question
            found = comparison.published(on_card, [{**theirs, "gpu": gpu} for theirs in rows])
            if isinstance(found, Baseline):
                return found
        names = " or ".join(dict.fromkeys(source.name for source in sources)) or "no results"
        measuring = quoted("rosetta", "run", "--only", f"{row['library']}/{row['workload']}/*")
        return f"no row of ours for this machine in {names}: make one with {measuring} and the same options"

    return find


def like(row: Row, gpu: str, source: Source) -> list[Row]:
    """The rows of a source that answer the same question on a GPU, or on none."""
    found = [theirs for theirs in source.rows if theirs["gpu"] == gpu and all(theirs[n] == row[n] for n in SAME)]
    if source.anywhere:
        return found
    if gpu != "none":  # the card decides; a row of this machine without one has no name for it
        return [theirs for theirs in found if row["gpu"] == "none" or theirs["gpu_name"] == row["gpu_name"]]
    return [theirs for theirs in found if (theirs["cpu"], theirs["cores"]) == (row["cpu"], row["cores"])]


def fastest(rows: Iterable[Row]) -> list[Row]:
    """Return the rounds of the cell and machine with the smallest median: what is possible is the goal.

    ``rows`` in the order in which they ran; of a round that ran again, the newest counts.
    """
    groups: dict[tuple[Any, ...], dict[int, Row]] = defaultdict(dict)
    for row in rows:
        rounds = groups[tuple(row[name] for name in (*MADE_BY, *MACHINE))]
        rounds.pop(row["repeat"], None)  # so that all stand in the order in which they ran
        rounds[row["repeat"]] = row
    every = [list(rounds.values()) for rounds in groups.values()]
    return min(every, key=lambda rounds: median([row["seconds"] for row in rounds]), default=[])


def beside(results: "pa.Table") -> Iterator[str]:
    """Yield the figures of 2018 for the same workloads, whatever the card: a line for each library and workload."""
    seen: set[tuple[str, str]] = set()
    for row in results.select(["library", "variant", "workload", "data", "shortened", "parity"]).to_pylist():
        known = (row["library"], row["workload"])
        if row["parity"] is not None or row["shortened"] or known in seen:
            continue
        seen.add(known)
        asked = row["library"], row["variant"], row["workload"]
        every = (published_2018.figure_for(*asked, gpu, 1, row["data"]) for gpu in CARDS_2018)
        figures = [figure for figure in every if figure]
        if figures:
            shown = ", ".join(f"{figure.shown} on a {figure.gpu.upper()}" for figure in figures)
            yield f"2018, {row['library']} {row['workload']}: {shown}"


def warnings(results: "pa.Table") -> Iterator[str]:
    """Yield what makes an installation slow, even if there was no time to compare it with."""
    for row in results.drop_columns("started").to_pylist():
        if row["platform"] == OWN and row["parity"] is None:
            for rule in installations.RULES:
                found = rule(row, {})
                if found:
                    yield found
