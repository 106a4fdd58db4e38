"""Results → rows: which of them a table shows, with the figures of 2018, and in which column each stands.

From here it is one way: ``fields.py`` makes fields of rows, ``grids.py`` lines and columns of fields, ``notes.py`` what
stands below, and ``tables.py`` puts it together. Each of them imports only from those before it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

from orchestrator.cell.cell import OWN, TUNED
from orchestrator.cell.contract import Status, own_weights
from orchestrator.cell.parameters import parameters
from orchestrator.cell.workloads import STARTS, form_of, ranks_synthetic, workloads
from orchestrator.compare import published_2018
from orchestrator.compare.noise import Doubt, doubts
from orchestrator.compare.published_2018 import Edition, Figure
from orchestrator.images.definitions import library_index
from orchestrator.report.proved import with_proofs
from orchestrator.results.checking import SEVERAL_LINES
from orchestrator.results.rows import Row
from orchestrator.system.gpus import rank_of, title_of
from orchestrator.system.terminal import one_line, plain

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = (
    "cell", "repeat", "library", "workload", "platform", "gpu", "precision", "variant", "data", "status", "reason",
    "seconds", "quality", "parity", "epochs", "samples", "shortened", "n_gpus", "workers", "engine", "host", "cpu",
    "cores", "gpus_before", "gpus_during", "gpus_after", "gpu_others", "proof", "started", "run", "start", "steps",
    "threads", "cpu_used", "load_before", "load_after", "image", "pretrained", "image_digest", "seconds_warm",
    "wall_seconds", "energy", "gpu_peak_memory", "container_memory", "peak_memory", "epoch_seconds", "epoch_qualities",
    "framework_version", "gpu_name", "input", "checks",
)  # fmt: skip
"""The columns of a row that the tables use."""

FORM = " · "
"""The separator of a library's title and the form of its network, if that is another one of the same name."""

Machine = tuple[str, int | None] | None
"""CPU and cores, which is what makes a time comparable; None for runs that ended before they could tell."""


@dataclass(frozen=True, order=True)
class Column:
    """A column of a table; its fields give the order of columns: those of 2018 have the ``year``, and come last.

    ``start`` says which weights the network began with, where that is a choice: different starts are no contest.
    ``length`` says in what a run was more than the published one, or had other batches; it is empty as a rule.
    ``code`` is "tuned" for scripts of that variant: they are no contest for the reference's.
    """

    year: str
    platform: tuple[str, int]
    gpu: tuple[int, str]
    data: str
    n_gpus: int
    length: str = ""
    machine: str = ""
    start: str = ""
    code: str = ""

    def heading(self) -> tuple[str, ...]:
        """Its lines: ("CPU",) or ("CUDA 9", "4 × V100", "A"), ("2018, CUDA 8", "K80")."""
        card = gpu_title(self.gpu[1])
        platform = ", ".join(filter(None, (self.year, platform_title(self.platform))))
        cards = f"{self.n_gpus} × {card}" if self.n_gpus > 1 else card
        lines = (platform, cards, self.data, STARTS.get(self.start), self.length, self.machine, self.code)
        return tuple(filter(None, lines))

    def name(self) -> str:
        """The heading within a sentence."""
        return " ".join(self.heading())

    @property
    def anywhere(self) -> "Column":
        """The same column without machine, length and start."""
        return replace(self, length="", machine="", start="")


Published = Mapping[tuple[str, Column], Figure]
"""The figures of 2018 by the library's title and the column."""


@dataclass(frozen=True)
class Answer:
    """A row that counts, its library's title, and the column it stands in."""

    row: Row
    title: str
    column: Column


@dataclass(frozen=True)
class WorkloadRows:
    """All that a workload's table is made of.

    ``ran`` has what was run, ``absent`` what can't run, on any machine. ``machines`` have a letter each, which is empty
    where there is only one.
    """

    workload: str
    ran: Sequence[Answer] = ()
    absent: Sequence[Answer] = ()
    machines: Mapping[Machine, str] = field(default_factory=dict)
    figures: Published = field(default_factory=dict)


def by_workload(results: "pa.Table", titles: Mapping[str, str], published: bool) -> list[WorkloadRows]:
    """The rows of each workload, in the order in which those were published.

    With ``published`` it is all workloads of 2018, with the figures of then; but not beside what was run, if all of the
    results are shorter.
    """
    rows = [shown(row) for row in records(results, COLUMNS)]
    known = list(workloads())
    found: dict[str, list[Row]] = defaultdict(list, {name: [] for name in (known if published else ())})
    measured = with_machines(with_proofs(rows))
    for row in measured:
        found[row["workload"]].append(row)
    only_shorter = all(distance(row) for row in measured if row["status"] != Status.INCOMPATIBLE)
    order = sorted(found, key=lambda name: (known.index(name) if name in known else len(known), name))
    old = {name for name in known if published and not (only_shorter and has_run(found[name]))}
    return [of_workload(name, found[name], titles, name in old) for name in order]


