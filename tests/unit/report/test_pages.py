"""Pages and notebooks without a browser: what they say, and what comes of text that attacks."""

import shlex
import socket
import subprocess
import sys
from dataclasses import fields

import pytest
from click.testing import CliRunner

from orchestrator.cell.parameters import parameters
from orchestrator.cli import cells
from orchestrator.cli.main import main
from orchestrator.cli.options import Length, Selection
from orchestrator.engines.process import ProcessEngine
from orchestrator.errors import ResultError, StorageError
from orchestrator.images.definitions import library_index
from orchestrator.report import notebook
from orchestrator.report.scripts import scripts
from orchestrator.report.site import calls, facts, pages
from orchestrator.report.tables import tables
from orchestrator.results.files import read_results, table_of, write_results, write_row
from orchestrator.results.merging import Folder
from orchestrator.system.checkout import ROOT

SCRIPTS = [script for workload in parameters() for script in scripts(workload)]
ROWS = [row for path in (ROOT / "docs" / "results").glob("*.parquet") for row in read_results(path).to_pylist()]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: f"{script.workload}/{script.path.name}")
def test_a_notebook_has_the_lines_of_its_script(script):
    made = notebook.notebook(script)
    code = [cell.source for cell in made.cells if cell.cell_type == "code"]
    headings = [cell.source for cell in made.cells if cell.cell_type == "markdown"]
    lines = [line for line in script.path.read_text().splitlines() if line and not line.startswith("# --- ")]
    assert [line for line in "\n".join(code[1:]).splitlines() if line] == lines
    assert headings[1:] == [f"## {section.title}" for section in script.sections()[1:]]
    assert notebook.notebook(script) == made


def test_the_script_of_a_variant_is_told_from_that_of_a_longer_name():
    assert {(s.library, s.variant) for s in SCRIPTS if s.path.stem == "tensorflow_2018_highapi"} == {
        ("tensorflow-2018", "highapi")
    }


def test_the_page_of_a_run_says_what_its_image_was_built_on():
    stand_in = f"python:3.11 (stand-in sha256:{'b' * 64})"
    for base, lines in ((stand_in, [("built on", stand_in)]), (None, [])):
        found = facts.facts({**ROWS[0], "base": base})["What ran"]
        assert [(line.name, line.value) for line in found if line.name == "built on"] == lines


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("packages", '{"h5py": "3.11.0", "keras": "3.15.1"}', "h5py 3.11.0, keras 3.15.1"),
        ("packages", "{broken", "{broken"),
        ("gpus_before", '[{"name": "V100", "throttled": []}, {"name": "K80"}]', "name V100, throttled none; name K80"),
        ("import_seconds", 1.53, "1.53 s"),
        ("energy", 1234.5, "1,234 J"),
        ("memory", 2**31, "2.00 GiB"),
        ("shortened", False, "no"),
        ("packages", "{}", None),
        ("packages", "[" * 100_000, "[" * 100_000),
    ],
)
def test_a_fact_reads_as_words_with_its_unit(column, value, text):
    lines = {
        line.value for section in facts.facts({**dict.fromkeys(ROWS[0]), column: value}).values() for line in section
    }
    assert lines == ({text} if text else set())


def test_the_page_of_parity_lists_every_tolerance():
    allowed = pages.Site(table_of(ROWS), "here").parity()["allowed"]
    assert allowed["cnn"] == ["scores 1e-04", "loss 1e-04", "parameters 1e-03", "updates 1e-02"]
    assert allowed["resnet50"] == ["features 1e-04"]
    assert set(allowed) == set(parameters())


def test_notebooks_by_the_command(tmp_path):
    done = CliRunner().invoke(main, ["notebook", "pytorch", "cnn", "-o", str(tmp_path / "a.py")])
    assert done.exit_code == 0, done.output
    assert "# %% [markdown]\n# ## Model" in (tmp_path / "a.py").read_text()
    done = CliRunner().invoke(main, ["notebook", "--all", "-o", str(tmp_path)])
    assert len(list(tmp_path.glob("*.ipynb"))) == len(SCRIPTS)


def test_a_notebook_that_somebody_has_changed_stays(tmp_path):
    path, words = tmp_path / "a.ipynb", ["notebook", "pytorch", "cnn", "-o", str(tmp_path / "a.ipynb")]
    assert [CliRunner().invoke(main, words).exit_code for _ in range(2)] == [0, 0]
    fresh = path.read_text()
    path.write_text(fresh.replace("SGD", "Adam"))
    done = CliRunner().invoke(main, words)
    assert (done.exit_code, "--overwrite" in done.output) == (StorageError.exit_code, True)
    assert "Adam" in path.read_text()
    assert CliRunner().invoke(main, [*words, "--overwrite"]).exit_code == 0
    assert path.read_text() == fresh
    first = tmp_path / "all" / "caffe2-cnn.ipynb"
    first.parent.mkdir()
    first.write_text("mine")
    assert CliRunner().invoke(main, ["notebook", "--all", "-o", str(first.parent)]).exit_code == 0
    assert (first.read_text(), len(list(first.parent.glob("*.ipynb")))) == ("mine", len(SCRIPTS))


@pytest.mark.parametrize("name", ["A.IPYNB", "a.PY"])
def test_a_suffix_in_capitals_is_the_same_suffix(name, tmp_path):
    assert CliRunner().invoke(main, ["notebook", "pytorch", "cnn", "-o", str(tmp_path / name)]).exit_code == 0
    assert "import torch" in (tmp_path / name).read_text()


