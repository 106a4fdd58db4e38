"""`rosetta compare` with real containers: a planted slowdown is found, equal scripts are not called different."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import nothing
from orchestrator.errors import SlowerError
from orchestrator.results.paths import ResultsFolder
from tests.pretended_driver import tiny_checkout

pytestmark = [pytest.mark.container, pytest.mark.alone, pytest.mark.usefixtures("engine")]

SIDES = ["--only", "tiny/rnn/cpu", "variant=reference"]
WORDS = ["--engine", "docker", "--difference", "100", "--json"]
"""A script that does all twelve times over takes more than twice as long on any busy machine, and equal ones do not."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Iterator[Path]:
    """A checkout of tiny libraries, one of which has a slow variant, and one that is the same by another name."""
    folder = tiny_checkout.checkout(tmp_path_factory.mktemp("tiny") / "checkout")
    scripts = folder / "workloads" / "rnn"
    usual = (scripts / "tiny.py").read_text()
    step = "    loss, gradients = rnn.gradients(network, x, y, weights)\n"
    assert step in usual
    (scripts / "tiny_same.py").write_text(usual)
    (scripts / "tiny_slow.py").write_text(usual.replace(step, step * 12))
    yield folder
    tiny_checkout.remove_images()


def results_in(folder: Path) -> dict[Path, int]:
    """The results of both sides of the only comparison there, and when they were written."""
    found = folder.glob("compare/*/[ab]/cells/**/*.parquet")
    return {path: path.stat().st_mtime_ns for path in found}


def test_a_slow_variant_is_found_after_an_interruption_and_the_rows_before_it_count(tiny, tmp_path):
    words = ["compare", *SIDES, "variant=slow", *WORDS, "--results", str(tmp_path)]
    process = subprocess.Popen(
        nothing.command(*words), cwd=tiny, env=nothing.environment(tiny), stdout=subprocess.DEVNULL
    )
    end = time.monotonic() + 300
    while len(results_in(tmp_path)) < 2 and process.poll() is None and time.monotonic() < end:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130
    before = results_in(tmp_path)
    assert 2 <= len(before) < 8

    done = nothing.rosetta(tiny, *words)
    assert done.returncode == SlowerError.exit_code, done.stdout + done.stderr
    (found,) = json.loads(done.stdout)
    assert (found["verdict"], found["said"]) == ("slower", "slower")
    assert found["ratio"] > 1
    after = results_in(tmp_path)
    assert before.items() <= after.items()
    assert len(after) == 2 * found["rounds"]
    (conditions,) = tmp_path.glob("compare/*/conditions.jsonl")
    assert len(after) - len(conditions.read_text().splitlines()) in (0, 1)  # the run that was ended may have finished
    assert not ResultsFolder(tmp_path).merged.exists()


def test_equal_scripts_are_not_called_different(tiny, tmp_path):
    done = nothing.rosetta(tiny, "compare", *SIDES, "variant=same", *WORDS, "--results", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = json.loads(done.stdout)
    assert found["verdict"] in ("no difference", "can't tell")
