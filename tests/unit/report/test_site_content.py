"""What stands on the overview, without a browser: the picture, one machine per table, the marks, the downloads."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest

from benchmarks.agreeing import agreeing
from orchestrator.cell.cell import Cell
from orchestrator.cell.profile import parse
from orchestrator.compare.history import Day
from orchestrator.plan.combinations import cells_of_file
from orchestrator.plan.selection import known_words
from orchestrator.report import notes
from orchestrator.report.site import charts, history, pages
from orchestrator.report.site.downloads import downloads
from orchestrator.results.files import read_results, table_of, write_results
from orchestrator.results.merging import gather
from orchestrator.results.profiles import write_profile
from orchestrator.results.rows import incompatible_row
from orchestrator.system.checkout import ROOT
from tests.unit.cell.test_profile import files

MEASURED = read_results(ROOT / "docs" / "results" / "2026-11-25-cpu.parquet").to_pylist()
LIKE = next(row for row in MEASURED if row["cell"] == "pytorch/rnn/cpu")
OTHER = {"cpu": "AMD EPYC", "cores": 64}


def ran(library: str, seconds: float, rounds: int = 4, **changes: Any) -> list[dict[str, Any]]:
    known = {"framework_version": "1.2", "proof": "parity of this script and image, run 1"}
    changes = {"library": library, "cell": f"{library}/rnn/cpu", **known, **changes}
    return [
        agreeing(LIKE, **changes, repeat=n, run=f"{library}-{n}-{changes.get('cpu')}", seconds=seconds + n / 100)
        for n in range(rounds)
    ]


def failed(library: str) -> dict[str, Any]:
    return {**ran(library, 1, 1)[0], "status": "failed", "reason": "exit code 1", "seconds": None, "quality": None}


def impossible(library: str, platform: str = "cpu", gpu: str = "none") -> dict[str, Any]:
    return incompatible_row(Cell(library, "rnn", platform, gpu), f"no release for {platform}", "docker")


def site(*rows: dict[str, Any]) -> pages.Site:
    return pages.Site(table_of(rows), "here")


def test_the_page_of_a_cell_says_where_a_step_goes_and_has_the_trace(tmp_path):
    recording = parse(files(), Cell("pytorch", "rnn", data="synthetic"), 5)
    write_profile(recording, tmp_path, "pytorch/rnn/cpu")
    rows = [*ran("pytorch", 100), *ran("jax", 130)]
    made = pages.Site(table_of(rows), "here", folder=tmp_path)
    (trace,) = (path for path in made.pages if path.startswith("profiles/"))
    assert made.pages[trace]() == recording.trace
    text = {path: make().decode() for path, make in made.pages.items() if path.startswith("cells/")}
    profiled = [path for path, page in text.items() if "Where a step goes" in page]
    assert profiled
    assert all(path.startswith("cells/pytorch-rnn-cpu-") for path in profiled)
    assert f'href="../{trace}"' in text[profiled[0]]
    assert '<th scope="row">kernels</th><td class="number">600.00</td><td class="number">60.0</td>' in text[profiled[0]]
    elsewhere = pages.Site(table_of(rows), "here")
    assert not [path for path in elsewhere.pages if path.startswith("profiles/")]


def fields(*rows: dict[str, Any]) -> dict[str, list]:
    (drawn,) = (picture for picture in site(*rows).overview()["pictures"] if picture.workload == "rnn")
    return {
        library: [field and (field.kind, field.shown) for field in line] for (library, _), line in drawn.rows.items()
    }


def test_a_field_tells_its_ratio_its_failure_or_why_there_is_none():
    short = ran("paddle", 5, 1, epochs=1, data="synthetic", shortened=True)
    rows = [*ran("pytorch", 100), *ran("jax", 130), *ran("tensorflow", 1200), *short, failed("chainer")]
    assert fields(*rows, impossible("knet"), impossible("jax", "cuda8", "k80")) == {
        "Chainer": [("failed", "✗"), None],
        "JAX (Flax)": [("near", "1.3"), ("impossible", "–")],
        "Julia (Knet)": [("impossible", "–"), None],
        "PaddlePaddle": [("doubtful", "†"), None],
        "PyTorch": [("best", "1.0"), None],
        "TensorFlow": [("farthest", "12"), None],
    }


def test_few_rounds_have_a_ratio_and_no_rank():
    assert fields(*ran("pytorch", 100, 1), *ran("jax", 130, 3)) == {
        "JAX (Flax)": [("few", "1.3")],
        "PyTorch": [("few", "1.0")],
    }
    found = fields(*ran("pytorch", 100), *ran("jax", 50, 3), *ran("tensorflow", 130))
    assert {title: field for title, (field,) in found.items()} == {
        "JAX (Flax)": ("few", "0.5"),  # which no other is measured by
        "PyTorch": ("best", "1.0"),
        "TensorFlow": ("near", "1.3"),
    }


def test_a_time_is_compared_within_its_machine_and_its_form_of_network_alone():
    found = fields(*ran("pytorch", 100), *ran("jax", 10, **OTHER), *ran("lasagne", 1))
    assert {field for line in found.values() for field in line if field} == {("alone", "✓")}


def test_a_field_says_its_reason_and_leads_to_its_run():
    made = site(*ran("pytorch", 100), failed("chainer"), impossible("knet"))
    (drawn,) = (picture for picture in made.overview()["pictures"] if picture.workload == "rnn")
    said = {library: line[0] for (library, _), line in drawn.rows.items()}
    assert "exit code 1" in said["Chainer"].said
    assert said["Chainer"].page in made.pages
    assert "no release for cpu" in said["Julia (Knet)"].said
    anchor = said["Julia (Knet)"].page.partition("#")[2]
    assert f'id="{anchor}"' in made.pages["cells.html"]().decode()


def test_each_table_is_of_one_machine_and_the_figures_of_2018_stand_with_the_first():
    made = site(*ran("pytorch", 100), *ran("jax", 110), *ran("tensorflow", 10, **OTHER))
    first, second = next(views for views in made.views if views[0].workload == "rnn")
    assert (first.machine, second.machine) == ("Intel Xeon Processor, 1 core", "AMD EPYC, 64 cores")
    assert first.columns[0] == second.columns[0] == ("CPU",)
    assert any("2018" in heading[0] for heading in first.columns)
    assert (len(second.columns), list(second.rows)) == (1, ["TensorFlow"])
    assert not any(entry.runs for entry in first.rows["TensorFlow"])  # there for its figures of 2018


def test_the_glossary_has_every_mark_of_the_tables():
    assert set(notes.LEGEND.items()) <= set(notes.GLOSSARY.items())
    text = site(*ran("pytorch", 100)).pages["index.html"]().decode()
    assert text.count("<dt>") >= len(notes.GLOSSARY)


def test_downloads_hold_every_row_and_no_formula(tmp_path):
    rows = [*ran("pytorch", 100), {**failed("chainer"), "reason": "=HYPERLINK(1)", "log_tail": "secret"}]
    files = {name: make() for name, make in downloads(table_of(rows)).items()}
    assert pq.read_table(io.BytesIO(files["results.parquet"])).num_rows == 5
    (tmp_path / "results.parquet").write_bytes(files["results.parquet"])
    assert read_results(tmp_path / "results.parquet").to_pylist() == table_of(rows).to_pylist()
    lines = list(csv.DictReader(io.StringIO(files["results.csv"].decode())))
    assert [line["reason"] for line in lines if line["reason"]] == ["'=HYPERLINK(1)"]
    assert json.loads(lines[0]["epoch_losses"]) == rows[0]["epoch_losses"]
    assert [row["seconds"] for row in json.loads(files["results.json"])] == [row["seconds"] for row in rows]
    assert b"secret" not in files["results.csv"] + files["results.json"]


def test_downloads_within_a_results_folder_add_no_rows_to_it(tmp_path):
    results = table_of(ran("pytorch", 100))
    write_results(results, tmp_path / "a.parquet")
    for name, make in downloads(results).items():
        (tmp_path / name).write_bytes(make())
    said: list[str] = []
    assert gather([tmp_path], said.append).num_rows == 4
    assert len(said) == 1  # JSON that is no document of a container is left alone


def test_the_summary_says_when_and_on_which_machines():
    content = site(*ran("pytorch", 100), *ran("jax", 10, **OTHER), impossible("knet")).overview()
    assert content["headline"].startswith("Here: 8 runs of 2 libraries in 1 workload, measured 2026-11-25.")
    said = {fact.name: fact.lines for fact in content["summary"]}
    assert sorted(said["Machines"]) == [
        "AMD EPYC, 64 cores, 24 GiB, Debian GNU/Linux 12 (bookworm): 4 runs",
        "Intel Xeon Processor, 1 core, 24 GiB, Debian GNU/Linux 12 (bookworm): 4 runs",
    ]


@pytest.mark.parametrize(
    ("workload", "worst", "best", "ends"),
    [
        ("rnn", 0.856, 0.866, (0.805, 0.905)),  # the band is .83–.88: a tenth, whatever the runs are
        ("cnn", 0.5, 0.78, (0.4845, 0.8255)),  # a run that is wrong is on it
        ("another", 0.99, 0.99, (0.94, 1.0)),
    ],
)
def test_the_axis_of_quality_makes_no_ranking_of_seeds(workload, worst, best, ends):
    scale = charts.quality_scale(workload, [{"worst": worst, "best": best}])
    assert scale.ends == pytest.approx(ends)


def test_charts_are_of_one_machine_and_of_two_libraries_at_least():
    made = site(*ran("pytorch", 100), *ran("jax", 110), *ran("tensorflow", 10, **OTHER)).charts()
    assert [chart.title for chart in made] == [
        "GRU on IMDB: CPU, Intel Xeon Processor, 1 core",
        "GRU on IMDB: time against quality, Intel Xeon Processor, 1 core",
        "GRU on IMDB: CPU, AMD EPYC, 64 cores",
    ]
    alone = made[-1].spec["layer"][0]["encoding"]["x"]["scale"]
    assert alone["domainMax"] > 20  # the only bar is not as wide as the page


def test_history_shows_what_ran_on_several_days_and_what_changed_with_a_step():
    def day(number: int, seconds: float, **changes: Any) -> dict[str, Any]:
        (row,) = ran("jax", seconds, 1, **changes)
        started = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=7 * number)
        return {**row, "started": started, "run": f"day-{number}"}

    before = [day(n, 100 + n % 3, commit="a" * 40) for n in range(10)]
    after = [day(10 + n, 130 + n % 3, framework_version="1.3", commit="b" * 40) for n in range(10)]
    made = site(*before, *after, *ran("pytorch", 100))
    (series,) = history.history(made.rows)
    (change,) = series.changes
    assert (change.date, change.before, change.after, change.percent) == ("2026-03-12", "101 s", "131 s", "+30 %")
    assert change.others == ["version 1.2 → 1.3", f"commit of the orchestrator {'a' * 12} → {'b' * 12}"]
    text = made.pages["history.html"]().decode()
    assert "jax/rnn/cpu" in text
    assert "pytorch/rnn/cpu" not in text  # one day is no history
    assert "version 1.2 → 1.3" in text
    assert "No cell has run on more than one day yet" in site(*ran("pytorch", 1)).pages["history.html"]().decode()


def test_the_stone_leads_from_a_reference_to_its_tuned_script_with_the_gain():
    tuned = {"variant": "tuned", "cell": "pytorch/rnn/cpu/tuned"}
    made = site(*ran("pytorch", 30), *ran("pytorch", 12, **tuned))
    shown = {title: [(heading, entry.time) for heading, entry in line] for title, line in made.figures("rnn").items()}
    assert shown == {
        "PyTorch": [("CPU", "30 s")],
        "PyTorch, tuned": [("CPU tuned", "12 s"), ("CPU tuned gain", "2.50 ×")],
    }
    html = made.stone_page("rnn", ["rnn"])().decode()
    assert '<a href="#pytorch+pytorch-tuned">PyTorch</a>' in html
    assert 'id="pytorch-tuned"' in html
    assert "CPU tuned gain: 2.50 ×" in html


def test_runs_of_1970_are_no_days_of_a_history_and_its_caption_counts_them():
    rows = [
        {**row, "started": datetime(2026, 1, 1 + n, tzinfo=UTC), "repeat": n, "run": f"day-{n}"}
        for n, row in enumerate(ran("jax", 100, 3))
    ]
    wrong = [{**rows[0], "started": datetime(1970, 1, 1 + n, tzinfo=UTC), "run": f"wrong-{n}"} for n in range(2)]
    once = {**ran("pytorch", 90, 1)[0], "started": datetime(2026, 1, 1, tzinfo=UTC)}
    made = site(*rows, *wrong, once, {**once, "started": datetime(2014, 12, 31, tzinfo=UTC), "run": "2014"})
    (series,) = history.history(made.rows)  # one right day of PyTorch's is no history
    assert [day.date for day in series.days] == ["2026-01-01", "2026-01-02", "2026-01-03"]
    assert series.caption.endswith(" 2 runs dated before 2015 are left out: their clock was wrong.")
    assert "measured 2026-01-01 to 2026-01-03" in made.pages["index.html"]().decode()


def test_the_axis_of_a_history_begins_with_its_first_day_and_ends_with_its_last():
    def labels(*dates: str) -> list[str]:
        days = [Day(date, [], 1, 1, 1) for date in dates]
        return [date.isoformat() for date in history.labelled(days)]

    assert labels("2026-01-05", "2026-01-06") == ["2026-01-05", "2026-01-06"]
    assert labels("2026-02-27", "2026-03-02") == ["2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02"]
    year = labels("2026-01-01", "2026-01-02", "2026-12-31")
    assert (len(year), year[0], year[-1]) == (history.LABELS, "2026-01-01", "2026-12-31")


@pytest.mark.parametrize(
    ("workload", "variant"), [("rnn", "reference"), ("rnn", "tuned"), ("densenet121", "resized-crop")]
)
def test_the_command_of_a_cells_page_names_a_profile_that_has_it(workload, variant):
    cell = Cell("pytorch", workload, variant=variant)
    assert cell in cells_of_file(ROOT / "matrix.yaml", pages.profile(cell), known_words())
