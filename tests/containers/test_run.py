"""`rosetta run` as a user types it, with real images, on real and synthetic data."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from orchestrator.system.checkout import ROOT
from tests.containers.interruption import interrupted_after_a_cell

pytestmark = pytest.mark.container

SELECTED = ["--only", "{pytorch,mxnet,cntk}/rnn/cpu", "--profile", "quick"]


def rosetta(*words: str, cwd: Path, **env: str) -> subprocess.CompletedProcess:
    command = [str(Path(sys.executable).parent / "rosetta"), *words]
    return subprocess.run(command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False)


def rows(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()


@pytest.fixture(scope="module")
def first_run(engine, tmp_path_factory):
    """One run of three libraries, old line and new; its folder and what it printed."""
    folder = tmp_path_factory.mktemp("run")
    return folder, rosetta("run", *SELECTED, cwd=folder)


def test_a_run_ends_with_one_ok_row_per_cell(first_run):
    folder, done = first_run
    assert done.returncode == 0, done.stdout + done.stderr
    merged = {row["library"]: row for row in rows(folder / "results" / "merged.parquet")}
    assert set(merged) == {"pytorch", "mxnet", "cntk"}
    for row in merged.values():
        assert (row["status"], row["engine"], row["epochs"], row["shortened"]) == ("ok", "docker", 2, True)
        assert row["quality"] >= 0.9
        assert row["image_digest"].startswith("sha256:")
        assert 0 < row["seconds"] < row["wall_seconds"]
    assert merged["cntk"]["python"].startswith("3.6.")
    files = sorted(path.name for path in (folder / "results" / "cells").rglob("*.parquet"))
    assert files == ["cpu.parquet"] * 3


def test_the_table_shows_time_beside_quality_and_marks_short_runs(first_run):
    _, done = first_run
    line = next(line for line in done.stdout.splitlines() if "PyTorch" in line)
    assert "†" in line
    assert "1.00" in line or ".9" in line
    assert "\x1b[" not in done.stdout


def test_a_second_run_does_nothing(first_run):
    folder, _ = first_run
    before = {path: path.stat().st_mtime_ns for path in (folder / "results" / "cells").rglob("*") if path.is_file()}
    done = rosetta("run", *SELECTED, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert before == {p: p.stat().st_mtime_ns for p in (folder / "results" / "cells").rglob("*") if p.is_file()}
    verdicts = json.loads(rosetta("plan", *SELECTED, "--json", cwd=folder).stdout)
    assert {v["verdict"] for v in verdicts} == {"done"}


def test_no_container_is_left(first_run, cells_of):
    assert cells_of(first_run[0] / "results") == []


def test_by_hand_the_result_belongs_to_the_caller_and_merges(first_run, tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    os.chown(results, 1234, 1234)
    image = rows(first_run[0] / "results" / "merged.parquet")[0]["image"]
    library = rows(first_run[0] / "results" / "merged.parquet")[0]["library"]
    words = [library, "rnn", "--data", "synthetic", "--epochs", "1", "--samples", "128"]
    subprocess.run(["docker", "run", "--rm", "-v", f"{results}:/results", image, *words], check=True)
    (document,) = results.glob("*.json")
    assert document.stat().st_uid == 1234
    assert rosetta("merge", str(results), "-o", str(tmp_path / "all.parquet"), cwd=tmp_path).returncode == 0
    (row,) = rows(tmp_path / "all.parquet")
    assert (row["library"], row["samples"], row["status"]) == (library, 128, "ok")


def test_real_reviews_reach_the_cell_through_a_volume(first_run, real_data, tmp_path):
    words = ["--only", "pytorch/rnn/cpu", "--samples", "640", "--epochs", "1"]
    done = rosetta("run", *words, cwd=tmp_path, ROSETTA_DATA_MIRROR=str(real_data))
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = rows(tmp_path / "results" / "merged.parquet")
    assert (row["data"], row["samples"], row["shortened"], row["status"]) == ("real", 640, True, "ok")


def test_ctrl_c_stops_the_containers_and_keeps_what_has_finished(first_run, cells_of, tmp_path):
    command = [str(Path(sys.executable).parent / "rosetta"), "run", "--profile", "quick", "--jobs", "2", "--only"]
    words = [*command, "pytorch/{rnn,cnn}/cpu", "--repeats", "20"]
    code, said = interrupted_after_a_cell(words, tmp_path)
    assert code == 130
    assert "finished cells are kept" in said
    assert cells_of(tmp_path / "results") == []
    kept = [row for row in rows(tmp_path / "results" / "merged.parquet") if row["status"] == "ok"]
    assert 1 <= len(kept) < 40


@pytest.mark.alone
def test_old_and_new_libraries_have_the_same_models(first_run):
    """A line of each: logits, losses and parameters against the reference in double precision."""
    folder, _ = first_run
    thrice, once = ("{pytorch,mxnet,cntk}/rnn/cpu", "pytorch/cnn/cpu"), ("{mxnet,cntk}/cnn/cpu", "pytorch/resnet50/cpu")
    for repeats, cells in (("3", thrice), ("1", once)):
        only = [word for cell in cells for word in ("--only", cell)]
        done = rosetta("parity", *only, "--repeats", repeats, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
    compared = {row["cell"]: json.loads(row["parity"]) for row in rows(folder / "results/parity/merged.parquet")}
    assert len(compared) == 7
    for cell, errors in compared.items():
        assert max(errors.values()) < 1e-2, cell
        assert all(error > 0 for error in errors.values()), cell
    assert "parameters" in done.stdout
    table = rosetta("parity", "--markdown", cwd=folder).stdout
    assert table.count("same model") == 7
    assert table.count("| 3, alike |") == 4  # to the last digit, with something else on all cores


def test_a_tuned_script_stands_beside_its_reference(first_run, tmp_path):
    """The data set on the device, batches by their indices: proved by the same call, then timed."""
    compared = rosetta(
        "parity", "--profile", "tuned", "--only", "pytorch/rnn/cpu/tuned", "--repeats", "1", cwd=tmp_path
    )
    assert compared.returncode == 0, compared.stdout + compared.stderr
    (proof,) = rows(tmp_path / "results" / "parity" / "merged.parquet")
    assert (proof["status"], proof["variant"], proof["quality"], proof["input"]) == ("ok", "tuned", 1.0, "device")
    short = ["--data", "synthetic", "--epochs", "2", "--samples", "640", "--results", "timed"]
    done = rosetta("run", "--profile", "tuned", "--only", "pytorch/rnn/{cpu,cpu/tuned}", *short, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    reference, tuned = sorted(rows(tmp_path / "timed" / "merged.parquet"), key=lambda row: row["variant"])
    assert (reference["input"], tuned["input"], tuned["contract"]) == ("host", "device", 2)
    assert "gain" in done.stdout


def test_a_changed_script_rebuilds_no_framework_layer(first_run, engine, tmp_path):
    copy = tmp_path / "checkout"
    for name in ("orchestrator", "images", "workloads"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "matrix.yaml", copy)
    tag = rows(first_run[0] / "results" / "merged.parquet")[0]["image"]
    before = engine.images.get(tag)
    script = copy / "workloads" / "rnn" / "pytorch.py"
    script.write_text(script.read_text() + f"# edited {time.time()}\n")
    build = [sys.executable, "-c", "from orchestrator.cli.main import main; main()", "build", *SELECTED]
    done = subprocess.run(build, cwd=copy, env={**os.environ, "PYTHONPATH": str(copy)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    after = engine.images.get(tag)
    try:
        assert after.id != before.id
        old, new = before.attrs["RootFS"]["Layers"], after.attrs["RootFS"]["Layers"]
        assert len(old) == len(new)
        assert [a == b for a, b in zip(old, new, strict=True)].count(False) == 1
    finally:
        before.tag(tag)
