"""The published tables' form: library × GPU and CUDA, time beside quality, every doubt marked."""

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from orchestrator import images, reference
from orchestrator.compatibility import GPUS
from orchestrator.contract import Status
from orchestrator.reference import Edition, Figure
from orchestrator.statistics import ENOUGH, NOISY, SYNTHETIC_TOO, Doubt, compare, doubts

if TYPE_CHECKING:
    import pyarrow as pa

Row = Mapping[str, Any]
Machine = tuple[str, int] | None
"""CPU and cores, which is what makes a time comparable; None for runs that ended before they could tell."""

TITLES = {
    "cnn": "CNN on CIFAR-10: seconds to train, test accuracy",
    "rnn": "GRU on IMDB: seconds to train, test accuracy",
    "resnet50": "ResNet-50: seconds per 1,000 images, agreement of the features",
    "densenet121": "DenseNet-121 on ChestX-ray14: seconds to train, mean AUC",
}
SHORT, BARE, BAD, ABSENT = "†", "‡", "✗", "–"
SLOWED, UNSTEADY, DOUBTED = "§", "≈", "?"
MARKS = {Doubt.SHORTENED: SHORT, Doubt.SYNTHETIC: SHORT, Doubt.THROTTLED: SLOWED, Doubt.NOISY: UNSTEADY}
NOT_YET = "not implemented yet"

LONGEST_REASON = 160

COLUMNS = (
    "cell", "repeat", "library", "workload", "platform", "gpu", "precision", "variant", "data", "status", "reason",
    "seconds", "quality", "parity", "epochs", "samples", "shortened", "n_gpus", "workers", "engine", "host", "cpu",
    "cores", "gpus_before", "gpus_after", "started", "run",
)  # fmt: skip
"""What of a row the tables show."""


@dataclass(frozen=True)
class Entry:
    """One field of a table: a time (or a word instead) and its quality, marks, and the spread over repeats below.

    ``seconds`` is None where the field has no time; ``length`` says how much was trained on. ``rounds`` are the times
    to rank by, none where it is not ranked; ``runs`` are those behind it, the newest last.
    """

    time: str = ""
    quality: str = ""
    marks: str = ""
    spread: str = ""
    status: str = ""
    seconds: float | None = None
    length: str = ""
    rounds: tuple[float, ...] = ()
    runs: tuple[str, ...] = ()
    fastest: bool = False


@dataclass(frozen=True)
class Note:
    """A line below a table, behind its mark."""

    mark: str
    text: str


@dataclass(frozen=True)
class Table:
    """One workload: title, machines, column headings (in lines), the entries of each library, notes."""

    workload: str
    title: str
    machines: Sequence[str]
    columns: Sequence[tuple[str, ...]]
    rows: Mapping[str, Sequence[Entry]]
    notes: Sequence[Note]


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
    return every, list(legend(every))


def library_titles() -> dict[str, str]:
    """How the tables call each library: as images/ says, else as published."""
    index = images.library_index()
    return {**reference.LIBRARIES, **{name: framework.libraries[name].title for name, framework in index.items()}}


def table(workload: str, rows: Sequence[Row], published: "Published") -> Table:
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


# --- What was published in 2018 -------------------------------------------------------------------------------------
Published = Mapping[tuple[str, Column], Figure]


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
    figures = reference.latest(workload) if workload in TITLES else {}
    return {
        (titles.get(library, library), published_column(figures.values(), column)): figure
        for (library, column), figure in figures.items()
    }


def published_column(figures: Iterable[Figure], column: reference.Column) -> Column:
    """A published column among those of the tables; its CUDA is that of its figures."""
    same = [f for f in figures if (f.gpu, f.n_gpus, f.data) == (column.gpu, column.n_gpus, column.data)]
    return Column(
        "2018",
        ("cuda", int(same[0].cuda.partition(".")[0])),
        gpu_rank(column.gpu),
        "" if column.data == "real" else column.data,
        column.n_gpus,
    )


