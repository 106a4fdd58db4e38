"""Our scripts on older releases of today's libraries, each in a virtual environment of its own: do they run, and right?

    python benchmarks/releases.py [RELEASE]... [--results DIR]

RELEASE is a line of RELEASES, such as torch-2.9; default: all. Each is installed from PyPI into a temporary folder,
measured by `rosetta run --python` on CNN and GRU, parity first, and removed. Prints a line for the table in
docs/verify.md. PyTorch's come with CUDA and need 8 GB for a while. Uses no clock.
"""

import argparse
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq

RELEASES = {
    "torch-2.5": ["torch==2.5.1", "numpy<2.3"],
    "torch-2.9": ["torch==2.9.1", "numpy<2.4"],
    "tensorflow-2.18": ["tensorflow-cpu==2.18.1", "keras==3.6.0"],
    "tensorflow-2.20": ["tensorflow-cpu==2.20.0", "keras==3.12.1"],
    "jax-0.4": ["jax[cpu]==0.4.38", "flax==0.10.2", "optax==0.2.4"],
    "jax-0.7": ["jax[cpu]==0.7.2", "flax==0.12.0", "optax==0.2.6"],
    "jax-0.8": ["jax[cpu]==0.8.3", "flax==0.12.3", "optax==0.2.6"],
    "keras-jax-3.6": ["jax[cpu]==0.4.38", "keras==3.6.0"],
    "keras-jax-3.12": ["jax[cpu]==0.8.3", "keras==3.12.1"],
}
"""What is installed for each: of 2024 and 2025, each with what its makers recommended then."""

WORKLOADS = ("cnn", "rnn")
CELLS = ["--only", "*/{cnn,rnn}/*", "--data", "synthetic", "--epochs", "1", "--samples", "640"]


def main() -> None:
    """Print a line for each release."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help=f"default: {', '.join(RELEASES)}")
    parser.add_argument("--results", type=Path, metavar="DIR", help="where rows are kept; default: a temporary folder")
    options = parser.parse_args()
    if unknown := set(options.releases) - set(RELEASES):
        parser.error(f"no release {', '.join(sorted(unknown))}; known: {', '.join(RELEASES)}")
    print("| installed | library | CNN | GRU |\n| --- | --- | --- | --- |")
    for name in options.releases or RELEASES:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            for line in lines(name, installed(folder / "venv", RELEASES[name]), options.results or folder / "results"):
                print(line, flush=True)


def installed(folder: Path, packages: list[str]) -> Path:
    """Make a virtual environment with these packages; returns its interpreter."""
    venv.create(folder, with_pip=True)
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", *packages], check=True)
    return folder / "bin" / "python"


def lines(name: str, python: Path, results: Path) -> Iterator[str]:
    """Yield what came of an environment: a line for each library in it, or why none was measured."""
    rosetta = Path(sys.executable).parent / "rosetta"
    command = [rosetta, "run", "--python", f"{name}={python}", *CELLS, "--results", results]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    packages = ", ".join(RELEASES[name]).replace("==", " ")
    verdicts = dict(verdicts_in(results / "own" / name))
    for library in sorted({library for library, _ in verdicts}):
        yield f"| {packages} | {library} | {' | '.join(verdicts.get((library, one), '') for one in WORKLOADS)} |"
    for line in done.stdout.splitlines():
        if line.strip().startswith("not measured: "):
            yield f"| {packages} | {line.strip()} | | |"
    if not verdicts:
        yield f"| {packages} | exit code {done.returncode}: {done.stderr.strip()[-300:]} | | |"


def verdicts_in(folder: Path) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield library and workload with what parity said, and how the timed run ended if it was not ok."""
    said: dict[tuple[str, str], list[str]] = {}
    for path in sorted(folder.rglob("*.parquet")):
        for row in pq.read_table(path, columns=["library", "workload", "status", "parity", "reason"]).to_pylist():
            proof = "same model" if row["parity"] and row["status"] == "ok" else ""
            bad = "" if row["status"] == "ok" else f"{row['status']}: {row['reason'].splitlines()[0][:100]}"
            said.setdefault((row["library"], row["workload"]), []).append(proof or bad)
    for cell, words in said.items():
        yield cell, "; ".join(dict.fromkeys(filter(None, words)))


if __name__ == "__main__":
    main()
