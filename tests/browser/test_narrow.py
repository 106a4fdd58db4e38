"""A narrow screen and long names: nothing is cut, no page is wider than the screen, and dates can be read."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from orchestrator.cell.profile import parse
from orchestrator.report.site import pages
from orchestrator.results.files import read_results, table_of
from orchestrator.results.profiles import write_profile
from orchestrator.system.checkout import ROOT
from tests.browser import matrix
from tests.unit.cell.test_profile import CELL, files

pytestmark = pytest.mark.browser

LONG = f"a-library-of-{'very-' * 12}{'long' * 10}-name/rnn/cpu"
WIDTHS = (320, 390, 900, 1440)
LABELS = """text => [...document.querySelectorAll("figure")].map(figure =>
  [...figure.querySelectorAll(".role-axis-label text")]
    .filter(text => /^[0-9]{4}-/.test(text.textContent) && getComputedStyle(text).opacity !== "0")
    .map(text => ({text: text.textContent, left: text.getBoundingClientRect().left,
                   right: text.getBoundingClientRect().right}))
    .sort((a, b) => a.left - b.left))"""
"""The dates that can be seen below each chart, from left to right."""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The pages of a run with a long name and of cells with two days, a week, a year, and a day of 1970."""
    folder = tmp_path_factory.mktemp("narrow")
    measured = read_results(ROOT / "docs" / "results" / "2026-11-25-cpu.parquet").to_pylist()
    like = next(row for row in measured if row["cell"] == "pytorch/rnn/cpu")
    started = datetime(2026, 1, 5, 0, 30, tzinfo=UTC)
    every = {"two": (0, 1), "week": range(7), "year": range(0, 364, 28), LONG.partition("/")[0]: (0, 40)}
    rows = [
        {**like, "library": name, "cell": f"{name}/rnn/cpu", "run": f"{name}-{day}", "repeat": day}
        | {"started": started + timedelta(days=day), "host": "host" * 20, "log_tail": "log" * 100}
        for name, days in every.items()
        for day in days
    ]
    rows += [{**rows[-3], "run": "old", "repeat": 999, "started": datetime(1970, 1, 1, tzinfo=UTC)}]
    write_profile(parse(files(), CELL, 5), folder, LONG)
    for path, make in pages.Site(table_of(rows), "results", folder=folder).pages.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(make())
    return folder


def test_a_long_name_makes_no_page_wider_than_the_screen(page, made):
    page.set_viewport_size({"width": 320, "height": 900})
    runs = [f"cells/{path.name}" for path in made.glob("cells/a-library*.html")]
    assert "Where a step goes" in (made / runs[0]).read_text()
    for path in ("index.html", "charts.html", "history.html", "cells.html", *runs):
        page.goto(f"{made.as_uri()}/{path}")
        page.wait_for_load_state("load")
        assert page.evaluate("document.documentElement.scrollWidth") <= 320, path


def test_a_choice_with_a_long_name_stays_on_the_screen(page, made):
    page.set_viewport_size({"width": 320, "height": 900})
    page.goto((made / "stone-rnn.html").as_uri())
    page.evaluate("name => document.querySelectorAll('option, h2, .of').forEach(e => (e.textContent = name))", LONG)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    for choice in page.locator("select").all():
        box = choice.bounding_box()
        assert box["width"] > 100
        assert box["x"] + box["width"] <= 320


@pytest.mark.parametrize("width", WIDTHS)
def test_history_shows_two_dates_at_least_and_none_on_another(page, made, width):
    page.set_viewport_size({"width": width, "height": 900})
    page.goto((made / "history.html").as_uri())
    for figure in page.locator("figure").all():
        figure.locator("svg").wait_for()
    charts = page.evaluate(LABELS)
    assert len(charts) == 4
    for dates in charts:
        assert len(dates) >= 2
        assert dates[0]["text"] == "2026-01-05"
        assert all(a["right"] < b["left"] for a, b in pairwise(dates))
        assert dates[-1]["right"] <= width
    assert {tuple(d["text"] for d in dates) for dates in charts} >= {("2026-01-05", "2026-01-06")}


def test_a_day_of_1970_does_not_squeeze_the_others(page, made):
    page.goto((made / "history.html").as_uri())
    figure = page.locator("figure", has_text="1 run dated before 2015 is left out: its clock was wrong.")
    points = figure.locator(".mark-symbol path")
    points.first.wait_for()
    boxes = [point.bounding_box()["x"] for point in points.all()]
    assert len(boxes) == 13
    assert min(b - a for a, b in pairwise(sorted(boxes))) > 20
    assert "1970" not in page.locator("main").inner_text()


def test_dates_are_those_of_the_rows_wherever_the_reader_is(browser, made):
    context = browser.new_context(timezone_id="America/Los_Angeles")
    page = context.new_page()
    page.goto((made / "history.html").as_uri())
    page.locator("figure svg").last.wait_for()
    assert {dates[0]["text"] for dates in page.evaluate(LABELS)} == {"2026-01-05"}
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_picture_of_eight_platforms_fits_on_a_small_phone(page, scheme, tmp_path):
    like = read_results(ROOT / "docs" / "results" / "2026-11-25-cpu.parquet").to_pylist()
    rows = list(matrix.rows(next(row for row in like if row["cell"] == "pytorch/rnn/cpu"), 6))
    site = pages.Site(table_of(rows), "results")
    (tmp_path / "assets").mkdir()
    for path in ("index.html", "assets/site.css", "assets/site.js"):
        (tmp_path / path).write_bytes(site.pages[path]())
    page.set_viewport_size({"width": 320, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.goto((tmp_path / "index.html").as_uri())
    picture = page.locator("figure[data-picture=cnn]")
    assert picture.locator("table").bounding_box()["width"] <= picture.locator(".scroll").bounding_box()["width"] + 1
