"""The table of parity: how far each library is from the reference, given the same weights and batches."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.cell.contract import Status
from orchestrator.cell.parameters import parameters
from orchestrator.report.markdown import escaped
from orchestrator.report.rows import library_title, library_titles, newest, records
from orchestrator.system.terminal import plain

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import Console

HEADINGS = ("scores", "features", "loss", "parameters", "updates")
"""What is compared; explained in docs/parity.md."""

COLUMNS = (
    "cell", "repeat", "library", "workload", "platform", "gpu", "precision", "variant", "data", "status", "reason",
    "parity", "epochs", "samples", "workers", "started",
)  # fmt: skip

Line = tuple[str, str, Sequence[str], bool]
"""Workload, library, an error for each heading, and whether all lie within their tolerances."""


def lines(results: "pa.Table") -> Iterator[Line]:
    """The newest comparison of each cell, by workload and library."""
    titles = library_titles()
    rows = [{key: plain(value) for key, value in row.items()} for row in records(results, COLUMNS)]
    rows = [{**row, "machine": None} for row in rows if row["parity"] is not None and row["status"] != "incompatible"]
    for row in sorted(newest(rows), key=lambda row: (row["workload"], library_title(row, titles).casefold())):
        several = f", {row['workers']} workers" if (row["workers"] or 1) > 1 else ""
        yield row["workload"], library_title(row, titles) + several, errors_of(row), row["status"] == Status.OK


def errors_of(row: Mapping[str, Any]) -> Sequence[str]:
    """The errors of a row as text, or its reason in place of the first."""
    errors = json.loads(row["parity"])
    if not errors:
        return [f"{row['status']}: {row['reason']}".splitlines()[0][:100], *[""] * (len(HEADINGS) - 1)]
    return [f"{errors[name]:.1e}" if name in errors else "" for name in HEADINGS]


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

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("", no_wrap=True)
    made.add_column("")
    for heading in HEADINGS:
        made.add_column(heading, justify="right", min_width=len("1.0e-00"))
    last = None
    for workload, library, errors, good in lines(results):
        if workload != last:
            made.add_row(workload, "allowed", *dict(tolerances())[workload], style="dim")
        made.add_row("", Text(library), *map(Text, errors), style="" if good else "red")
        last = workload
    console.print(Text("\nParity: largest error against the reference in double precision", style="bold"), made)


def markdown(results: "pa.Table") -> str:
    """The table as Markdown."""
    rows = [f"| workload | library | {' | '.join(HEADINGS)} | |"]
    rows.append("| --- | --- |" + " ---: |" * len(HEADINGS) + " --- |")
    last = None
    for workload, library, errors, good in lines(results):
        if workload != last:
            rows.append(f"| {workload} | *allowed* | {' | '.join(dict(tolerances())[workload])} | |")
        verdict = "same model" if good else "**differs**"
        rows.append(f"| | {escaped(library)} | {' | '.join(map(escaped, errors))} | {verdict} |")
        last = workload
    return "\n".join(rows) + "\n"
