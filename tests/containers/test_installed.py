"""The program without its checkout: a wheel in an empty environment, used in an empty folder."""

import json
import os
import re
import shlex
import subprocess
import sys
import zipfile

import pyarrow.parquet as pq
import pytest

from orchestrator.cell.parameters import parameters
from orchestrator.report.scripts import scripts
from orchestrator.system.checkout import ROOT

pytestmark = pytest.mark.container
CELL = "pytorch/rnn/cpu"


@pytest.fixture(scope="module")
def here(installed, tmp_path_factory):
    """An empty folder, in which a cell has been run then."""
    folder = tmp_path_factory.mktemp("empty")
    done = installed.rosetta("run", "--profile", "quick", "--engine", "docker", "--only", CELL, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_the_plan_is_that_of_the_checkout_key_by_key(installed, tmp_path):
    words = ["plan", "--profile", "full", "--engine", "process", "--unverified", "--json"]
    ours = installed.rosetta(*words, cwd=tmp_path)
    assert ours.returncode == 0, ours.stderr
    command = [sys.executable, "-c", "from orchestrator.cli.main import main; main()", *words, "--results", tmp_path]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    theirs = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert json.loads(ours.stdout) == json.loads(theirs.stdout)


def test_a_cell_runs_and_is_found_done(installed, here):
    (row,) = pq.read_table(here / "results" / "merged.parquet").to_pylist()
    assert (row["library"], row["workload"], row["status"], row["engine"]) == ("pytorch", "rnn", "ok", "docker")
    assert (row["commit"], row["quality"] > 0.9) == (None, True)  # a wheel from a file does not know its commit
    again = installed.rosetta("plan", "--profile", "quick", "--only", CELL, cwd=here)
    assert re.search(rf"^{CELL} +done", again.stdout, re.MULTILINE), again.stdout
    assert installed.rosetta("table", cwd=here).returncode == 0
    assert installed.rosetta("merge", cwd=here).returncode == 0


def test_pages_and_notebooks_are_an_extra_and_complete_with_it(installed, here):
    without = [installed.environment / "bin" / "pip", "uninstall", "--quiet", "--yes", "altair"]
    subprocess.run(without, check=True)  # another test may have wanted it
    for words in (["report"], ["notebook", "--all"], ["sync", "pull", "az://account/container"]):
        refused = installed.rosetta(*words, cwd=here)
        assert refused.returncode == 18, refused.stderr
        assert re.search(r"pip install 'rosetta-matrix\[(report|azure)\]'", refused.stderr)
    installed.pip("[report]")
    done = installed.rosetta("report", cwd=here)
    assert done.returncode == 0, done.stderr
    assert list((here / "site" / "cells").glob("pytorch-rnn-cpu-*.html"))
    done = installed.rosetta("notebook", "--all", cwd=here)
    assert done.returncode == 0, done.stderr
    every = [script for workload in parameters() for script in scripts(workload)]
    assert len(list((here / "notebooks").iterdir())) == len(every)


def test_one_cell_by_hand_as_the_readme_has_it(installed, here, tmp_path):
    (line,) = re.findall(r'(?m)^\$ eval "\$\(\.venv/bin/rosetta (run .* --print)\)"$', (ROOT / "README.md").read_text())
    printed = installed.rosetta(*shlex.split(line.replace("--epochs 2", "--epochs 1")), cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    done = subprocess.run(["bash", "-c", printed.stdout], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (document,) = (tmp_path / "results" / "by-hand").glob("*/pytorch-rnn-*.json")
    assert json.loads(document.read_text())["library"] == "pytorch"


def test_nothing_is_written_beside_the_installed_files(installed, here):
    refused = installed.rosetta("lock", "pytorch", cwd=here)
    assert (refused.returncode, "belongs to the installed program" in refused.stderr) == (6, True)
    (program,) = installed.environment.glob("lib/python*/site-packages/orchestrator/program")
    there = {path.relative_to(program).as_posix() for path in program.rglob("*") if path.is_file()}
    with zipfile.ZipFile(installed.wheel) as wheel:
        names = {name.removeprefix("orchestrator/program/") for name in wheel.namelist()}
    assert {name for name in there if "__pycache__" not in name} <= names
