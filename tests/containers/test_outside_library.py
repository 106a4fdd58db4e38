"""A library of a user's own, in a folder outside, with the installed program: from nothing to its proof."""

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.container
OUTSIDE = Path(__file__).parent / "outside"
CELL = ["--only", "tinygrad/cnn/cpu"]


def test_tinygrad_goes_from_a_yaml_and_a_script_to_lock_row_page_notebook_and_parity(installed, tmp_path):
    shutil.copytree(OUTSIDE, tmp_path / "mine")
    text = "axes: {library: [tinygrad, pytorch], workload: [cnn], platform: [cpu], gpu: [none], data: [synthetic]}\n"
    (tmp_path / "matrix.yaml").write_text(f"{text}profiles: {{full: {{}}}}\nwith: [mine]\n")
    installed.pip("[report]", "uv")

    def rosetta(*words):
        done = installed.rosetta(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "is missing: rosetta lock tinygrad --with" in rosetta("plan", *CELL)
    rosetta("lock", "tinygrad", "--with", "mine")
    lock = (tmp_path / "mine" / "images" / "locks" / "tinygrad-cpu.txt").read_text()
    assert "tinygrad==0.14.0" in lock
    assert "--hash=sha256:" in lock
    rosetta("build", *CELL)
    rosetta("run", *CELL, "--epochs", "1", "--samples", "64")
    (row,) = pq.read_table(tmp_path / "results" / "merged.parquet").to_pylist()
    assert (row["status"], row["library"], row["framework"], row["samples"]) == ("ok", "tinygrad", "tinygrad", 64)
    assert row["framework_version"] == "0.14.0"

    rosetta("report")
    pages = {path.name: path.read_text() for path in (tmp_path / "site").rglob("*.html")}
    assert [name for name in pages if name.startswith("tinygrad-cnn-cpu")]
    assert any("https://docs.tinygrad.org/nn/#tinygrad.nn.Conv2d" in page for page in pages.values())
    rosetta("notebook", "tinygrad", "cnn")
    assert "TinyJit" in json.dumps(json.loads((tmp_path / "tinygrad-cnn.ipynb").read_text()))

    rosetta("parity", *CELL, "--repeats", "1")  # that digits are the same each time, test_run.py shows
    (proof,) = pq.read_table(tmp_path / "results" / "parity" / "merged.parquet").to_pylist()
    assert (proof["status"], proof["quality"]) == ("ok", 1.0)
    errors = json.loads(proof["parity"])
    assert (errors["scores"] <= 1e-4, errors["loss"] <= 1e-4, errors["parameters"] <= 1e-3) == (True, True, True)