def figure_entry(figure: Figure | None, unknown: str = "") -> Entry:
    """A field of 2018: a single unseeded run, so never ranked."""
    if figure is None:
        return Entry(unknown)
    quality = "" if figure.quality is None else share(figure.quality)
    return Entry(figure.shown, quality, DOUBTED if figure.doubt else "", seconds=figure.seconds)


def caveats(published: Published) -> Iterator[Note]:
    """What speaks against figures of 2018, and which GRU is not cuDNN's."""
    places = defaultdict(list)
    for (title, column), figure in published.items():
        if figure.doubt:
            places[figure.doubt].append(f"{title} on {column.name()}")
    for doubt, names in places.items():
        yield Note(DOUBTED, f"{listed(names)}: {doubt}")
    other = {title for (title, _), figure in published.items() if figure.cudnn_rnn == "no"}
    if other:
        yield Note("2018", f"without cuDNN's GRU: {listed(other)}")


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


# --- Which rows stand in which field --------------------------------------------------------------------------------
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


def letters_of(machines: Iterable[Machine]) -> dict[Machine, str]:
    """A letter for each machine; none where there is only one."""
    every = sorted(machines, key=lambda machine: (machine is None, machine or ("", 0)))
    return {machine: chr(ord("A") + index % 26) if len(every) > 1 else "" for index, machine in enumerate(every)}


def describe(machine: Machine) -> str:
    """A machine for a person."""
    cpu, cores = machine or ("unknown machine", 0)
    return re.sub(r"\((R|TM)\)", "", cpu) + (f", {cores} core{'s' if cores != 1 else ''}" if cores else "")


def newest(rows: Iterable[Row]) -> list[Row]:
    """The newest answer to each question: a cell that was run again, say after a change of its script, counts once."""
    question = ("cell", "repeat", "data", "epochs", "samples", "machine")
    answers = {(row.get("n_gpus") or 1, *(row[name] for name in question)): row for row in sorted(rows, key=started)}
    return list(answers.values())


def records(results: "pa.Table", columns: Sequence[str]) -> list[Row]:
    """Some columns row by row; times as numbers: for anything else Arrow would import pandas, for half a second."""
    import pyarrow as pa

    table = results.select(list(columns))
    index = table.schema.get_field_index("started")
    records: list[Row] = table.set_column(index, "started", table["started"].cast(pa.int64())).to_pylist()
    return records


def started(row: Row) -> int:
    """When a run began, before everything else if nobody knows."""
    return row["started"] or 0


def column_of(row: Row, machine: str = "") -> Column:
    """The column of a row."""
    word, digits = re.fullmatch(r"(.*?)(\d*)", row["platform"], re.DOTALL).groups()  # type: ignore[union-attr]
    platform = word if word != "cpu" else "", int(digits or 0)
    data = row["data"] if row["workload"] in SYNTHETIC_TOO and row["data"] != "real" else ""
    return Column("", platform, gpu_rank(row["gpu"]), data, max(row["n_gpus"] or 1, row["workers"] or 1), machine)


def gpu_rank(gpu: str) -> tuple[int, str]:
    """A GPU and where it stands among the others, oldest first."""
    cards = list(GPUS)
    return -1 if gpu == "none" else cards.index(gpu) if gpu in cards else len(cards), gpu


def platform_title(platform: tuple[str, int]) -> str:
    """("", 0) → "CPU", ("cuda", 9) → "CUDA 9"."""
    word, version = platform
    return f"{word.upper() or 'CPU'} {version or ''}".strip()


def gpu_title(gpu: str) -> str:
    """A short name as people write it; empty without a GPU."""
    return "" if gpu == "none" else GPUS[gpu].title if gpu in GPUS else gpu.upper()


