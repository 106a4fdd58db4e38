"""The published tables' form: library × GPU and CUDA, time beside quality, every doubt marked."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator import images, reference
from orchestrator.compatibility import GPUS
from orchestrator.contract import Status

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

Row = Mapping[str, Any]

TITLES = {
    "cnn": "CNN on CIFAR-10: seconds to train, test accuracy",
    "rnn": "GRU on IMDB: seconds to train, test accuracy",
    "resnet50": "ResNet-50: seconds per 1,000 images",
    "densenet121": "DenseNet-121 on ChestX-ray14: seconds to train, mean AUC",
}
NOTES = {
    "†": "shortened or on synthetic data: shows that it works, ranks nothing. For the published workloads on real data:"
    " rosetta data fetch, then rosetta run --profile full",
    "‡": "run without a container: the machine's own Python and system libraries, no isolation",
    "✗": "did not end ok; the reason is below",
}


@dataclass(frozen=True)
class Entry:
    """One field of a table: ``text``, the marks behind it, and its status."""

    text: str
    marks: str = ""
    status: str = ""

    def __str__(self) -> str:
        return f"{self.text} {self.marks}".strip()


@dataclass(frozen=True)
class Table:
    """One workload: a title, its columns, a line of entries per library, and the notes below."""

    title: str
    columns: Sequence[str]
    lines: Sequence[tuple[str, Sequence[Entry]]]
    notes: Sequence[str]


def tables(results: "pa.Table") -> list[Table]:
    """The tables of some results, one per workload, in the order in which they were published."""
    rows = newest(results.to_pylist())
    by_workload = defaultdict(list)
    for row in rows:
        by_workload[row["workload"]].append(row)
    return [table(w, by_workload[w]) for w in sorted(by_workload, key=lambda w: (list(TITLES).index(w), w))]


def newest(rows: Iterable[Row]) -> list[Row]:
    """The newest row of each question: a cell that was run again after a change counts once."""
    latest: dict[Any, Row] = {}
    for row in sorted(rows, key=lambda row: (row["started"] is not None, row["started"] or 0)):
        names = ("cell", "repeat", "data", "host", "engine")
        latest[(*(row[name] for name in names), row["shortened"])] = row
    return list(latest.values())


def table(workload: str, rows: Sequence[Row]) -> Table:
    """One workload's table. Columns in which nothing could run are left out and named in a note."""
    ran = [row for row in rows if row["status"] != Status.INCOMPATIBLE]
    columns = sorted({column_of(row) for row in ran})
    titles = library_titles()
    libraries = sorted({row["library"] for row in ran}, key=lambda name: str(titles.get(name, name)).lower())
    fields = defaultdict(list)
    for row in ran:
        fields[row["library"], column_of(row)].append(row)
    lines = [
        (titles.get(library, library), [entry(fields[library, column]) for column in columns]) for library in libraries
    ]
    return Table(
        TITLES.get(workload, workload),
        [heading(column) for column in columns],
        lines,
        [*marks_used(lines), *failures(ran), *machines(ran), *reasons(rows, ran)],
    )


def column_of(row: Row) -> tuple[str, ...]:
    """What a column stands for."""
    return (row["gpu"], row["platform"], row["precision"], row["variant"])


def heading(column: tuple[str, ...]) -> str:
    """The heading of a column: "CPU", "V100, CUDA 9", "H200, CUDA 13, amp-bf16"."""
    gpu, platform, precision, variant = column
    words = ["CPU"] if gpu == "none" else [GPUS[gpu].title if gpu in GPUS else gpu, platform.replace("cuda", "CUDA ")]
    words += [word for word, usual in ((precision, "fp32"), (variant, "reference")) if word != usual]
    return ", ".join(words)


def entry(rows: Sequence[Row]) -> Entry:
    """The rows of one field as text: the median over repeats; full runs on real data win over short ones."""
    if not rows:
        return Entry("–")
    full = [row for row in rows if not is_short(row)]
    chosen = full or list(rows)
    bad = [row for row in chosen if row["status"] != Status.OK]
    if bad:
        return Entry(str(bad[0]["status"]), "✗", str(bad[0]["status"]))
    seconds = statistics.median(row["seconds"] for row in chosen)
    quality = statistics.median(row["quality"] for row in chosen)
    marks = ("" if full else "†") + ("‡" if any(row["engine"] == "process" for row in chosen) else "")
    repeats = f" n={len(chosen)}" if len(chosen) > 1 else ""
    return Entry(f"{duration(seconds)}  {fraction(quality)}{repeats}", marks, str(Status.OK))


