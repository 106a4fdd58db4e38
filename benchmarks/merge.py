"""What merging costs: `results.merge` over thousands of cell files, against DuckDB's read_parquet and COPY of the same.

The files are written by the function that writes every cell's. Both sides run in processes of their own, in turn and on
the same two cores; a round before the first fills the page cache for both.

usage: python benchmarks/merge.py [--files 10000] [--rounds 3]
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.agreeing import agreeing
from orchestrator.cell.cell import Cell
from orchestrator.compare import published_2018
from orchestrator.results.decoder import load
from orchestrator.results.files import table_of, write_results, write_row
from orchestrator.results.rows import LOG_TAIL, unfilled_row
from orchestrator.results.schema import COLUMNS

OURS = """
from orchestrator.results.merging import merge
merge([folder / "cells"], folder / "ours.parquet")
"""
DUCKDB = """
import duckdb
files = sorted(str(path) for path in (folder / "cells").rglob("*.parquet"))
duckdb.execute("SET threads = 2; SET enable_progress_bar = false")
out = folder / "duckdb.parquet"
duckdb.execute(f"COPY (SELECT * FROM read_parquet({files})) TO '{out}' (FORMAT parquet)")
"""
FRAME = """
import json, pathlib, re, resource, sys
folder = pathlib.Path(sys.argv[1])
{work}
used, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
peak = re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text()).group(1)
# The kernel tells the largest child alone; there are two that read side by side, or none.
peak = int(peak) + 2 * children.ru_maxrss
print(json.dumps({{"cpu": sum(u.ru_utime + u.ru_stime for u in (used, children)), "peak": peak / 1024}}))
"""
PHASES_OF_A_RUN = ("import_seconds", "data_seconds", "first_step_seconds", "evaluate_seconds")
WAYS = {"rosetta": OURS, "duckdb": DUCKDB}

FORMS: dict[str, dict[str, Any]] = {
    "as cells are written": {"compression": "none", "use_dictionary": False, "write_statistics": False},
    "the same, zstd": {"compression": "zstd", "use_dictionary": False, "write_statistics": False},
    "pyarrow's defaults": {"compression": "snappy"},
}


def main() -> None:
    """Write the files, merge them both ways in turn, print the ratio; then compare forms of a cell's file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    made = list(rows(arguments.files))
    with tempfile.TemporaryDirectory(prefix="rosetta-merge-") as name:
        folder = Path(name)
        with ThreadPoolExecutor(16) as pool:  # each write waits for the disk
            list(pool.map(lambda row: write_row(row, place(folder, row)), made))
        rounds: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for number in range(arguments.rounds + 1):
            for way, work in WAYS.items():
                measured = run(work, folder)
                if number:
                    rounds[way].append(measured)
        check(folder, arguments.files)
    report(arguments.files, rounds)
    compare_forms(made[:300])


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Rows as real cells leave them: ten epochs, a log of a few kilobytes, texts of the usual lengths."""
    dice = random.Random(0)
    libraries = list(published_2018.LIBRARIES)
    for number in range(count):
        cell = Cell(libraries[number % len(libraries)], "cnn", repeat=number // len(libraries))
        epochs = [{"event": "epoch", "epoch": e, "loss": dice.random(), "seconds": dice.random()} for e in range(30)]
        made = agreeing(unfilled_row(cell), seconds=100 + dice.random() * 300)
        yield {
            **made,
            **{name: dice.random() for name in PHASES_OF_A_RUN},
            **{name: dice.randrange(10**9) for name in ("peak_memory", "container_memory", "cores", "memory")},
            "epoch_losses": [dice.random() for _ in range(10)],
            "engine": "docker", "image": "rosetta/pytorch:2.13.0-cpu",
            "image_digest": f"sha256:{dice.getrandbits(256):064x}", "recipe": f"{dice.getrandbits(64):016x}",
            "framework": "pytorch", "framework_version": "2.13.0", "python": "3.11.7", "numpy": "2.3.5",
            "packages": json.dumps({f"package-{i}": f"1.{i}.0" for i in range(8)}), "host": "machine-7",
            "os": "Debian GNU/Linux 12 (bookworm)", "kernel": "6.1.0-18-amd64", "cpu": "AMD EPYC 7B13", "cores": 2,
            "started": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number), "run": f"{number:032x}",
            "key": f"{dice.getrandbits(64):016x}", "log_tail": "\n".join(map(json.dumps, epochs))[-LOG_TAIL :],
        }  # fmt: skip


def place(folder: Path, row: dict[str, Any]) -> Path:
    """Where `rosetta run` would put a row."""
    return folder / "cells" / row["key"] / f"{row['cell']}.parquet"


def run(work: str, folder: Path) -> dict[str, float]:
    """One merge in a process of its own: seconds from start to end, CPU seconds, peak memory in MB, all processes."""
    started = time.perf_counter()
    command = [sys.executable, "-c", FRAME.format(work=work), str(folder)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return {"seconds": time.perf_counter() - started, **json.loads(done.stdout)}


def check(folder: Path, count: int) -> None:
    """Both ways have merged everything, to the same values."""
    import duckdb

    ours, theirs = (f"(SELECT * FROM '{folder / name}.parquet')" for name in ("ours", "duckdb"))
    different = (
        f"SELECT count(*) FROM ((FROM {ours} EXCEPT FROM {theirs}) UNION ALL (FROM {theirs} EXCEPT FROM {ours}))"
    )
    assert duckdb.execute(f"SELECT count(*) FROM {ours}").fetchall() == [(count,)]
    assert duckdb.execute(different).fetchall() == [(0,)]


def report(files: int, rounds: dict[str, list[dict[str, float]]]) -> None:
    """A line per way, and the ratio of the medians."""
    print(f"{files:,} files of {len(COLUMNS)} columns, 2 cores, {len(rounds['rosetta'])} rounds in turn")
    middle = {way: statistics.median(each["seconds"] for each in rounds[way]) for way in WAYS}
    for way, measured in rounds.items():
        each = ", ".join(f"{one['seconds']:.1f}" for one in measured)
        cpu = statistics.median(one["cpu"] for one in measured)
        peak = max(one["peak"] for one in measured)
        print(f"{way:8} median {middle[way]:6.2f} s  ({each})  CPU {cpu:6.2f} s  peak memory {peak:,.0f} MB")
    print(f"ratio    {middle['rosetta'] / middle['duckdb']:.2f}", flush=True)


def compare_forms(made: list[dict[str, Any]]) -> None:
    """Bytes and microseconds of a cell's file in some forms: the fastest of several turns, so that noise cancels."""
    tables = [table_of([row]) for row in made]
    with tempfile.TemporaryDirectory(prefix="rosetta-forms-") as name:
        path = Path(name, "cell.parquet")
        times: dict[str, list[float]] = {form: [] for form in FORMS}
        sizes: dict[str, int] = {}
        for table in tables:
            for form, options in FORMS.items():
                write_results(table, path, **options)
                sizes[form] = path.stat().st_size
                turns = [timed(path) for _ in range(5)]
                times[form].append(min(turns))
    for form in FORMS:
        print(f"{form:22} {sizes[form]:6,} bytes  read in {statistics.median(times[form]) * 1e6:6,.0f} µs")


def timed(path: Path) -> float:
    """Seconds that reading a file takes."""
    started = time.perf_counter()
    load(path)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
