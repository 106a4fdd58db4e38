"""The whole matrix in a real browser: the picture of it, its reasons, one machine per table, narrow screens, paper."""

import io
import json
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from orchestrator.cell.profile import parse
from orchestrator.report.site import pages
from orchestrator.results.files import read_results, table_of
from orchestrator.results.profiles import write_profile
from orchestrator.system.checkout import ROOT
from tests.browser import matrix
from tests.browser.axe import faults
from tests.unit.cell.test_profile import CELL, files

pytestmark = pytest.mark.browser

KINDS = (
    "index.html",
    "charts.html",
    "history.html",
    "cells.html",
    "parity.html",
    "stone-rnn.html#pytorch+jax",
    "missing.html",
)
"""A page of each kind but that of a run, which the results name."""

CNN = "figure[data-picture=cnn]"


def write(folder: Path, libraries: int) -> Path:
    """The pages of some libraries; of the runs, which have one each, those of the CNN that failed."""
    like = read_results(ROOT / "docs" / "results" / "2026-11-25-cpu.parquet").to_pylist()
    rows = list(matrix.rows(next(row for row in like if row["cell"] == "pytorch/rnn/cpu"), libraries))
    errors = dict.fromkeys(("scores", "loss", "parameters", "updates"), 1e-6)
    ok = next(row for row in reversed(rows) if row["status"] == "ok")
    months = [
        {**ok, "started": datetime(2026, 1, 5, tzinfo=UTC) + timedelta(weeks=n), "run": f"month-{n}", "repeat": 9}
        | {"seconds": ok["seconds"] * (1 + n // 5)}
        for n in range(10)
    ]
    compared = [{**rows[-1], **row, "run": f"parity {row['run']}", "parity": json.dumps(errors)} for row in like[:3]]
    profiled = next(row["cell"] for row in rows if (row["workload"], row["status"]) == ("cnn", "failed"))
    write_profile(parse(files(), CELL, 5), folder, profiled)
    site = pages.Site(table_of([*rows, *compared, *months]), "matrix", folder=folder)
    failed = {row["page"] for row in site.rows if (row["workload"], row["status"]) == ("cnn", "failed")}
    for path, make in site.pages.items():
        if "cells/" not in path or path in failed:
            (folder / path).parent.mkdir(exist_ok=True)
            (folder / path).write_bytes(make())
    (folder / "missing.html").write_bytes(site.missing("missing.html"))
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The pages of 23 libraries on eight platforms and cards of two machines, and the page of one that is not there."""
    return write(tmp_path_factory.mktemp("matrix"), len(matrix.LIBRARIES))


@pytest.fixture(scope="module")
def some(tmp_path_factory) -> Path:
    """The same of six libraries, which have a field of every kind."""
    return write(tmp_path_factory.mktemp("some"), 6)


def kinds(folder: Path) -> list[str]:
    return [*KINDS, f"cells/{next(folder.glob('cells/*.html')).name}"]


def test_the_picture_has_every_library_and_platform_and_tells_the_ratio(page, whole):
    page.goto((whole / "index.html").as_uri())
    assert page.locator(f"{CNN} tbody tr").count() == len(matrix.LIBRARIES) == 23
    assert page.locator(f"{CNN} thead th").count() == 1 + len(matrix.PLACES) == 9
    column = page.locator(f"{CNN} tbody td:nth-child(3) a")
    ratios = [float(text) for text in column.evaluate_all("a => a.map(a => a.firstChild.data)") if text[0].isdigit()]
    assert min(ratios) == 1.0
    table = page.locator("section[data-workload=cnn] table").first
    assert "AMD EPYC" not in table.inner_text()
    best = page.locator(f"{CNN} a.best").first
    assert "the fastest time of its column" in best.locator(".tip").text_content()


def test_reasons_are_shown_by_the_pointer_and_by_the_keyboard_and_lead_to_the_cell(page, whole):
    page.goto((whole / "index.html").as_uri())
    failed = page.locator(f"{CNN} a.failed").first
    failed.hover()
    tip = failed.locator(".tip")
    assert "CUDNN_STATUS_NOT_SUPPORTED" in tip.inner_text()
    assert tip.bounding_box()["width"] > 100
    page.mouse.move(0, 0)
    first = page.locator(f"{CNN} tbody a").first
    first.focus()
    page.keyboard.press("ArrowRight")
    focused = page.locator(f"{CNN} tbody a:focus")
    assert focused.locator(".tip").bounding_box()["width"] > 100
    assert page.locator(f"{CNN} tbody a[tabindex='0']").count() == 1  # Tab passes a picture in one step
    page.keyboard.press("Escape")
    assert not focused.locator(".tip").is_visible()
    failed.click()
    assert "CUDNN_STATUS_NOT_SUPPORTED" in page.locator(".reason").inner_text()


def test_a_cell_that_cannot_run_leads_to_its_line_among_all_cells(page, whole):
    page.goto((whole / "index.html").as_uri())
    page.locator(f"{CNN} a.impossible").first.click()
    assert "cells.html#row-" in page.url
    assert "no release supports" in page.locator("tr:target").inner_text()


def test_each_table_is_of_one_machine_and_the_others_open_without_javascript(browser, whole):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((whole / "index.html").as_uri())
    section = page.locator("section[data-workload=cnn]")
    assert section.locator("table:visible").count() == 1
    section.locator("summary").click()
    assert section.locator("table:visible").count() == 2
    first, second = (set(table.locator("thead th").all_inner_texts()) for table in section.locator("table").all())
    assert not {"\n".join(h.split()) for h in first & second} - {"Library"}
    context.close()


def test_a_hit_in_a_closed_table_is_seen(page, whole):
    page.goto((whole / "index.html").as_uri())
    section = page.locator("section[data-workload=cnn]")
    other = section.locator("details tbody tr th").first.text_content()
    page.get_by_label("Filter").fill(other.lower())
    assert section.locator("details tbody tr:visible").count() >= 1


def test_the_overview_says_what_when_where_and_offers_the_results(page, whole):
    page.goto((whole / "index.html").as_uri())
    assert re.search(r"\d[\d,]* runs of 23 libraries in 4 workloads, measured 20", page.locator(".intro").inner_text())
    about = page.locator(".about").inner_text()
    for said in ("AMD EPYC 7763, 64 cores", "H200, driver 580.65", "a smoke run, never ranked", "n<4"):
        assert said in about
    with page.expect_download() as loading:
        page.get_by_role("link", name="results.csv").click()
    assert loading.value.path().read_text().count("\n") > 1000
    assert page.locator("section[data-workload=cnn] .version").first.inner_text() == "2.13.0+cpu"


@pytest.mark.parametrize("width", [1440, 900, 390, 320])
def test_no_page_is_wider_than_the_screen(page, whole, width):
    page.set_viewport_size({"width": width, "height": 900})
    stones = [path.name for path in whole.glob("stone-*.html")]
    runs = [f"cells/{path.name}" for path in whole.glob("cells/*.html")]
    for path in [*KINDS, *stones, "stone-rnn.html#keras-theano+keras-cntk", *runs]:
        page.goto("about:blank")  # else another pair would be chosen on the same page
        page.goto(f"{whole.as_uri()}/{path}")
        page.wait_for_load_state("load")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
    page.goto((whole / "index.html").as_uri())
    picture, room = (page.locator(f"{CNN} {what}").bounding_box()["width"] for what in ("table", ".scroll"))
    assert picture <= room + 1


def test_all_cells_on_a_phone_show_their_numbers(page, whole):
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto((whole / "cells.html").as_uri())
    row = page.locator("tbody tr", has=page.locator("td.ok")).first
    for number in (5, 6):
        box = row.locator(f"td:nth-child({number})").bounding_box()
        assert box["x"] + box["width"] <= 390


@pytest.mark.parametrize("way", ["narrow", "print"])
def test_the_stone_goes_section_by_section_left_first_where_there_is_no_room(page, whole, way):
    if way == "narrow":
        page.set_viewport_size({"width": 800, "height": 900})
    else:
        page.emulate_media(media="print")
    page.goto((whole / "stone-cnn.html").as_uri() + "#pytorch+jax")  # on the page itself, JAX comes first
    order = sorted(
        (heading.bounding_box()["y"], heading.text_content()) for heading in page.locator("article:visible h3").all()
    )
    texts = [text for _, text in order]
    assert len(texts) == 14
    for left, right in zip(texts[::2], texts[1::2], strict=True):
        assert left.replace("PyTorch", "") == right.replace("JAX (Flax)", "")
        assert left.endswith("PyTorch")
    assert page.locator("article:visible").first.get_attribute("id") == "pytorch"


def test_paper_cuts_nothing(page, some):
    page.set_viewport_size({"width": 1440, "height": 900})
    for path in ("index.html", "charts.html"):
        page.goto((some / path).as_uri())
        page.wait_for_timeout(500)
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 718, "height": 1000})  # A4 less 10 mm on each side
        for what in page.locator("table:visible, .drawing svg").all():
            box = what.bounding_box()
            assert box["x"] + box["width"] <= 719, path
        page.emulate_media(media="screen")
        page.set_viewport_size({"width": 1440, "height": 900})


def test_all_cells_fit_on_paper_with_their_reasons(page, some):
    page.set_viewport_size({"width": 718, "height": 1000})
    page.emulate_media(media="print")
    page.goto((some / "cells.html").as_uri())
    reason = page.locator("tr:has(td.failed) td:last-child").first
    assert reason.evaluate("cell => cell.scrollWidth <= cell.clientWidth")
    assert reason.bounding_box()["width"] > 80


def test_parity_shows_its_comparisons_and_tolerances(page, some):
    page.goto((some / "parity.html").as_uri())
    assert page.locator("tbody tr").count() >= 1
    assert (
        "cnn: scores 1e-04, loss 1e-04, parameters 1e-03, updates 1e-02"
        in page.locator("#content li").all_inner_texts()
    )


def test_charts_are_of_one_machine_with_the_quality_named_and_its_band(page, whole):
    page.goto((whole / "charts.html").as_uri())
    titles = page.locator("figure h2").all_inner_texts()
    scatters = [title for title in titles if "CNN on CIFAR-10: time against quality" in title]
    assert [title.partition("quality, ")[2] for title in scatters] == [
        "Intel Xeon Processor, 1 core",
        "AMD EPYC 7763, 64 cores",
    ]
    chart = page.locator("figure", has=page.get_by_role("heading", name=scatters[0]))
    assert "test accuracy" in chart.locator("svg").text_content()
    assert chart.locator(".mark-rect.role-mark path").count() == 1
    assert "Shaded: a run is valid between .740 and .810" in chart.inner_text()


def test_a_chart_follows_the_page_into_the_dark(page, whole):
    page.goto((whole / "charts.html").as_uri())
    label = page.locator("figure svg text").first
    colours = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colours.append(label.evaluate("text => getComputedStyle(text).fill"))
    assert colours == ["rgb(28, 29, 31)", "rgb(231, 232, 234)"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(page, some, scheme):
    page.emulate_media(color_scheme=scheme)
    found = {}
    for path in kinds(some):
        page.goto(f"{some.as_uri()}/{path}")
        page.wait_for_load_state("load")
        page.wait_for_timeout(500)
        found[path] = faults(page)
    assert {path: said for path, said in found.items() if said} == {}


def test_axe_finds_no_serious_fault_on_a_phone(page, some):
    page.set_viewport_size({"width": 390, "height": 844})
    for path in kinds(some):
        page.goto(f"{some.as_uri()}/{path}")
        page.wait_for_timeout(500)
        assert faults(page) == [], path


def test_colours_of_the_picture_can_be_told_apart_without_hue(page, some):
    page.goto((some / "index.html").as_uri())
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        greys = []
        for kind in ("best", "near", "middle", "far", "farthest"):
            shot = page.locator(f".key .{kind}").screenshot()
            greys.append(Image.open(io.BytesIO(shot)).convert("L").getpixel((3, 3)))
        steps = [abs(a - b) for a, b in pairwise(greys)]
        assert greys in (sorted(greys), sorted(greys, reverse=True))
        assert min(steps) >= 12, (scheme, greys)