def is_short(row: Row) -> bool:
    """Not the published length, or not the published data."""
    return bool(row["shortened"]) or row["data"] != "real"


def duration(seconds: float) -> str:
    """Seconds with what precision they deserve."""
    return f"{seconds:,.0f} s" if seconds >= 100 else f"{seconds:.1f} s"


def fraction(quality: float) -> str:
    """A fraction as the literature writes it: .857."""
    text = f"{quality:.3f}"
    return text.removeprefix("0")


def library_titles() -> dict[str, str]:
    """How the tables call each library: as images/ says, else as published."""
    index = images.library_index()
    return {**reference.LIBRARIES, **{name: framework.libraries[name].title for name, framework in index.items()}}


def marks_used(lines: Sequence[tuple[str, Sequence[Entry]]]) -> list[str]:
    """The notes of the marks that occur."""
    used = {mark for _, entries in lines for field in entries for mark in field.marks}
    return [f"{mark} {note}" for mark, note in NOTES.items() if mark in used]


def failures(ran: Sequence[Row]) -> list[str]:
    """A line for each run that did not end ok."""
    bad = [row for row in ran if row["status"] != Status.OK]
    return [f"{row['cell']}: {row['status']}: {str(row['reason']).splitlines()[0]}" for row in bad]


def machines(ran: Sequence[Row]) -> list[str]:
    """The machines on which the rows were measured."""
    known = Counter((row["cpu"], row["cores"], row["memory"], row["gpu_name"]) for row in ran if row["cpu"])
    lines = []
    for cpu, cores, memory, gpu in known:
        parts = [f"{cpu}, {cores} cores, {memory / 2**30:.0f} GiB", *([gpu] if gpu else [])]
        lines.append(f"measured on {', '.join(parts)}")
    return lines


def reasons(rows: Sequence[Row], ran: Sequence[Row]) -> list[str]:
    """Why cells are not there, the same reason once, with the libraries it holds for.

    Platforms on which nothing ran at all get one line together: their cells have reasons of their own in the file.
    """
    platforms = {row["platform"] for row in ran}
    absent = [row for row in rows if row["status"] == Status.INCOMPATIBLE]
    here = [row for row in absent if row["platform"] in platforms or not platforms]
    groups = defaultdict(list)
    for row in here:
        groups[general(row)].append(row["library"])
    lines = [f"– {', '.join(sorted(set(libraries)))}: {reason}" for reason, libraries in sorted(groups.items())]
    elsewhere = [row for row in absent if row not in here]
    if elsewhere:
        names = ", ".join(sorted({row["platform"] for row in elsewhere}))
        lines.append(f"– {len(elsewhere)} cells on {names}: can't run here; 'rosetta plan' gives each one's reason")
    return lines


def general(row: Row) -> str:
    """A reason without the name of the library, so that equal ones fall together."""
    reason = str(row["reason"])
    return "not implemented yet" if reason.startswith("not implemented yet") else reason


def show(results: "pa.Table", console: "Console") -> None:
    """Print the tables for a person."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table as Grid

    styles = {Status.OK: "default", "": "bright_black"}
    for each in tables(results):
        console.print(f"\n[bold]{escape(each.title)}[/bold]", highlight=False)
        if each.lines:
            grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False)
            grid.add_column("")
            for column in each.columns:
                grid.add_column(column, justify="right", no_wrap=True)
            for library, entries in each.lines:
                fields = (f"[{styles.get(field.status, 'red')}]{escape(str(field))}[/]" for field in entries)
                grid.add_row(library, *fields)
            console.print(grid)
        for note in each.notes:
            console.print(f"[bright_black]{escape(note)}[/bright_black]", highlight=False)


def markdown(results: "pa.Table") -> str:
    """The tables as Markdown."""
    parts = []
    for each in tables(results):
        parts.append(f"**{each.title}**\n")
        if each.lines:
            parts.append(f"| | {' | '.join(each.columns)} |\n| --- |{' ---: |' * len(each.columns)}")
            parts += [f"| {library} | {' | '.join(map(str, entries))} |" for library, entries in each.lines]
        parts.append("\n" + "\n".join(f"{note}  " for note in each.notes) + "\n")
    return "\n".join(parts)
