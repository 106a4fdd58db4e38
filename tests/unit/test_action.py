"""The GitHub Action: its steps as a runner starts them, on a repository of the test's own, and what it refuses."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from orchestrator.system.checkout import ROOT

COMPARE = (ROOT or Path()) / ".ci" / "compare"
STEPS = {
    step["name"]: step["run"]
    for step in yaml.safe_load((COMPARE.parent.parent / "action.yml").read_text())["runs"]["steps"]
}
GIT = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}


def step(name: str, cwd: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """A step as GitHub's runner starts it."""
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[name]]
    env = {**os.environ, **GIT, "RUNNER_TEMP": str(cwd.parent), **variables}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A shallow clone of a branch of a repository, as actions/checkout makes it."""
    origin = tmp_path / "origin"
    script = """
        git init -q -b main "$0" && cd "$0" && echo main > which && git add which && git commit -qm main
        git switch -qc mine && echo mine > which && git commit -qam mine
        cd .. && git clone -q --depth 1 --branch mine "file://$0" checkout
    """
    subprocess.run(["bash", "-ec", script, str(origin)], env={**os.environ, **GIT}, check=True, cwd=tmp_path)
    return tmp_path / "checkout"


@pytest.mark.parametrize("base", ["main", "0" * 40, ""], ids=["a branch", "a new branch's push", "no push"])
def test_the_base_is_a_branch_or_by_default_the_default_branch(base, checkout, tmp_path):
    done = step("Check out the base", checkout, BASE=base, DEFAULT_BRANCH="main")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "base" / "which").read_text() == "main\n"


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """An action whose script prints its arguments, a line each."""
    script = tmp_path / "action" / ".ci" / "compare"
    script.parent.mkdir(parents=True)
    script.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    script.chmod(0o755)
    return tmp_path / "action"


def test_cells_and_options_of_several_lines_are_all_taken(words, tmp_path):
    given = {"ONLY": "mylib/rnn/cpu\n  mylib/cnn/*\n", "OPTIONS": "--data synthetic\n--epochs 1\n"}
    done = step("Run and compare", words, GITHUB_ACTION_PATH=str(words), ROUNDS="6", THRESHOLD="10", **given)
    said = done.stdout.split("\n.\n")[1].splitlines()
    assert said == ["--only=mylib/rnn/cpu", "--only=mylib/cnn/*", "--data", "synthetic", "--epochs", "1"], done.stderr


def test_no_cells_are_not_all_cells(words):
    done = step("Run and compare", words, GITHUB_ACTION_PATH=str(words), ONLY=" \n", OPTIONS="")
    assert (done.returncode, "'only' names no cells" in done.stdout) == (2, True)


@pytest.mark.parametrize(
    ("folders", "variables", "said"),
    [
        (("none", "."), {}, "there is no folder 'none'"),
        ((".", "none"), {}, "there is no folder 'none'"),
        ((".", "."), {"ROUNDS": "abc"}, "ROUNDS is 'abc'. It must be a whole number, 1 or more."),
        ((".", "."), {"ROUNDS": "0"}, "ROUNDS is '0'"),
        ((".", "."), {"ROUNDS": "a[$(touch x)]"}, "ROUNDS is"),
        ((".", "."), {"THRESHOLD": "ten"}, "THRESHOLD is 'ten'. It must be a number: percent."),
    ],
)
def test_what_the_script_can_not_work_with_is_said_before_anything_runs(folders, variables, said, tmp_path):
    env = {**os.environ, "ROSETTA": "false", **variables}
    done = subprocess.run(
        [str(COMPARE), *folders, "--only", "a/*"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert not list(tmp_path.iterdir())