def library_title(row: Row, titles: Mapping[str, str]) -> str:
    """What stands at the left: the library, and precision and variant where they are not the usual ones."""
    usual = (("precision", "fp32"), ("variant", "reference"))
    return ", ".join([titles.get(row["library"], row["library"]), *(row[a] for a, value in usual if row[a] != value)])


# --- What stands in a field -----------------------------------------------------------------------------------------
def entry(rows: Sequence[Row], incompatible: bool) -> Entry:
    """A field: the median over repeats of one length, the most complete one that was run."""
    if not rows:
        return Entry(ABSENT, status=Status.INCOMPATIBLE) if incompatible else Entry()
    nearest = min(distance(row) for row in rows)
    rows = [row for row in rows if distance(row) == nearest]
    last = max(rows, key=started)
    rows = [row for row in rows if (row["epochs"], row["samples"]) == (last["epochs"], last["samples"])]
    good = [row for row in rows if row["status"] == Status.OK]
    if not good:
        return Entry(word(last["status"]), status=Status.FAILED, runs=(last["run"],))
    seconds = [row["seconds"] for row in good]
    found = doubts(good)
    bare = BARE if any(row["engine"] == "process" for row in good) else ""
    return Entry(
        duration(statistics.median(seconds)),
        share(statistics.median(row["quality"] for row in good)),
        "".join(dict.fromkeys(MARKS[doubt] for doubt in found)) + bare,
        spread(seconds, len(rows)) if len(rows) > 1 else "",
        Status.OK,
        statistics.median(seconds),
        length(last),
        () if found else tuple(seconds),
        tuple(row["run"] for row in sorted(good, key=started)),
    )


def distance(row: Row) -> int:
    """How far from the published run: 0 is as published, 1 shortened, 2 on synthetic data."""
    return 2 if Doubt.SYNTHETIC in doubts([row]) else int(row["shortened"])


def word(status: str) -> str:
    """A status instead of a time."""
    return "failed" if status == Status.FAILED else f"failed: {status.replace('_', ' ')}"


def spread(seconds: Sequence[float], runs: int) -> str:
    """The second line of a field: "28–31 s, n=3", or "n=2 of 3" where one has failed."""
    low, high = duration(min(seconds)), duration(max(seconds))
    of = f"n={len(seconds)}" + (f" of {runs}" if len(seconds) < runs else "")
    return f"{low.removesuffix(' s')}–{high}, {of}" if low != high else of


def duration(seconds: float) -> str:
    """Seconds with two digits at least."""
    digits = 0 if seconds >= 9.95 else 1 if seconds >= 0.995 else 2
    return f"{seconds:,.{digits}f} s"


def share(value: float) -> str:
    """A share as the literature writes it: .857."""
    return f"{value:.3f}".removeprefix("0")


def with_fastest(lines: Mapping[str, Sequence[Entry]]) -> dict[str, list[Entry]]:
    """The same with the fastest of each column marked, and what nobody can tell from it; doubtful times never are."""
    best: list[Entry | None] = []
    for column in zip(*lines.values(), strict=True):
        contest = [entry for entry in column if entry.rounds]
        best.append(min(contest, key=lambda entry: entry.seconds or 0) if len(contest) > 1 else None)
    return {
        title: [replace(entry, fastest=as_fast(entry, first)) for entry, first in zip(entries, best, strict=True)]
        for title, entries in lines.items()
    }


def as_fast(entry: Entry, first: Entry | None) -> bool:
    """Whether an entry is the fastest of its column, or has so many rounds that it would show if it were slower."""
    if first is None or entry is first:
        return first is not None
    enough = min(len(entry.rounds), len(first.rounds)) >= ENOUGH
    return enough and compare(entry.rounds, first.rounds).verdict == "undecided"


