"""The published tables' form: library × GPU and CUDA, time beside quality, every doubt marked."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator.cell.contract import Status
from orchestrator.compare import published_2018
from orchestrator.compare.noise import SYNTHETIC_TOO
from orchestrator.compare.published_2018 import Edition, Figure
from orchestrator.report.fields import ABSENT, Entry, distance, entry, figure_entry, with_fastest
from orchestrator.report.notes import Note, caveats, failures, left_out, legend, reasons
from orchestrator.report.rows import (
    Column,
    Machine,
    column_of,
    gpu_rank,
    library_title,
    library_titles,
    newest,
    records,
    with_machines,
)
from orchestrator.results.rows import Row
from orchestrator.system.terminal import plain

if TYPE_CHECKING:
    import pyarrow as pa

TITLES = {
    "cnn": "CNN on CIFAR-10: seconds to train, test accuracy",
    "rnn": "GRU on IMDB: seconds to train, test accuracy",
    "resnet50": "ResNet-50: seconds per 1,000 images, agreement of the features",
    "densenet121": "DenseNet-121 on ChestX-ray14: seconds to train, mean AUC",
}

COLUMNS = (
    "cell", "repeat", "library", "workload", "platform", "gpu", "precision", "variant", "data", "status", "reason",
    "seconds", "quality", "parity", "epochs", "samples", "shortened", "n_gpus", "workers", "engine", "host", "cpu",
    "cores", "gpus_before", "gpus_during", "gpus_after", "gpu_others", "started", "run",
)  # fmt: skip
"""What of a row the tables show."""

Published = Mapping[tuple[str, Column], Figure]
"""The figures of 2018 by the library's title and the column."""


@dataclass(frozen=True)
class Table:
    """One workload: title, machines, column headings (in lines), the entries of each library, notes."""

    workload: str
    title: str
    machines: Sequence[str]
    columns: Sequence[tuple[str, ...]]
    rows: Mapping[str, Sequence[Entry]]
    notes: Sequence[Note]


def tables(
    results: "pa.Table", titles: Mapping[str, str] | None = None, published: bool = False
) -> tuple[list[Table], list[Note]]:
    """The tables of some results, one per workload, in the order in which they were published; and their marks' legend.

    ``titles`` says how to call each library; by default as images/ says, else as published. With ``published`` it is
    all four tables of 2018, and the figures of then have columns of their own beside runs of the published length.
    """
    titles = library_titles() if titles is None else titles
    rows = [{key: plain(value) for key, value in row.items()} for row in records(results, COLUMNS)]
    rows = [row for row in rows if row["parity"] is None]  # compared with the reference, not measured
    workloads: dict[str, list[Row]] = defaultdict(list, {name: [] for name in (TITLES if published else ())})
    for row in with_machines([{**row, "title": library_title(row, titles)} for row in rows]):
        workloads[row["workload"]].append(row)
    known = list(TITLES)
    order = sorted(workloads, key=lambda name: (known.index(name) if name in TITLES else len(known), name))
    every = [table(name, workloads[name], published_fields(name, titles) if published else {}) for name in order]
    return every, list(legend(field for each in every for fields in each.rows.values() for field in fields))


def table(workload: str, rows: Sequence[Row], published: Published) -> Table:
    """One workload's table. Columns in which nothing could run are left out and named in a note.

    The ``published`` figures are left out where everything that ran was shorter.
    """
    ran = newest(row for row in rows if row["status"] != Status.INCOMPATIBLE)
    absent = [row for row in rows if row["status"] == Status.INCOMPATIBLE]
    letters = letters_of({row["machine"] for row in ran})
    fields = defaultdict(list)
    for row in ran:
        fields[row["title"], column_of(row, letters[row["machine"]])].append(row)
    columns = sorted({column for _, column in fields})
    shown = {replace(column, machine="") for column in columns}
    here = [row for row in absent if column_of(row) in shown]
    missing = {(row["title"], column_of(row)) for row in here}
    if ran and all(distance(row) for row in ran):
        published = {}
    libraries = sorted({title for title, _ in {*fields, *missing, *published}}, key=str.casefold)
    measured = {
        title: [entry(fields[title, column], (title, replace(column, machine="")) in missing) for column in columns]
        for title in libraries
    }
    columns_2018 = sorted({column for _, column in published})
    lines = {
        title: [*entries, *(figure_entry(published.get((title, column))) for column in columns_2018)]
        for title, entries in with_fastest(measured).items()
    }
    elsewhere = [row for row in absent if column_of(row) not in shown]
    return with_derived(
        workload,
        Table(
            workload,
            TITLES.get(workload, workload),
            [f"{letter}: {describe(machine)}".removeprefix(": ") for machine, letter in letters.items() if machine],
            [column.heading() for column in (*columns, *columns_2018)],
            lines,
            [
                *failures(ran, say_where=len(columns) > 1),
                *reasons(here),
                *left_out(elsewhere, "left out, nothing runs there" if columns else "nothing has run"),
                *caveats(published),
            ],
        ),
        columns,
    )


