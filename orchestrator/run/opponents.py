"""The opponents: scripts written as in 2018, against which benchmarks/steps.py of a checkout times each of ours."""

import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from orchestrator.results.paths import ResultsFolder
from orchestrator.system.checkout import ROOT
from orchestrator.system.text_files import write_text

EACH = 75.0
"""Seconds for a library and workload: three rounds of both sides, each some seconds and a start of the library."""

ONLY_A_CHECKOUT = "an installed package has no benchmarks/: run the campaign from a checkout"
LONGEST = 200
"""Most characters of a line that are kept, and most lines: the table has one for each library and workload."""


def unavailable() -> str:
    """Why they can't be run here; empty if they can."""
    return "" if ROOT is not None and (ROOT / "benchmarks" / "steps.py").is_file() else ONLY_A_CHECKOUT


def kept(results: Path) -> Path:
    """Return where their output is kept, so that a resumed campaign does not run them again."""
    return ResultsFolder(results).reports / "campaign-opponents.txt"


def command(pairs: Sequence[str], python: str, platforms: Iterable[str], on_card: bool) -> list[str]:
    """The command for some of ``library/workload``: by an interpreter, or in images of the newest platform."""
    where = ["--python", python] if python else ["--platform", ",".join(sorted(set(platforms), reverse=True))]
    where += ["--gpu"] if on_card else []
    chosen = [word for pair in pairs for word in ("--only", pair)]
    return [sys.executable, str((ROOT or Path()) / "benchmarks" / "steps.py"), *where, *chosen]


def run(results: Path, words: Sequence[str]) -> str:
    """Run them now, keep and return what they said; one that fails says so in its line. Raises DiskError."""
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
    lines = [line[:LONGEST] for line in done.stdout.splitlines()[:LONGEST]]
    if done.returncode:
        last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        return "\n".join([*lines, f"failed: {last[:LONGEST]}"])
    write_text(kept(results), "\n".join(lines) + "\n")
    return "\n".join(lines)
