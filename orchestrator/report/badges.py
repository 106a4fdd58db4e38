"""A badge for each field of the tables: an SVG for a README, with the library's time and quality."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

from orchestrator.cell.contract import Status
from orchestrator.report.formats import records
from orchestrator.report.tables import Table
from orchestrator.system.text_files import write_text

LETTER, PADDING = 6.6, 12
"""Pixels: an average letter of 11 px sans-serif, and what is around a text. ``textLength`` fits the text in."""

GREY = "#57606a"
COLOURS = {Status.OK: "#1a7f37", Status.FAILED: "#b42318"}
"""Colours by status, for fields without a mark; all others are grey. White on each has a contrast of 5 at least."""

SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{label}: {value}">
<title>{label}: {value}</title>
<rect width="{width}" height="20" rx="3" fill="#24292f"/>
<path fill="{colour}" d="M{left} 0h{straight}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3H{left}z"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="{first}" y="14" textLength="{label_length}">{label}</text>
<text x="{second}" y="14" textLength="{value_length}">{value}</text>
</g>
</svg>
"""


NAMED_BY = ("workload", "library", "column")
"""The parts of a record that name its file."""


def badges(every: Sequence[Table]) -> Mapping[str, str]:
    """SVGs by the name of their file, ``rnn-pytorch-cpu.svg``.

    A name stays when other machines join: their runs have files of their own, ``rnn-pytorch-cpu-machine-2.svg``.
    """
    found: dict[str, str] = {}
    for record in records([replace(table, columns=table.names or table.columns) for table in every]):
        name = re.sub(r"[^a-z0-9]+", "-", " ".join(record[part] for part in NAMED_BY).lower()).strip("-")[:150]
        while f"{name}.svg" in found:
            name += "-more"
        found[f"{name}.svg"] = badge(record)
    return found


def write(every: Sequence[Table], folder: Path) -> int:
    """Write all badges into a folder, made if needed; returns how many. Raises StorageError if it can't be written."""
    found = badges(every)
    for name, text in found.items():
        write_text(folder / name, text)
    return len(found)


def badge(record: Mapping[str, Any]) -> str:
    """The badge of one field."""
    label = f"{record['library']}, {record['workload']}, {record['column']}"
    value = f"{record['time']}{record['marks']} {record['quality']}".strip()
    colour = COLOURS.get(record["status"], GREY) if not record["marks"] else GREY
    label_length, value_length = (round(LETTER * len(text)) for text in (label, value))
    left = label_length + PADDING
    return SVG.format(
        label=escape(label),
        value=escape(value),
        colour=colour,
        width=left + value_length + PADDING,
        left=left,
        straight=value_length + PADDING - 3,
        first=PADDING // 2,
        second=left + PADDING // 2,
        label_length=label_length,
        value_length=value_length,
    )