def has_run(rows: Sequence[Row]) -> bool:
    """Whether anything was run."""
    return any(row["status"] != Status.INCOMPATIBLE for row in rows)


def of_workload(workload: str, rows: Sequence[Row], titles: Mapping[str, str], published: bool) -> WorkloadRows:
    """The rows of one workload, each with its title and column."""
    ran = newest(row for row in rows if row["status"] != Status.INCOMPATIBLE)
    absent = [row for row in rows if row["status"] == Status.INCOMPATIBLE]
    letters = letters_of({row["machine"] for row in ran})
    starts = sorted({row["start"] for row in ran if row["start"]})  # a run that failed early does not know its start
    figures = published_2018.latest(workload) if published else {}
    return WorkloadRows(
        workload,
        [Answer(row, line_title(row, titles), column_of(row, letters[row["machine"]], starts)) for row in ran],
        [Answer(row, line_title(row, titles), column_of(row)) for row in absent],
        letters,
        placed(figures, titles, workload),
    )


OBJECTS = ("parity", "findings", "packages", "gpus_before", "gpus_during", "gpus_after", "installation", "checks")
"""The columns of JSON. What is in them is made plain once it is parsed: two of its texts may look like one address."""


def shown(row: Row) -> Row:
    """Return a row as it may be shown, which is how tables and pages know it: most text takes one line."""
    return {name: value if name in OBJECTS else shown_text(name, value) for name, value in row.items()}


def shown_text(column: str, value: Any) -> Any:
    """Return what a column has as plain text; other values stay as they are."""
    return one_line(value) if isinstance(value, str) and column not in SEVERAL_LINES else plain(value)


def of_edition(workload: str, edition: Edition, titles: Mapping[str, str]) -> WorkloadRows:
    """Return what stood in a table of 2018, and nothing else."""
    return WorkloadRows(workload, figures=placed(edition.figures(workload), titles))


def records(results: "pa.Table", columns: Sequence[str]) -> list[Row]:
    """Some columns row by row; times as numbers: for anything else Arrow would import pandas, for half a second."""
    import pyarrow as pa

    table = results.select(list(columns))
    index = table.schema.get_field_index("started")
    records: list[Row] = table.set_column(index, "started", table["started"].cast(pa.int64())).to_pylist()
    return records


def newest(rows: Iterable[Row]) -> list[Row]:
    """Keep the newest answer to each question: a cell that was run again, say after its script changed, counts once."""
    question = ("cell", "repeat", "data", "epochs", "samples", "steps", "pretrained", "machine", "start")
    answers = {
        (row.get("n_gpus") or 1, own_name(row), *(row[name] for name in question)): row
        for row in sorted(rows, key=started)
    }
    return list(answers.values())


def own_name(row: Row) -> str:
    """Return the user's name of a row's installation; empty for ours."""
    return str(row.get("image", "")) if row.get("platform") == OWN else ""


def started(row: Row) -> int:
    """Return when a run began; 0, before all others, if nobody knows."""
    return row["started"] or 0


def with_machines(rows: Sequence[Row]) -> list[Row]:
    """The rows, each with its ``machine``.

    A run that failed early knows only its host's name: it was on the machine that other runs there name, or on the
    only one there is. Where cards of one short name are different boards, the board is part of the machine.
    """
    boards: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        boards[row["gpu"]].update(filter(None, [row["gpu_name"]]))
    told = [
        (f"{row['cpu']} with {row['gpu_name']}" if len(boards[row["gpu"]]) > 1 else row["cpu"], row["cores"])
        if row["cpu"]
        else None
        for row in rows
    ]
    known: dict[tuple[str | None, str | None], list[Machine]] = defaultdict(list)
    for row, machine in zip(rows, told, strict=True):
        for place in places(row) if machine else ():
            known[place].append(machine)
    return [
        {**row, "machine": machine or (None if row["status"] == Status.OK else guessed(row, known))}
        for row, machine in zip(rows, told, strict=True)
    ]


def places(row: Row) -> Iterator[tuple[str | None, str | None]]:
    """Yield where a run was, from the host with such a card to anywhere: each as host and GPU, None for any."""
    hosts = [row["host"], None] if row["host"] else [None]
    yield from ((host, gpu) for host in hosts for gpu in (row["gpu"], None))


def guessed(row: Row, known: Mapping[tuple[str | None, str | None], Sequence[Machine]]) -> Machine:
    """Return the machine of a run that failed early: its host's, else the only one that others name."""
    nearest = next((place for place in places(row) if place in known), (None, None))
    machines = known.get(nearest, [])
    return machines[-1] if nearest[0] or len(set(machines)) == 1 else None


def letters_of(machines: Iterable[Machine]) -> dict[Machine, str]:
    """A letter for each machine, two for each of more than 26; none where there is only one."""
    every = sorted(machines, key=lambda machine: (machine is None, *((machine[0], machine[1] or 0) if machine else ())))
    if len(every) < 2:
        return dict.fromkeys(every, "")
    width = 1
    while len(ascii_uppercase) ** width < len(every):
        width += 1
    letters = map("".join, product(ascii_uppercase, repeat=width))
    return dict(zip(every, letters, strict=False))


