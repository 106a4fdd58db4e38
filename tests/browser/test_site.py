"""The pages in a real browser: from the disk, and served while cells run."""

import itertools
import os
import re
import shutil
import statistics
import subprocess
import sys
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from benchmarks.agreeing import agreeing
from orchestrator.report.rows import FORM
from orchestrator.report.site import pages
from orchestrator.results.claims import Claims
from orchestrator.results.files import read_results, table_of, write_results, write_row
from orchestrator.system.checkout import ROOT

pytestmark = pytest.mark.browser

MEASURED = [ROOT / "docs" / "results" / f"{name}.parquet" for name in ("2026-11-23-cnn-pytorch", "2026-11-25-cpu")]
"""Rows of both workloads; later ones may come from other machines, and each has a column and a chart of its own."""

TABLE = "section[data-workload=rnn] table"
VALUES = "cells => cells.map(cell => cell.dataset.value)"
HOSTILE = "<script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"


def measured() -> list[dict]:
    return [row for path in MEASURED for row in read_results(path).to_pylist()]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """The pages of what was measured."""
    folder, results = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("results")
    for path in MEASURED:
        shutil.copy(path, results)
    pages.write(results, folder)
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Pages of rows that have more to show: rounds, GPUs, a failure, a short run, text that attacks."""
    folder = tmp_path_factory.mktemp("made")
    proof = "parity of this script and image, run 1"
    rows = {row["library"]: {**row, "proof": proof} for row in measured() if row["workload"] == "rnn"}
    several = [
        agreeing(row, repeat=n, run=f"{name}-{n}", seconds=row["seconds"] * (1 + n / 20), quality=row["quality"])
        for name, row in rows.items()
        for n in range(4)
    ]
    gpus = {"platform": "cuda12", "gpu": "h200", "cell": "jax/rnn/cuda12/h200"}
    scaled = [
        agreeing({**rows["jax"], **gpus}, n_gpus=n, workers=n, run=f"gpus-{n}", seconds=40 / n, samples=24832)
        | {"cell": gpus["cell"] + (f"x{n}" if n > 1 else "")}
        for n in (1, 2, 4)
    ]
    failed = {**rows["cntk"], **gpus, "cell": "cntk/rnn/cuda12/h200", "run": "failed", "status": "failed"}
    failed |= {"reason": f"exit code 1: {HOSTILE}", "seconds": None, "quality": None, "log_tail": HOSTILE}
    short = {**rows["jax"], "library": "keras-jax", "cell": "keras-jax/cnn/cpu", "workload": "cnn", "run": "short"}
    short = agreeing(short, epochs=1, data="synthetic", shortened=True)
    months = [
        agreeing(rows["pytorch"], run=f"month-{n}", seconds=(100 if n < 8 else 130) + n % 3)
        | {"started": datetime(2026, 1, 5, tzinfo=UTC) + timedelta(weeks=n), "framework_version": f"2.{12 + n // 8}.0"}
        for n in range(16)
    ]
    write_results(table_of([*several, *scaled, failed, short, *months]), folder / "made.parquet")
    pages.write(folder / "made.parquet", folder / "site")
    return folder / "site"


def first_column(page, table: int = 0) -> list[str]:
    return page.locator("table").nth(table).locator("tbody tr:visible th").all_inner_texts()


def test_the_overview_is_sorted_by_any_column(page, written):
    page.goto((written / "index.html").as_uri())
    table = page.locator(TABLE)
    by_name = table.locator("tbody th").all_inner_texts()
    usual = [name for name in by_name if FORM not in name]
    assert by_name[: len(usual)] == sorted(usual, key=str.casefold)  # other forms of the GRU stand below
    assert len(by_name) > len(usual)
    rounds = defaultdict(list)
    for row in measured():
        if row["workload"] == "rnn":
            rounds[row["library"]].append(row["seconds"])
    times = {library: statistics.median(seconds) for library, seconds in rounds.items()}
    table.get_by_role("button", name="CPU").click()
    shown = [float(value) for value in table.locator("td:nth-child(2)[data-value]").evaluate_all(VALUES)]
    assert shown == sorted(times.values())
    assert table.locator("thead th").nth(1).get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Enter")  # the button has the focus: the keyboard is enough
    assert table.locator("thead th").nth(1).get_attribute("aria-sort") == "descending"
    assert table.locator("tbody th").first.inner_text() == "Chainer 4 (2018)"


def test_the_overview_is_filtered_by_words_status_and_workload(page, made):
    page.goto((made / "index.html").as_uri())
    page.get_by_label("Filter").fill("keras theano")
    assert page.locator("section[data-workload=rnn] tbody tr:visible th").all_inner_texts() == [
        f"Keras (Theano){FORM}reset first with linear gates"
    ]
    page.get_by_label("Filter").fill("")
    page.get_by_label("Status").select_option("failed")
    assert page.locator("#content tbody tr:visible th").all_inner_texts() == ["CNTK"]
    page.get_by_label("Status").select_option("")
    page.get_by_label("Workload").select_option("cnn")
    assert page.locator("#content h2:visible").count() == 1


def test_a_filter_without_hits_says_so(page, made):
    for path in ("index.html", "cells.html"):
        page.goto((made / path).as_uri())
        page.get_by_label("Filter").fill("no such library")
        assert page.locator("output").inner_text().startswith("Nothing fits this filter: 0 of ")
        assert page.locator("#content tbody tr:visible").count() == 0
        page.get_by_label("Filter").fill("")
        assert "Nothing" not in page.locator("output").inner_text()
        assert page.locator("#content tbody tr:visible").count() > 0


def test_figures_of_2018_stand_in_columns_of_their_own_with_their_doubts(page, written):
    page.goto((written / "index.html").as_uri())
    headings = page.locator(f"{TABLE} thead th").all_inner_texts()
    assert [heading for heading in headings if "2018" in heading] == headings[2:]
    assert len(headings) > 2
    field = page.locator(f"{TABLE} tr:has(th:text-is('PyTorch')) td").last
    assert "?" in field.inner_text()
    assert page.locator(f"{TABLE} strong").count() == page.locator(f"{TABLE} td:nth-child(2) strong").count()


def test_a_short_run_is_marked_and_never_the_fastest(page, made):
    page.goto((made / "index.html").as_uri())
    field = page.locator("section[data-workload=cnn] tr:has(th:text-is('Keras (JAX)')) td").first
    assert "†" in field.inner_text()
    assert field.locator("strong").count() == 0


def test_all_cells_are_sorted_and_filtered(page, written):
    page.goto((written / "cells.html").as_uri())
    assert page.locator("tbody tr").count() == len(measured())
    page.get_by_role("button", name="Seconds").click()
    assert first_column(page)[0] == min(measured(), key=lambda row: row["seconds"])["cell"]
    page.get_by_label("Filter").fill("keras cpu")
    assert all("keras" in name for name in first_column(page))
    assert re.match(rf"\d+ of {len(measured())} rows", page.locator("output").inner_text())


@pytest.mark.parametrize(("left", "right"), [("cntk", "mxnet-r"), ("knet", "pytorch"), ("keras-r", "jax")])
def test_the_stone_puts_any_two_libraries_side_by_side(page, written, left, right):
    page.goto((written / "stone-cnn.html").as_uri())
    page.get_by_label("Left").select_option(left)
    page.get_by_label("Right").select_option(right)
    assert page.locator("article:visible").count() == 2
    assert page.url.endswith(f"#{left}+{right}")
    headings = [page.locator(f"#{name} h3").all() for name in (left, right)]
    for one, other in zip(*headings, strict=True):
        assert one.inner_text() == other.inner_text()
        assert one.bounding_box()["y"] == other.bounding_box()["y"]
        assert one.bounding_box()["x"] < other.bounding_box()["x"]
    assert page.locator(f"#{left} code").count() == 7
    page.reload()  # the address keeps the choice
    assert page.locator("article:visible h2").count() == 2


def test_the_stone_shows_the_script_its_time_and_its_documentation(page, written):
    page.goto((written / "stone-rnn.html").as_uri() + "#pytorch+jax")
    code = [page.locator("#pytorch code > span").all_inner_texts()]
    shown = "".join("".join(code[0]).split())
    written_code = (ROOT / "workloads" / "rnn" / "pytorch.py").read_text()
    assert shown == "".join(re.sub(r"(?m)^# --- .*\n", "", written_code).split())
    assert re.search(r"CPU.*124 s.*\.861", page.locator("#pytorch header").inner_text())
    link = page.locator("#pytorch").get_by_role("link", name="nn.GRU")
    assert link.get_attribute("href") == "https://docs.pytorch.org/docs/2.13/generated/torch.nn.GRU.html"


def test_charts_have_a_bar_for_each_library_intervals_and_scaling(page, made):
    page.goto((made / "charts.html").as_uri())
    expect(page.locator("figure svg")).to_have_count(page.locator("figure").count())
    libraries = len({row["library"] for row in measured() if row["workload"] == "rnn"})
    chart = page.locator("figure", has_text="GRU on IMDB: CPU")
    assert chart.locator("[aria-roledescription=bar]").count() == libraries
    assert chart.locator(".mark-rule.role-mark line").count() == libraries
    titles = page.locator("figure h2").all_inner_texts()
    assert {"GRU on IMDB: time against quality", "GRU on IMDB: scaling"} < set(titles)


def test_a_cell_has_a_page_with_its_epochs_digest_and_command(page, written):
    page.goto((written / "index.html").as_uri())
    page.locator("section[data-workload=rnn] tr", has_text="JAX (Flax)").get_by_role("link").click()
    row = next(row for row in measured() if row["cell"] == "jax/rnn/cpu")
    text = page.locator("main").inner_text()
    assert row["image_digest"] in text
    assert "rosetta run --profile full --only jax/rnn/cpu/none/1/fp32/reference/real/2 --repeats 3 --rerun all" in text
    assert f"{row['epoch_losses'][-1]:.4f}" in text
    assert page.locator(".log").inner_text().startswith(row["log_tail"][:40])


def test_what_a_log_says_is_text(page, made):
    page.goto((made / "cells.html").as_uri())
    page.get_by_label("Status").select_option("failed")
    page.locator("tbody tr:visible a").click()
    assert page.locator(".log").inner_text() == HOSTILE
    assert page.locator("main script, main img").count() == 0
    assert "owned" not in page.title()


def test_every_page_opens_in_both_schemes_and_on_a_phone_without_scrolling_sideways(page, made):
    page.set_viewport_size({"width": 390, "height": 844})
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        for path in ("index.html", "charts.html", "history.html", "cells.html", "parity.html", "stone-rnn.html"):
            page.goto((made / path).as_uri())
            page.wait_for_load_state("load")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path


def test_history_draws_a_step_and_says_what_else_is_new_since(page, made):
    page.goto((made / "history.html").as_uri())
    figure = page.locator("figure", has_text="pytorch/rnn/cpu").first
    figure.locator("svg").wait_for()
    assert "+30 %" in figure.locator("svg").text_content()
    (change,) = page.locator("table.changes tbody tr").all_inner_texts()
    assert change.split("\t") == ["2026-03-02", "101 s", "131 s", "+30 %", "version 2.12.0 → 2.13.0"]


def test_text_has_enough_contrast(page, made):
    page.goto((made / "index.html").as_uri())
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        names = ("ink", "soft", "accent", "good", "bad", "keyword", "text", "number", "comment", "name")
        for name in names:
            style = "getComputedStyle(document.documentElement)"
            colours = page.evaluate(f"['paper', '{name}'].map(n => {style}.getPropertyValue('--' + n))")
            assert contrast(*colours) >= 4.5, (scheme, name)


def contrast(*colours: str) -> float:
    """By the formula of WCAG 2."""

    def luminance(colour: str) -> float:
        parts = [int(colour.strip()[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted(map(luminance, colours))
    return (light + 0.05) / (dark + 0.05)


def test_ten_thousand_rows_open_complete(page, tmp_path):
    row = measured()[0]
    points = itertools.islice(itertools.product(range(500), range(20)), 10_000)
    rows = [{**row, "cell": f"library-{n}/rnn/cpu", "repeat": r, "run": f"{n}-{r}"} for r, n in points]
    table = table_of(rows)
    path = tmp_path / "cells.html"
    made = pages.Site(table, "many")
    (tmp_path / "assets").mkdir()
    for name in ("cells.html", "assets/site.css", "assets/site.js"):
        (tmp_path / name).write_bytes(made.pages[name]())
    page.goto(path.as_uri())
    assert page.locator("tbody tr").count() == 10_000
    page.get_by_label("Filter").fill("library-7/")
    assert page.locator("output").inner_text() == "500 of 10,000 rows"


def test_without_javascript_everything_can_be_read(browser, written):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((written / "index.html").as_uri())
    assert page.locator("#content tbody tr:visible").count() > 25
    assert page.locator(".map tbody a").first.get_attribute("href").startswith("cells/")
    page.goto((written / "stone-rnn.html").as_uri())
    assert page.locator("article:visible").count() == page.locator("article").count() > 20
    context.close()


def test_a_served_page_fills_while_cells_run(page, tmp_path):
    folder = tmp_path / "results"
    folder.mkdir()
    rows = list({row["library"]: row for row in measured() if row["workload"] == "rnn"}.values())
    command = [sys.executable, "-c", "from orchestrator.cli.main import main; main()", "report", str(folder)]
    with subprocess.Popen(
        [*command, "--serve", "--port", "0"], cwd=ROOT, env={**os.environ}, stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            port = re.search(r"localhost:(\d+)", server.stdout.readline())[1]
            page.goto(f"http://127.0.0.1:{port}/")
            expect(page.locator(".counts")).to_contain_text("No results yet")
            claim = Claims(folder).take(rows[0]["key"])
            claim.update(cell=rows[0]["cell"], repeat=0, epoch=1, epochs=3, loss=0.5)
            expect(page.locator("#now")).to_contain_text(f"{rows[0]['cell']}: epoch 1 of 3, loss 0.500")
            fields = page.locator("#content tbody td a")
            for number, row in enumerate(rows[:3], 1):
                write_row(row, folder / "cells" / row["key"] / f"{row['cell']}.parquet")
                expect(fields).to_have_count(number, timeout=20_000)
                expect(page.locator("#matrix tbody td a")).to_have_count(number)
            claim.release()
            expect(page.locator("#now")).to_be_hidden(timeout=20_000)
            page.locator(TABLE).get_by_role("button", name="CPU").click()
            write_row(rows[3], folder / "cells" / rows[3]["key"] / f"{rows[3]['cell']}.parquet")
            expect(fields).to_have_count(4, timeout=20_000)
            shown = page.locator(f"{TABLE} td:nth-child(2)[data-value]").evaluate_all(VALUES)
            assert list(map(float, shown)) == sorted(map(float, shown))  # as the reader had sorted it
            page.goto("about:blank")  # else it asks a server that is gone
        finally:
            server.terminate()
