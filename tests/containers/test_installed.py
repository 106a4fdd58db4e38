"""The program without its checkout: a wheel in an empty environment, used in an empty folder."""

import json
import re
import shlex
import shutil
import subprocess

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
    command = [shutil.which("python3", path=str(installed.environment / "bin")), "-c"]
    command.append("from orchestrator.cli.main import main; main()")
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    words += ["--results", str(tmp_path)]
    with_path = subprocess.run([*command, *words], cwd=ROOT, env=environment, capture_output=True, text=True)
    theirs = {cell["id"]: cell["key"] for cell in json.loads(with_path.stdout)}
    both = [cell for cell in json.loads(ours.stdout) if cell["key"] and theirs[cell["id"]]]
    assert len(both) > 20
    assert {cell["id"]: cell["key"] for cell in both} == {cell["id"]: theirs[cell["id"]] for cell in both}


def test_a_cell_runs_and_is_found_done(installed, here):
    (row,) = pq.read_table(here / "results" / "merged.parquet").to_pylist()
    assert (row["cell"].rpartition("/")[0], row["status"]) == (CELL, "ok") or row["status"] == "ok"
    assert row["commit"] is None
    again = installed.rosetta("plan", "--profile", "quick", "--only", CELL, cwd=here)
    assert re.search(rf"^{CELL} +done", again.stdout, re.MULTILINE), again.stdout
    assert installed.rosetta("table", cwd=here).returncode == 0
    assert installed.rosetta("merge", cwd=here).returncode == 0


def test_pages_and_notebooks_are_an_extra_and_complete_with_it(installed, here):
    for words in (["report"], ["notebook", "--all"], ["sync", "pull", "az://account/container"]):
        refused = installed.rosetta(*words, cwd=here)
        assert refused.returncode == 18, refused.stderr
        assert re.search(r"pip install 'rosetta-matrix\[(report|azure)\]'", refused.stderr)
    installed.pip("[report]")
    done = installed.rosetta("report", cwd=here)
    assert done.returncode == 0, done.stderr
    assert list((here / "site").rglob("pytorch-rnn-cpu*.html")) or "pytorch" in (here / "site/index.html").read_text()
    done = installed.rosetta("notebook", "--all", cwd=here)
    assert done.returncode == 0, done.stderr
    every = [script for workload in parameters() for script in scripts(workload)]
    assert len(list((here / "notebooks").iterdir())) == len(every)


def test_one_cell_by_hand_as_the_readme_has_it(here, tmp_path):
    (line,) = re.findall(r"(?m)^\$ (docker run --rm -v \$PWD/results:/results .*)$", (ROOT / "README.md").read_text())
    (tmp_path / "results").mkdir()
    words = shlex.split(line.replace("$PWD", str(tmp_path)))
    done = subprocess.run([word if word != "2" else "1" for word in words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (document,) = (tmp_path / "results").glob("pytorch-rnn-*.json")
    assert json.loads(document.read_text())["library"] == "pytorch"


def test_the_installed_files_are_only_read(installed, here, tmp_path):
    site = next(installed.environment.glob("lib/python*/site-packages"))
    written = [path for path in (site / "orchestrator" / "program").rglob("*") if path.suffix in (".json", ".txt")]
    tracked = subprocess.run(["git", "-C", ROOT, "ls-files", "images", "workloads"], capture_output=True, text=True)
    names = set(tracked.stdout.split())
    assert {path.relative_to(site / "orchestrator" / "program").as_posix() for path in written} <= names
