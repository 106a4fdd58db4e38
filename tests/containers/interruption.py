"""Ctrl-C, as a person presses it while cells run."""

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path


def interrupted_after_a_cell(words: Sequence[str], folder: Path) -> tuple[int, str]:
    """Run a command there until its first cell is ok, interrupt it; its exit code, and its standard error."""
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if "  ok  " in line:
                break
        run.send_signal(signal.SIGINT)
        try:
            _, said = run.communicate(timeout=60)
        finally:
            run.kill()  # one that hangs fails the test, and does not hang it
    return run.returncode, said
