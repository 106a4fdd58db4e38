"""What a shell gets to complete, asked as a real bash asks."""

import os
import subprocess
import sys

import pytest

from orchestrator.system.checkout import ROOT

ASK = """
eval "$(rosetta completion bash)"
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_rosetta_completion rosetta
printf '%s\\n' "${COMPREPLY[@]}"
"""
PROGRAM = """#!/bin/sh
exec {python} -c "from orchestrator.cli.main import main; main(prog_name='rosetta')" "$@"
"""


@pytest.fixture
def completed(tmp_path):
    """What bash offers for words, the last of which is not finished."""
    program = tmp_path / "rosetta"
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)

    def completed(*words: str) -> list[str]:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-c", ASK, "bash", "rosetta", *words], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return completed


@pytest.mark.parametrize(
    ("words", "some", "none"),
    [
        (["pla"], {"plan"}, {"run"}),
        (["run", "--pro"], {"--profile", "--proof"}, {"--only"}),
        (["run", "--profile", ""], {"quick", "full"}, set()),
        (["run", "--only", "pyt"], {"pytorch", "pytorch-2018"}, {"jax", "pytorch/rnn"}),
        (["run", "--only", "pytorch/"], {"pytorch/cnn", "pytorch/rnn"}, {"pytorch/rnn/cpu"}),
        (["run", "--profile", "quick", "--skip", "jax/rnn/c"], {"jax/rnn/cpu"}, {"jax/rnn/cuda12"}),
        (["notebook", "keras-j"], {"keras-jax"}, set()),
        (["notebook", "jax", ""], {"cnn", "rnn"}, set()),
        (["lock", "pytorch"], {"pytorch", "pytorch-2018"}, {"caffe2"}),
    ],
)
def test_a_shell_completes_commands_options_cells_profiles_and_libraries(completed, words, some, none):
    offered = set(completed(*words))
    assert some <= offered
    assert not none & offered
    assert all(word.startswith(words[-1]) for word in offered)


def test_a_broken_matrix_offers_nothing_and_says_nothing(completed, tmp_path):
    (tmp_path / "matrix.yaml").write_text("axes: [")
    assert completed("run", "--only", "py") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_scripts_of_their_own(shell, tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "from orchestrator.cli.main import main; main()", "completion", shell]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert "_ROSETTA_COMPLETE" in done.stdout
    assert "rosetta" in done.stdout
