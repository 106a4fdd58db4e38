"""Which rows of some results a report shows, and in which column each stands."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.compare import published_2018
from orchestrator.compare.noise import SYNTHETIC_TOO
from orchestrator.images.definitions import library_index
from orchestrator.results.rows import Row
from orchestrator.system.gpus import rank_of, title_of

if TYPE_CHECKING:
    import pyarrow as pa

Machine = tuple[str, int] | None
"""CPU and cores, which is what makes a time comparable; None for runs that ended before they could tell."""


@dataclass(frozen=True, order=True)
class Column:
    """What a column stands for, in the order in which they stand: those of 2018 have the ``year``, and come last."""

    year: str
    platform: tuple[str, int]
    gpu: tuple[int, str]
    data: str
    n_gpus: int
    machine: str = field(default="")

    def heading(self) -> tuple[str, ...]:
        """Its lines: ("CPU",) or ("CUDA 9", "4 × V100", "A"), ("2018, CUDA 8", "K80")."""
        card = gpu_title(self.gpu[1])
        platform = ", ".join(filter(None, (self.year, platform_title(self.platform))))
        cards = f"{self.n_gpus} × {card}" if self.n_gpus > 1 else card
        return tuple(filter(None, (platform, cards, self.data, self.machine)))

    def name(self) -> str:
        """The heading within a sentence."""
        return " ".join(self.heading())


def records(results: "pa.Table", columns: Sequence[str]) -> list[Row]:
    """Some columns row by row; times as numbers: for anything else Arrow would import pandas, for half a second."""
    import pyarrow as pa

    table = results.select(list(columns))
    index = table.schema.get_field_index("started")
    records: list[Row] = table.set_column(index, "started", table["started"].cast(pa.int64())).to_pylist()
    return records


def newest(rows: Iterable[Row]) -> list[Row]:
    """The newest answer to each question: a cell that was run again, say after a change of its script, counts once."""
    question = ("cell", "repeat", "data", "epochs", "samples", "machine")
    answers = {(row.get("n_gpus") or 1, *(row[name] for name in question)): row for row in sorted(rows, key=started)}
    return list(answers.values())


def started(row: Row) -> int:
    """When a run began, before everything else if nobody knows."""
    return row["started"] or 0


def with_machines(rows: Sequence[Row]) -> list[Row]:
    """The rows, each with its ``machine``.

    A run that failed early knows only its host's name: it was on the machine that other runs there name, or on the
    only one there is.
    """
    known = {(row["cpu"], row["cores"]) for row in rows if row["cpu"]}
    hosts = {row["host"]: (row["cpu"], row["cores"]) for row in rows if row["cpu"] and row["host"]}
    only = next(iter(known)) if len(known) == 1 else None
    return [
        {**row, "machine": (row["cpu"], row["cores"]) if row["cpu"] else hosts.get(row["host"], only)} for row in rows
    ]


def column_of(row: Row, machine: str = "") -> Column:
    """The column of a row."""
    word, digits = re.fullmatch(r"(.*?)(\d*)", row["platform"], re.DOTALL).groups()  # type: ignore[union-attr]
    platform = word if word != "cpu" else "", int(digits or 0)
    data = row["data"] if row["workload"] in SYNTHETIC_TOO and row["data"] != "real" else ""
    return Column("", platform, gpu_rank(row["gpu"]), data, max(row["n_gpus"] or 1, row["workers"] or 1), machine)


def gpu_rank(gpu: str) -> tuple[int, str]:
    """A GPU and where it stands among the others, oldest first."""
    return -1 if gpu == "none" else rank_of(gpu), gpu


def platform_title(platform: tuple[str, int]) -> str:
    """("", 0) → "CPU", ("cuda", 9) → "CUDA 9"."""
    word, version = platform
    return f"{word.upper() or 'CPU'} {version or ''}".strip()


def gpu_title(gpu: str) -> str:
    """A short name as people write it; empty without a GPU."""
    return "" if gpu == "none" else title_of(gpu)


def library_titles() -> dict[str, str]:
    """How the tables call each library: as images/ says, else as published."""
    index = library_index()
    return {**published_2018.LIBRARIES, **{name: framework.libraries[name].title for name, framework in index.items()}}


def library_title(row: Row, titles: Mapping[str, str]) -> str:
    """What stands at the left: the library, and precision and variant where they are not the usual ones."""
    usual = (("precision", "fp32"), ("variant", "reference"))
    return ", ".join([titles.get(row["library"], row["library"]), *(row[a] for a, value in usual if row[a] != value)])
