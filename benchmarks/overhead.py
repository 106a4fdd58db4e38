"""What the orchestrator costs: `rosetta run` over cells that do nothing, against a plain loop of `docker run --rm`.

Both use the same image and the same command lines, in turn, in one run. The library "noop" is added to a copy of the
checkout as any library would be: one YAML and one script.

usage: python benchmarks/overhead.py [--cells 40] [--rounds 3]
"""

import argparse
import compileall
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TAG = "rosetta/noop:1-cpu"

FRAMEWORK = """
framework: noop
license: MIT
libraries:
  noop: {title: No operation, docs: "https://example.org/"}
python: "3.11"
base: python:3.11-slim-bookworm
platforms:
  cpu:
    version: "1"
    requirements: [numpy]
"""

SCRIPT = """
import numpy as np
from harness import Cell

cell = Cell("1")
data = cell.data()
cell.run(data, lambda x: np.zeros((len(x), 2)), lambda x, y: 0.0)
"""

MATRIX = """
axes:
  library: [noop]
  workload: [rnn]
  data: [synthetic]
  repeat: [{repeats}]
include:
  - {{library: noop, epochs: 1, samples: 64}}
profiles: {{full: {{}}}}
"""


def main() -> None:
    """Build the image, run both ways in turn, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rosetta-overhead-") as folder:
        checkout = copy_with_noop(Path(folder), arguments.cells)
        rosetta(checkout, "build")
        for jobs in (1, 4):
            plain, orchestrated = [], []
            for number in range(arguments.rounds):
                plain.append(timed(plain_loop, checkout, arguments.cells, jobs, number))
                run = ("run", "--jobs", str(jobs), "--results", f"r{jobs}{number}")
                orchestrated.append(timed(rosetta, checkout, *run))
            report(jobs, arguments.cells, plain, orchestrated)
    subprocess.run(["docker", "image", "rm", "--force", TAG], check=True, capture_output=True)


def copy_with_noop(folder: Path, cells: int) -> Path:
    """A checkout with one more library, and a matrix of nothing but it."""
    for name in ("orchestrator", "images", "workloads"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "images" / "noop.yaml").write_text(FRAMEWORK)
    compileall.compile_dir(folder / "orchestrator", quiet=1)  # as any checkout is after its first command
    numpy_lines = lock_of("numpy", folder / "images" / "locks" / "jax-cpu.txt")
    (folder / "images" / "locks" / "noop-cpu.txt").write_text(numpy_lines)
    (folder / "workloads" / "rnn" / "noop.py").write_text(SCRIPT)
    (folder / "matrix.yaml").write_text(MATRIX.format(repeats=", ".join(map(str, range(cells)))))
    return folder


def lock_of(package: str, lock: Path) -> str:
    """The lines of one package in a lock."""
    lines, inside = [], False
    for line in lock.read_text().splitlines():
        if line and not line[0].isspace() and not line.startswith("#"):
            inside = line.startswith(f"{package}==")
        if inside and not line.strip().startswith("#"):
            lines.append(line)
    return "\n".join(lines) + "\n"


def rosetta(checkout: Path, *words: str) -> None:
    """The command, from the copy of the checkout."""
    command = [sys.executable, "-c", "from orchestrator.cli.main import main; main()", *words, "--engine", "docker"]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    subprocess.run(command, cwd=checkout, env=environment, check=True, stdout=subprocess.DEVNULL)


def plain_loop(checkout: Path, cells: int, jobs: int, number: int) -> None:
    """What a person would write without us: a loop of docker run, ``jobs`` at a time."""
    results = checkout / f"plain{jobs}{number}"
    results.mkdir()

    def one(seed: int) -> None:
        command = ["docker", "run", "--rm", "--network", "none", "-v", f"{results}:/results", TAG, "noop", "rnn"]
        options = ["--data", "synthetic", "--epochs", "1", "--samples", "64", "--seed", str(seed)]
        subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, range(cells)))
    assert len(list(results.glob("*.json"))) == cells


def timed(action, *arguments) -> float:
    """Seconds that a call takes."""
    started = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - started


def report(jobs: int, cells: int, plain: list[float], orchestrated: list[float]) -> None:
    """One line per way and the ratio of the medians."""
    ratio = statistics.median(orchestrated) / statistics.median(plain)
    for name, seconds in (("docker run --rm", plain), ("rosetta run", orchestrated)):
        each = ", ".join(f"{s:.1f}" for s in seconds)
        print(f"{cells} cells, {jobs} at a time  {name:16} median {statistics.median(seconds):6.2f} s  ({each})")
    print(f"{cells} cells, {jobs} at a time  ratio {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
