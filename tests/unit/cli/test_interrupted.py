"""Ctrl-C while the program's modules are still being loaded ends it as at any other time."""

import os
import signal
import subprocess
import sys

import pytest

from orchestrator.system.checkout import ROOT


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_amid_the_imports_leaves_no_traceback(tmp_path, number):
    (tmp_path / "click.py").write_text(f"import signal\nsignal.raise_signal({number:d})\nraise SystemExit('went on')\n")
    variables = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    program = [sys.executable, "-m", "orchestrator", "plan"]
    done = subprocess.run(program, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_ctrl_c_before_the_program_watches_for_it_leaves_no_traceback():
    lines = (
        "import signal, sys",
        "from orchestrator.__main__ import start",
        "class Pressed:",
        "    def find_spec(name, *_):",
        "        if name == 'orchestrator.system.signals': signal.raise_signal(signal.SIGINT)",
        "sys.meta_path.insert(0, Pressed)",
        "start()",
    )
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
