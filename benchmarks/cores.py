"""The share of its cores that each library uses, as in orchestrator/compare/cpu-used.csv.

    python benchmarks/cores.py [--only '*/rnn/cpu'] [--results DIR] [--write]

Runs the cells by `rosetta run` on all cores of this machine, two epochs of 640 synthetic samples each, and prints what
the harness measured: processor time ÷ (seconds × cores). With --write these lines replace those in the file.
Needs a quiet machine. What lies in DIR already is not run again.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

FILE = Path(__file__).resolve().parent.parent / "orchestrator" / "compare" / "cpu-used.csv"
NAMES = ["library", "workload", "cores", "cpu_used"]
LENGTH = ["--data", "synthetic", "--epochs", "2", "--samples", "640", "--no-proof"]

Shares = dict[tuple[str, str, str], str]


def main() -> None:
    """Measure, print, and write if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="GLOB", help="cells of CPUs; default: '*/{cnn,rnn}/cpu'")
    parser.add_argument("--results", type=Path, metavar="DIR", help="where rows are kept; default: a temporary folder")
    parser.add_argument("--write", action="store_true", help=f"into {FILE.name}")
    options = parser.parse_args()
    only = [word for glob in options.only or ["*/{cnn,rnn}/cpu"] for word in ("--only", glob)]
    with tempfile.TemporaryDirectory() as temporary:
        found = measured(only, options.results or Path(temporary))
    for (library, workload, cores), share in sorted(found.items()):
        print(f"{library:18} {workload:4} {cores:>3} cores  {100 * float(share):3.0f} %")
    if options.write:
        write(found)


def measured(only: list[str], results: Path) -> Shares:
    """The shares that the selected cells use of the cores that they have; a cell that fails has none."""
    command = [str(Path(sys.executable).parent / "rosetta"), "run", *only, *LENGTH, "--results", str(results)]
    subprocess.run(command, check=False)
    rows = pq.read_table(results / "merged.parquet", columns=[*NAMES, "status"]).to_pylist()
    good = [row for row in rows if row["status"] == "ok" and row["cpu_used"] is not None]
    return {(row["library"], row["workload"], str(row["cores"])): f"{row['cpu_used']:.2f}" for row in good}


def write(found: Shares) -> None:
    """Put the shares into the file, in its order, among those that were not measured now."""
    with FILE.open(newline="") as file:
        there = {tuple(row[name] for name in NAMES[:3]): row["cpu_used"] for row in csv.DictReader(file)}
    with FILE.open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerows([NAMES, *([*key, share] for key, share in sorted({**there, **found}.items()))])


if __name__ == "__main__":
    main()