@pytest.mark.parametrize(
    "change",
    [{}, {"repeat": 2}, {"data": "synthetic", "epochs": 2, "samples": 1280}, {"precision": "amp-bf16"}],
    ids=["as published", "another round", "short", "another precision"],
)
def test_the_command_on_a_page_selects_that_cell_alone(change):
    row = {**next(row for row in ROWS if row["cell"] == "pytorch/rnn/cpu"), **change}
    if "precision" in change:
        row |= {"platform": "cuda13", "gpu": "h200"}
    words = shlex.split(next(pages.commands(row)))
    assert words[:2] == ["rosetta", "run"]
    command = main.commands["run"].make_context("run", words[2:])
    selection, length = (
        kind(**{field.name: command.params[field.name] for field in fields(kind)}) for kind in (Selection, Length)
    )
    (cell,) = cells.cells_of(selection, ProcessEngine(), length)
    assert {axis: getattr(cell, axis) for axis in ("library", "workload", "platform", "gpu", "precision", "data")} == {
        axis: row[axis] for axis in ("library", "workload", "platform", "gpu", "precision", "data")
    }
    assert cell.repeat == row["repeat"]
    assert command.params["rerun"] == "all"


def test_every_link_of_a_call_leads_to_the_library_s_own_documentation():
    for script in SCRIPTS:
        names = calls.origins(script.path.read_text())
        found = [link for s in script.sections()[1:] for link in calls.links(s.code, names, script.library)]
        assert all(link.url.startswith("https://") for link in found)
        library = library_index()[script.library].libraries[script.library]
        assert bool(found) == bool(library.links), script.path


@pytest.mark.parametrize(
    ("library", "name", "url"),
    [
        ("pytorch", "torch.nn.Linear", "https://docs.pytorch.org/docs/2.13/generated/torch.nn.Linear.html"),
        ("pytorch", "torch.amp.autocast", "https://docs.pytorch.org/docs/2.13/amp.html"),
        ("keras-torch", "keras.layers.Dense", "https://keras.io/api/layers/core_layers/dense/"),
        ("keras-theano", "keras.layers.Dense", "https://keras.io/2/api/layers/core_layers/dense/"),
        (
            "mxnet-r",
            "mxnet.gluon.nn.Dense",
            "https://mxnet.apache.org/versions/1.9.1/api/python/docs/api/gluon/nn/index.html#mxnet.gluon.nn.Dense",
        ),
        ("tensorflow", "tensorflow.nn.relu", "https://www.tensorflow.org/api_docs/python/tf/nn/relu"),
        ("pytorch", "numpy.zeros", None),
        ("knet", "Knet.conv4", None),
    ],
)
def test_a_call_has_the_address_that_its_library_says(library, name, url):
    assert calls.address(name, library) == url


def test_a_cell_with_a_hostile_name_is_refused(tmp_path):
    write_results(table_of([{**ROWS[0], "cell": "../../<script>/x\0"}]), tmp_path / "a.parquet")
    with pytest.raises(ResultError, match="cell: "):
        pages.write(tmp_path / "a.parquet", tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_hostile_text_stays_within_the_folder(tmp_path):
    evil = "../../<script>/x"
    steering = f"{evil}\x1b[31m\u202e\0"
    row = {**ROWS[0], "run": evil, "image": steering, "host": steering, "cpu": steering, "reason": steering}
    write_results(table_of([row]), tmp_path / "a.parquet")
    pages.write(tmp_path / "a.parquet", tmp_path / "out" / "site")
    written = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.html")]
    assert any(path.startswith(f"out/site/cells/{row['library']}-") for path in written)
    assert all(path.startswith("out/site/") for path in written)
    for path in tmp_path.rglob("*.html"):
        text = path.read_text()
        assert "<script>/x" not in text
        assert not {"\x1b", "\u202e", "\0"} & set(text)


@pytest.mark.parametrize(
    "odd",
    [
        {"run": "a  run\u00a0 "},
        dict.fromkeys(("gpus_before", "gpus_during"), '[{"uuid":"http://a","throttled":["@"]}]'),
        {"packages": '{"a":"http://me:secret@host"}'},
    ],
    ids=["blanks in the run", "two texts like one address", "a login"],
)
def test_a_row_of_odd_texts_costs_no_table_and_no_page(odd, tmp_path):
    row = {**ROWS[0], **odd}
    write_results(table_of([row]), tmp_path / "a.parquet")
    assert pages.write(tmp_path / "a.parquet", tmp_path / "site")
    assert tables(table_of([row]))[0]
    (page,) = (tmp_path / "site" / "cells").iterdir()
    assert "secret" not in page.read_text()


def test_a_folder_is_read_again_as_its_files_come_change_and_go(tmp_path):
    folder = Folder(tmp_path)
    assert folder.read().num_rows == 0
    first, second = tmp_path / "cells" / "a" / "x.parquet", tmp_path / "cells" / "b" / "y.parquet"
    write_row(ROWS[0], first)
    seen = folder.read()
    assert (seen.num_rows, folder.read() is seen) == (1, True)
    write_row(ROWS[1], second)
    assert folder.read().num_rows == 2
    first.unlink()
    assert folder.read()["cell"].to_pylist() == [ROWS[1]["cell"]]


def test_where_a_port_is_taken_the_way_out_is_told(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [
            sys.executable,
            "-c",
            "from orchestrator.cli.main import main; main()",
            "report",
            str(tmp_path),
            "--serve",
        ]
        words = [*command, "--port", str(taken.getsockname()[1])]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 15
    assert "--port N" in done.stderr