def letters_of(machines: Iterable[Machine]) -> dict[Machine, str]:
    """A letter for each machine; none where there is only one."""
    every = sorted(machines, key=lambda machine: (machine is None, machine or ("", 0)))
    return {machine: chr(ord("A") + index % 26) if len(every) > 1 else "" for index, machine in enumerate(every)}


def describe(machine: Machine) -> str:
    """A machine for a person."""
    cpu, cores = machine or ("unknown machine", 0)
    return re.sub(r"\((R|TM)\)", "", cpu) + (f", {cores} core{'s' if cores != 1 else ''}" if cores else "")


# --- What was published in 2018 -------------------------------------------------------------------------------------
def published_tables(edition: Edition, titles: Mapping[str, str] | None = None) -> list[Table]:
    """The four tables of a README of 2018, as they stood there: same rows, same columns, their doubts marked."""
    titles = library_titles() if titles is None else titles
    return [published_table(workload, edition, titles) for workload in TITLES]


def published_table(workload: str, edition: Edition, titles: Mapping[str, str]) -> Table:
    """One of them; the GRU's says which libraries used cuDNN's."""
    figures, columns = edition.figures(workload), edition.columns[workload]
    shown = [published_column(figures.values(), column) for column in columns]
    lines = {
        titles[library]: [figure_entry(figures.get((library, column)), ABSENT) for column in columns]
        for library in edition.rows[workload]
    }
    fields = {(titles[library], published_column(figures.values(), c)): f for (library, c), f in figures.items()}
    made = Table(workload, TITLES[workload], [], [column.heading() for column in shown], lines, list(caveats(fields)))
    if workload != "rnn":
        return with_derived(workload, made, shown)
    used = {titles[figure.library]: figure.cudnn_rnn for figure in figures.values()}
    rows = {title: [*entries, Entry(used.get(title, ABSENT))] for title, entries in lines.items()}
    return replace(made, columns=[*made.columns, ("cuDNN's", "GRU")], rows=rows)


def published_fields(workload: str, titles: Mapping[str, str]) -> Published:
    """What was last printed for each library and column, by the library's title."""
    figures = published_2018.latest(workload) if workload in TITLES else {}
    return {
        (titles.get(library, library), published_column(figures.values(), column)): figure
        for (library, column), figure in figures.items()
    }


def published_column(figures: Iterable[Figure], column: published_2018.Column) -> Column:
    """A published column among those of the tables; its CUDA is that of its figures."""
    same = [f for f in figures if (f.gpu, f.n_gpus, f.data) == (column.gpu, column.n_gpus, column.data)]
    return Column(
        "2018",
        ("cuda", int(same[0].cuda.partition(".")[0])),
        gpu_rank(column.gpu),
        "" if column.data == "real" else column.data,
        column.n_gpus,
    )


# --- What follows from several fields -------------------------------------------------------------------------------
def with_derived(workload: str, table: Table, columns: Sequence[Column]) -> Table:
    """The table with what its first ``columns`` tell together: how long libraries wait for input, how well they scale.

    That is asked of the workload whose synthetic data was published; of the others nothing is added.
    """
    if workload not in SYNTHETIC_TOO:
        return table
    lags = [
        (c, replace(c, data="synthetic")) for c in columns if replace(c, data="synthetic") in columns and not c.data
    ]
    gains = [(replace(c, n_gpus=1), c) for c in columns if c.n_gpus > 1 and replace(c, n_gpus=1) in columns]
    if not lags and not gains:
        return table
    place = {column: index for index, column in enumerate(columns)}
    rows = {
        title: [
            *entries,
            *(input_lag(entries[place[real]], entries[place[fake]]) for real, fake in lags),
            *(scaling(entries[place[one]], entries[place[many]], many.n_gpus) for one, many in gains),
        ]
        for title, entries in table.rows.items()
    }
    headings = [(*real.heading(), "input lag") for real, _ in lags]
    headings += [(*many.heading(), "speed-up") for _, many in gains]
    return replace(table, columns=[*table.columns, *headings], rows=rows)


def input_lag(real: Entry, synthetic: Entry) -> Entry:
    """How much longer real data takes than data that is in memory already, and which share of the time that is."""
    if real.seconds is None or synthetic.seconds is None:
        return Entry()
    lag = real.seconds - synthetic.seconds
    return Entry(f"{lag:,.0f} s, {100 * lag / real.seconds:.0f} %", marks=both(real, synthetic))


def scaling(one: Entry, many: Entry, n_gpus: int) -> Entry:
    """How many times as fast several GPUs are as one, and which share of the ideal that is."""
    if one.seconds is None or many.seconds is None:
        return Entry()
    gain = one.seconds / many.seconds
    return Entry(f"{gain:.2f} ×, {100 * gain / n_gpus:.0f} %", marks=both(one, many))


def both(a: Entry, b: Entry) -> str:
    """The marks of two fields of which a third is made."""
    return "".join(dict.fromkeys(a.marks + b.marks))
