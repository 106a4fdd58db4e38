"""The tables for programs: a record for each field, as CSV or JSON; and as HTML, table by table."""

import html
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from orchestrator.report.tables import Table

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What starts a formula in a spreadsheet; a text that begins so gets an apostrophe before it."""


def records(every: Sequence[Table]) -> Iterator[dict[str, Any]]:
    """Yield a record for each field that is not empty: ``value`` in its ``unit``, ``time`` as the tables have it.

    ``seconds`` has the value where it is a time of runs, which is what is ranked.
    """
    for table in every:
        for library, entries in table.rows.items():
            for column, entry in zip(table.columns, entries, strict=True):
                if entry.time:
                    yield {
                        "workload": table.workload,
                        "library": library,
                        "column": " ".join(column),
                        "time": entry.time,
                        "value": entry.value if entry.seconds is None else entry.seconds,
                        "unit": entry.unit if entry.seconds is None else "s",
                        "seconds": entry.seconds,
                        "quality": entry.quality,
                        "marks": entry.marks,
                        "spread": entry.spread,
                        "rounds": len(entry.runs),
                        "fastest": entry.fastest,
                        "status": entry.status,
                    }


def as_csv(every: Sequence[Table]) -> str:
    """Return CSV: a heading, and a line for each field."""
    import pandas as pd

    rows = [{name: harmless(value) for name, value in record.items()} for record in records(every)]
    return str(pd.DataFrame(rows).to_csv(index=False))


def harmless(value: Any) -> Any:
    """Escape text that a spreadsheet would compute."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def as_json(every: Sequence[Table]) -> str:
    """Return a JSON list of objects."""
    return json.dumps(list(records(every)), indent=1, ensure_ascii=False) + "\n"


def as_html(every: Sequence[Table]) -> str:
    """A table for each workload, with its title and notes; no style of its own."""
    return "".join(map(html_of, every))


def html_of(table: Table) -> str:
    """Return one table as HTML."""
    import pandas as pd

    heads = [" ".join(column) for column in table.columns]
    lines = [
        [" ".join(filter(None, (entry.time + entry.marks, entry.quality, entry.spread))) for entry in entries]
        for entries in table.rows.values()
    ]
    frame = pd.DataFrame(lines, index=pd.Index(list(table.rows)), columns=pd.Index(heads))
    notes = "".join(f"<p>{html.escape(f'{note.mark} {note.text}')}</p>\n" for note in table.notes)
    return f"<h2>{html.escape(table.title)}</h2>\n{frame.to_html()}\n{notes}"


FORMATS: Mapping[str, Callable[[Sequence[Table]], str]] = {"csv": as_csv, "json": as_json, "html": as_html}
