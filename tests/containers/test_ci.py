"""What the GitHub Action does, by the script that it runs: two checkouts of a library of one's own, one slower."""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from orchestrator.errors import SlowerError
from orchestrator.system.checkout import ROOT

pytestmark = [pytest.mark.container, pytest.mark.alone]
COMPARE = ROOT / ".ci" / "compare"
SCRIPT = """
import time

from harness import Cell

cell = Cell("1")
data = cell.data()


def train_step(x, y):
    time.sleep({seconds})
    return 0.7


def predict(x):
    return [[0.0, 1.0]] * len(x)


cell.run(data, predict, train_step)
"""


@pytest.fixture
def checkout(tmp_path):
    """A repository of somebody else's, with a library whose steps take so long."""

    def checkout(name: str, seconds: float) -> Path:
        folder = tmp_path / name
        for part in ("images/locks", "workloads/rnn"):
            (folder / "mine" / part).mkdir(parents=True)
        definition = {
            "framework": "sleepy", "license": "MIT", "python": "3.11", "base": "python:3.11-slim-bookworm",
            "libraries": {"sleepy": {"title": "Sleepy", "docs": "https://example.org/"}},
            "platforms": {"cpu": {"version": "1", "requirements": ["numpy"]}},
        }  # fmt: skip
        numpy = re.search(r"(?m)^numpy==.*(\n .*)*", (ROOT / "images" / "locks" / "pytorch-cpu.txt").read_text())
        assert numpy is not None
        (folder / "mine" / "images" / "sleepy.yaml").write_text(json.dumps(definition))
        (folder / "mine" / "images" / "locks" / "sleepy-cpu.txt").write_text(f"{numpy[0]}\n")
        (folder / "mine" / "workloads" / "rnn" / "sleepy.py").write_text(SCRIPT.format(seconds=seconds))
        axes = {"library": ["sleepy"], "workload": ["rnn"], "platform": ["cpu"], "gpu": ["none"], "data": ["synthetic"]}
        (folder / "matrix.yaml").write_text(json.dumps({"axes": axes, "with": ["mine"], "profiles": {"full": {}}}))
        return folder

    return checkout


@pytest.fixture
def compare(tmp_path):
    """The script as a job of CI runs it; returns what came of it and the job's summary."""
    program = tmp_path / "rosetta"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -c "{MAIN}" "$@"\n')
    program.chmod(0o755)

    def compare(base: Path, head: Path, rounds: int) -> tuple[int, str]:
        summary = tmp_path / "summary.md"
        variables = {"ROSETTA": str(program), "ROUNDS": str(rounds), "GITHUB_STEP_SUMMARY": str(summary)}
        words = ["--engine", "process", "--samples", "640", "--epochs", "1", "--only", "sleepy/*"]
        command = [str(COMPARE), str(base), str(head), *words]
        done = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, **variables}, capture_output=True, text=True, check=False
        )
        assert summary.exists(), done.stdout + done.stderr
        return done.returncode, summary.read_text()

    return compare


MAIN = "from orchestrator.cli.main import main; main()"


def test_a_slower_branch_fails_once_there_are_rounds_enough(checkout, compare, tmp_path):
    base, head = checkout("base", 0.02), checkout("head", 0.2)
    code, summary = compare(base, head, 1)
    assert (code, summary.splitlines()[0]) == (0, "**0 of 1 cell is slower, or failed.**")
    assert "| can't tell |" in summary
    code, both = compare(base, head, 4)  # goes on with the second round
    lines = both.removeprefix(summary).splitlines()  # a job's summary has what each of its steps has added
    assert (code, lines[0]) == (SlowerError.exit_code, "**1 of 1 cell is slower, or failed.**"), both
    (row,) = [line for line in lines if line.startswith("| sleepy/rnn/cpu synthetic |")]
    assert row.endswith("| **slower** |")
    (case,) = xml.parse(tmp_path / "rosetta-results" / "diff.xml").getroot()
    assert (case.get("name"), case[0].tag) == ("sleepy/rnn/cpu synthetic", "failure")
