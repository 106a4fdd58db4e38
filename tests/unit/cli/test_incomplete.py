"""A library of which a part is missing: the program says which, and the others go on."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from orchestrator.system.checkout import ROOT
from tests.unit.images.toy import TOY


@pytest.fixture
def checkout(tmp_path):
    """A copy of what a plan reads, in which a library can be added without its parts."""
    for name in ("orchestrator", "images", "workloads"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "matrix.yaml", tmp_path)
    return tmp_path


def rosetta(checkout, *words):
    """The program of a copy; exit code, output, and what it says beside it."""
    program = [sys.executable, "-c", "from orchestrator.cli.main import main; main()", *words]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run(program, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_a_library_without_a_part_says_which_and_stops_no_other(checkout):
    (checkout / "images" / "toy.yaml").write_text(json.dumps(TOY))
    (checkout / "workloads" / "cnn" / "toy.py").write_text("# a script\n")
    plan_words = ["plan", "--engine", "process", "--only"]
    code, out, err = rosetta(checkout, *plan_words, "{toy,pytorch}/{cnn,rnn}/{cpu,cuda8/k80}", "--json")
    assert (code, err) == (0, "")
    cells = {cell["id"]: (cell["verdict"], cell["reason"]) for cell in json.loads(out)}
    assert cells["toy/cnn/cpu"] == ("incompatible", "images/locks/toy-cpu.txt is missing: rosetta lock toy")
    assert cells["toy/rnn/cpu"] == ("incompatible", "not implemented yet: no workloads/rnn/toy.py")
    assert cells["toy/cnn/cuda8/k80"][1] == "not built for cuda8: images/toy.yaml does not mention it"
    assert cells["pytorch/rnn/cpu"] == ("ready", "")
    code, _, err = rosetta(checkout, "run", "--engine", "process", "--only", "toy/cnn/cpu")
    assert (code, "is missing: rosetta lock toy" in err) == (4, True)

    (checkout / "images" / "locks" / "toy-cpu.txt").write_text("toy==1.0 --hash=sha256:00\n")
    code, out, _ = rosetta(checkout, *plan_words, "toy/cnn/cpu")
    assert (code, out.split()[:2]) == (0, ["toy/cnn/cpu", "ready"])
    code, _, err = rosetta(checkout, *plan_words, "toy/*", "--profile", "quick")
    assert code == 4
    assert "The profile quick has none of the selected cells.\nIts libraries are chainer, " in err
    assert "--profile try" in err
    assert rosetta(checkout, *plan_words, "toy/*", "--profile", "try")[0] == 0


def test_a_script_without_its_definition_is_left_out_with_a_note(checkout):
    for path in (checkout / "workloads").glob("*/*.*"):
        if path.parent.name not in ("harness", "reference") and path.stem != "pytorch":
            path.unlink()  # a report of few scripts is made faster
    (checkout / "workloads" / "cnn" / "toy.py").write_text("# a script\n")
    note = "note: workloads/cnn/toy.py: images/ defines no library toy. Define it in images/toy.yaml"
    code, out, err = rosetta(checkout, "plan", "--engine", "process", "--only", "pytorch/cnn/cpu")
    assert (code, out.split()[:2], note in err) == (0, ["pytorch/cnn/cpu", "ready"], True)
    code, _, err = rosetta(checkout, "notebook", "toy", "cnn")
    assert (code, note in err, "toy has no script for cnn" in err) == (4, True, True)
    code, out, err = rosetta(checkout, "notebook", "pytorch", "cnn")
    assert (code, out, note in err) == (0, "pytorch-cnn.ipynb\n", True)
    results = ROOT / "docs" / "results" / "2026-11-23-cnn-pytorch.parquet"
    code, out, err = rosetta(checkout, "report", str(results))
    assert (code, note in err) == (0, True), err


def test_a_definition_that_can_not_be_read_is_named(checkout):
    (checkout / "images" / "toy.yaml").write_text("framework: [")
    code, _, err = rosetta(checkout, "plan", "--only", "pytorch/*")
    assert (code, "images/toy.yaml is not valid YAML" in err) == (3, True)


def test_a_name_that_is_not_there_is_said_with_the_nearest(checkout):
    code, _, err = rosetta(checkout, "lock", "pytroch")
    assert (code, "Did you mean 'pytorch'?" in err) == (3, True)
    code, _, err = rosetta(checkout, "notebook", "pytroch", "cnn")
    assert (code, "Did you mean 'pytorch cnn'?" in err) == (4, True)
