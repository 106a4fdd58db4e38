"""The table of parity: how far each library is from the reference, given the same weights and batches."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator.cell.contract import Status
from orchestrator.cell.parameters import parameters
from orchestrator.report.markdown import escaped
from orchestrator.report.rows import library_title, library_titles, newest, records, shown
from orchestrator.results.rows import Row

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

HEADINGS = ("scores", "features", "loss", "parameters", "updates")
"""What is compared; explained in docs/parity.md."""

COLUMNS = (
    "cell", "repeat", "library", "workload", "platform", "gpu", "precision", "variant", "data", "status", "reason",
    "parity", "epochs", "samples", "steps", "workers", "pretrained", "start", "started",
)  # fmt: skip

VARYING: Mapping[str, str] = {}
"""Libraries whose runs may differ in their last digits, and why; all others have to repeat themselves."""


class Line(NamedTuple):
    """A line of the table: an error for each heading, the worst of all runs; how they agree, whether all is well."""

    workload: str
    library: str
    errors: Sequence[str]
    runs: str
    good: bool


def lines(results: "pa.Table") -> Iterator[Line]:
    """The newest comparisons of each cell, by workload and library."""
    titles = library_titles()
    for compared in by_cell(results):
        row = compared[-1]
        several = f", {row['workers']} workers" if (row["workers"] or 1) > 1 else ""
        passed = all(each["status"] == Status.OK for each in compared)
        alike = repeats_itself(compared)
        said = f"{len(compared)}, {'alike' if alike else 'differ'}" if len(compared) > 1 else "1"
        good = passed and (alike or row["library"] in VARYING)
        yield Line(row["workload"], library_title(row, titles) + several, errors_of(compared), said, good)


def by_cell(results: "pa.Table") -> list[Sequence[Row]]:
    """The newest comparison of each round, those of one cell together, by workload and library."""
    titles = library_titles()
    rows = [{**shown(row), "machine": None} for row in records(results, COLUMNS)]
    rows = [row for row in rows if row["parity"] is not None and row["status"] != "incompatible"]
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in sorted(newest(rows), key=lambda row: (row["workload"], library_title(row, titles).casefold())):
        groups[row["cell"], row["data"], row["workers"], row["pretrained"]].append(row)
    return list(groups.values())


def repeats_itself(compared: Sequence[Row]) -> bool:
    """Whether all runs that ended have the same errors to the last digit, as only the same numbers have."""
    return len({row["parity"] for row in compared if row["parity"] != "{}"}) <= 1


def differing(results: "pa.Table") -> list[str]:
    """The cells whose runs should be alike and are not."""
    return [
        compared[0]["cell"]
        for compared in by_cell(results)
        if not repeats_itself(compared) and compared[0]["library"] not in VARYING
    ]


def errors_of(compared: Sequence[Row]) -> Sequence[str]:
    """The largest errors of some runs as text, or the reason of one that has none in place of the first."""
    for row in compared:
        if not json.loads(row["parity"]):
            reason = f"{row['status']}: {row['reason']}".splitlines()[0][:100]
            return [reason, *[""] * (len(HEADINGS) - 1)]
    found = [json.loads(row["parity"]) for row in compared]
    return [f"{max(each[name] for each in found):.1e}" if name in found[0] else "" for name in HEADINGS]


def tolerances() -> Iterator[tuple[str, Sequence[str]]]:
    """The largest error allowed in each workload."""
    for workload, known in parameters().items():
        allowed = known.get("parity", {})
        yield workload, [f"{allowed[name]:.0e}" if name in allowed else "" for name in HEADINGS]


def show(results: "pa.Table", console: "Console") -> None:
    """Print the table for a person."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    made.add_column("", overflow="fold")
    for heading in HEADINGS:
        made.add_column(heading, justify="right", no_wrap=True, min_width=len(heading))
    made.add_column("runs", no_wrap=True)
    last = None
    for workload, library, errors, runs, good in lines(results):
        if workload != last:
            made.add_row(f"{workload}, allowed", *dict(tolerances())[workload], style="dim")
        made.add_row(Text(library), *map(Text, (*errors, runs)), style="" if good else "red")
        last = workload
    console.print(Text("\nParity: largest error against the reference in double precision", style="bold"), made)


def markdown(results: "pa.Table") -> str:
    """The table as Markdown."""
    rows = [f"| workload | library | {' | '.join(HEADINGS)} | runs | |"]
    rows.append("| --- | --- |" + " ---: |" * len(HEADINGS) + " --- | --- |")
    last = None
    for workload, library, errors, runs, good in lines(results):
        if workload != last:
            rows.append(f"| {workload} | *allowed* | {' | '.join(dict(tolerances())[workload])} | | |")
        verdict = "same model" if good else "**differs**"
        rows.append(f"| | {escaped(library)} | {' | '.join(map(escaped, errors))} | {runs} | {verdict} |")
        last = workload
    return "\n".join(rows) + "\n"