def distance(row: Row) -> int:
    """Return how far a row is from the published run: 0 is as published, 1 shortened, 2 on synthetic data."""
    return 2 if Doubt.SYNTHETIC in doubts([row]) else int(row["shortened"])


def column_of(row: Row, machine: str = "", starts: Sequence[str] = ()) -> Column:
    """The column of a row; one that does not tell its start stands with the first of ``starts``.

    Where synthetic data is ranked, only its time matters, and the start is left out.
    """
    word, digits = re.fullmatch(r"(.*?)(\d*)", row["platform"], re.DOTALL).groups()  # type: ignore[union-attr]
    platform = word if word != "cpu" else "", int(digits or 0)
    if row["platform"] == OWN:
        platform = f"{OWN} {own_name(row)}", 0
    data = row["data"] if ranks_synthetic(row["workload"]) and row["data"] != "real" else ""
    start = "" if data else row["start"] or next(iter(starts), "")
    count = max(row["n_gpus"] or 1, row["workers"] or 1)
    code = row["variant"] if row["variant"] == TUNED else ""
    return Column("", platform, gpu_rank(row["gpu"]), data, count, length_of(row), machine, start, code)


def length_of(row: Row) -> str:
    """In what a run is more than the published one: "6 epochs", "batches of 128"; one that is less has a mark."""
    epochs, samples, steps = row["epochs"], row["samples"], row.get("steps")
    if row["shortened"] or epochs is None or samples is None:
        return ""
    known = parameters().get(row["workload"], {})
    usual_samples = known.get("quality", {}).get("real", {}).get("samples", samples)
    found = [f"{epochs} epochs"] if epochs > known.get("epochs", epochs) else []
    found += [f"{samples:,} samples"] if samples > usual_samples else []
    usual_batch = known.get("batch_size", 0) * (row["workers"] or 1)
    batch = epochs * samples / steps if steps else usual_batch
    return ", ".join([*found, *([f"batches of {batch:g}"] if usual_batch and batch != usual_batch else [])])


def placed(
    figures: Mapping[tuple[str, published_2018.Column], Figure], titles: Mapping[str, str], workload: str = ""
) -> Published:
    """Figures of 2018 by the title and the column that they have in the tables.

    Beside what was run for a ``workload`` the title says the form of the network too.
    """
    found = {}
    for (library, column), figure in figures.items():
        place = published_column(figures.values(), column)
        form = form_of(workload, library, f"cuda{place.platform[1]}")
        found[with_form(titles.get(library, library), form), place] = figure
    return found


def with_form(title: str, form: str) -> str:
    """A library's title and the form of its network where that is not the usual one."""
    return f"{title}{FORM}{form}" if form else title


def form_in(title: str) -> str:
    """The form that a title says, empty for the usual one."""
    return title.partition(FORM)[2].split(", ")[0]


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


def gpu_rank(gpu: str) -> tuple[int, str]:
    """A GPU and where it stands among the others, oldest first."""
    return -1 if gpu == "none" else rank_of(gpu), gpu


def platform_title(platform: tuple[str, int]) -> str:
    """("", 0) → "CPU", ("cuda", 9) → "CUDA 9", ("own nightly", 0) → "own: nightly"."""
    word, version = platform
    if word.startswith(f"{OWN} "):
        return f"{OWN}: {word.removeprefix(OWN).strip()}"
    return f"{word.upper() or 'CPU'} {version or ''}".strip()


def gpu_title(gpu: str) -> str:
    """A short name as people write it; empty without a GPU."""
    return "" if gpu == "none" else title_of(gpu)


def library_titles() -> dict[str, str]:
    """Return each library's title in the tables: as images/ says, else as published."""
    index = library_index()
    return {**published_2018.LIBRARIES, **{name: framework.libraries[name].title for name, framework in index.items()}}


def line_title(row: Row, titles: Mapping[str, str]) -> str:
    """Return the title at the left of a table: tuned scripts have columns of their own, not lines."""
    return library_title({**row, "variant": "reference"} if row["variant"] == TUNED else row, titles)


def contest_of(row: Row) -> tuple[str, ...]:
    """Return what rows of a column must share to be ranked: the precision, the start, where the data set lies.

    A script of the variant "tuned" has a column of its own, so its data set may lie anywhere.
    """
    resident = row["input"] == "device" and row["variant"] != TUNED
    return row["precision"], own_weights(row["pretrained"]), "device" if resident else ""


def library_title(row: Row, titles: Mapping[str, str]) -> str:
    """Return a script's title: the library, and form, precision and variant if they are not the usual ones."""
    usual = (("precision", "fp32"), ("variant", "reference"))
    began = own_weights(row.get("pretrained"))
    own = [f"weights {began[:8]}"] if began else []
    form = form_of(row["workload"], row["library"], row["platform"])
    title = with_form(titles.get(row["library"], row["library"]), form)
    return ", ".join([title, *(row[axis] for axis, value in usual if row[axis] != value), *own])