# --- What stands below ----------------------------------------------------------------------------------------------
def failures(ran: Sequence[Row], say_where: bool) -> Iterator[Note]:
    """The reasons of what did not end ok."""
    places = defaultdict(set)
    for row in ran:
        if row["status"] != Status.OK:
            where = f" on {column_of(row).name()}" if say_where else ""
            places[reason_of(row) or word(row["status"])].add(row["title"] + where)
    for reason, names in sorted(places.items()):
        yield Note(BAD, f"{listed(names)}: {reason}")


def reasons(absent: Sequence[Row]) -> Iterator[Note]:
    """Why fields of the shown columns are empty, each reason once."""
    groups = defaultdict(list)
    for row in absent:
        groups[reason_of(row)].append(row["title"])
    for reason, names in sorted(groups.items()):
        yield Note(ABSENT, f"{counted(reason, len(names))}: {listed(set(names))}")


def left_out(absent: Sequence[Row], why: str) -> Iterator[Note]:
    """The columns in which nothing could run, in one note, with both reasons, or the most frequent of many."""
    if not absent:
        return
    cards_of = defaultdict(list)
    for column in sorted({column_of(row) for row in absent}):
        cards_of[platform_title(column.platform)].append(gpu_title(column.gpu[1]))
    platforms_of = defaultdict(list)
    for platform, cards in cards_of.items():
        platforms_of[", ".join(filter(None, cards))].append(platform)
    names = [", ".join(platforms) + (f" ({cards})" if cards else "") for cards, platforms in platforms_of.items()]
    counts = Counter(reason_of(row) for row in absent)
    common = counts.most_common(1 if len(counts) > 2 else 2)
    others = counts.total() - sum(count for _, count in common)
    said = [counted(reason, count) for reason, count in common]
    said += [counted("other reasons, see 'rosetta plan'", others)] if others else []
    yield Note(ABSENT, f"{why}: {', '.join(names)}: {'; '.join(said)}")


def counted(what: str, count: int) -> str:
    """Something, and for how many cells it holds if for several."""
    return f"{what} ({count} cells)" if count > 1 else what


def listed(names: Iterable[str]) -> str:
    """Names as a list in a sentence."""
    return ", ".join(sorted(names, key=str.casefold))


LEGEND = {
    SLOWED: "heat or the power limit slowed the GPU down: not ranked",
    UNSTEADY: f"the rounds lie more than {100 * NOISY:.0f} % apart, from quartile to quartile: not ranked",
    BARE: "run without a container: the machine's own Python and system libraries, no isolation",
}


def legend(every: Sequence[Table]) -> Iterator[Note]:
    """What the marks mean that stand behind times."""
    marked = [entry for each in every for entries in each.rows.values() for entry in entries if entry.marks]
    lengths = sorted({entry.length for entry in marked if SHORT in entry.marks})
    if lengths:
        yield Note(
            SHORT,
            f"{'; '.join(lengths)}: shows that it works, ranks nothing. For the published length on real data: "
            "'rosetta data fetch', then 'rosetta run --profile full'",
        )
    for mark, text in LEGEND.items():
        if any(mark in entry.marks for entry in marked):
            yield Note(mark, text)


def length(row: Row) -> str:
    """How much was trained on: "2 epochs of 1,280 synthetic samples"."""
    epochs, samples = row["epochs"], row["samples"]
    kind = "samples" if row["data"] == "real" else f"{row['data']} samples"
    amount = f"{samples:,} {kind}" if samples is not None else kind
    return f"{epochs} epoch{'s' if epochs != 1 else ''} of {amount}" if epochs is not None else amount


def reason_of(row: Row) -> str:
    """The first line of a reason, without what differs from cell to cell."""
    reason = next(iter(row["reason"].splitlines()), "")
    if reason.startswith(NOT_YET):
        return NOT_YET
    return reason if len(reason) <= LONGEST_REASON else reason[: LONGEST_REASON - 1] + "…"


def plain(value: Any) -> Any:
    """Text that can't steer a terminal: results of other machines are not trusted."""
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in value)
