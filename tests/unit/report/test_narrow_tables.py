"""Tables on narrow terminals: whatever the width, every time, mark, quality and heading is there in full."""

import io

import pytest
from rich.console import Console

from orchestrator.report import screen, tables
from orchestrator.results.files import table_of
from tests.unit.report.test_tables import FULL, TITLES, XEON, failed, four, ran

LONG = {**TITLES, "pytorch": "A library with a long name (and its backend, 2018)"}
MEASURED = [
    *FULL,
    *four("chainer", 1234.5, 0.861, "cuda12", "h200", **XEON),
    ran("lasagne", 2345.6, 0.8, "cuda13", "h200", shortened=True, **XEON),
    failed("caffe2", "host_lost", "the host is gone", "cuda13", "h200", host="there"),
]


def printed(width: int, titles: dict[str, str]) -> list[str]:
    every, marks = tables.tables(table_of(MEASURED), titles, published=True)
    out = io.StringIO()
    screen.print_tables(every, marks, Console(file=out, width=width))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("titles", [TITLES, LONG], ids=["usual", "long"])
@pytest.mark.parametrize("width", [40, 50, 60, 80])
def test_headings_and_fields_stand_whole_on_a_line(width, titles):
    lines = printed(width, titles)
    text = "\n".join(lines)
    assert "…" not in text
    assert max(len(line.rstrip()) for line in lines) <= width
    every, _ = tables.tables(table_of(MEASURED), titles, published=True)
    for table in every:
        for column in table.columns:
            assert all(line in text for line in column)
        for entry in (entry for entries in table.rows.values() for entry in entries if entry.time):
            fitting = [line for line in lines if f"{entry.time}{entry.marks}" in line]
            assert any(entry.quality in line for line in fitting), entry
            assert entry.spread in text


@pytest.mark.parametrize("width", [12, 24, 30])
def test_even_narrower_nothing_is_lost(width):
    every, _ = tables.tables(table_of(MEASURED), LONG)
    out = io.StringIO()
    console = Console(file=out, width=width)
    for table in every[:1]:
        for part in screen.rendered(table, console):
            console.print(part)
    text = out.getvalue()
    assert "…" not in text
    letters = "".join(text.split())
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    for digit in "1,234":
        assert digit in letters


def test_names_fold_only_where_a_single_column_does_not_fit():
    assert any("A library with a long name (and its backend, 2018)" in line for line in printed(80, LONG))
    assert not any("A library with a long name (and its backend, 2018)" in line for line in printed(40, LONG))
