"""What the harness adds to the timed region: its loop around steps that do nothing, against a plain loop.

    python benchmarks/harness.py [--rounds 5]

Both hand the same shuffled batches of the whole CIFAR-10 (stand-ins of its shape) to a step that returns at once. The
difference is set in relation to the fastest step of a measured run in docs/results.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "workloads"))


def step(x: np.ndarray, y: np.ndarray) -> float:
    """Train on nothing."""
    return 0.0


def plain(x: np.ndarray, y: np.ndarray, batch: int) -> float:
    """Seconds of the loop as one would write it without a harness."""
    started = time.perf_counter()
    order = np.random.permutation(len(x))
    losses = []
    for start in range(0, len(x) // batch * batch, batch):
        index = order[start : start + batch]
        losses.append(step(x[index], y[index]))
    np.mean(losses)
    return time.perf_counter() - started


def fastest_step(workload: str) -> tuple[float, str]:
    """Seconds of the fastest step in docs/results, and whose it is."""
    rows = [row for path in (ROOT / "docs" / "results").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    rows = [row for row in rows if row["workload"] == workload and row["status"] == "ok" and row["steps"]]
    best = min(rows, key=lambda row: row["seconds"] / row["steps"])
    return best["seconds"] / best["steps"], best["library"]


def main() -> None:
    """Measure both in turn and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    from harness import Cell

    for workload in ("cnn", "rnn"):
        sys.argv = ["harness", "pytorch", workload, "--data", "synthetic"]
        stdout, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: SIM115 (its events)
        cell = Cell("0")
        arrays, batch = cell.data(), cell.params.batch_size
        cell.synchronize = lambda: None
        epoch = cell._steps(step, len(arrays.x_train) // batch, batch)
        pairs = []
        for _ in range(rounds):
            pairs.append(
                (epoch(arrays.x_train, arrays.y_train, 1)["seconds"], plain(arrays.x_train, arrays.y_train, batch))
            )
        sys.stdout = stdout
        steps = len(arrays.x_train) // batch
        ours, theirs = (statistics.median(times) / steps * 1e6 for times in zip(*pairs, strict=True))
        seconds, library = fastest_step(workload)
        print(
            f"{workload}  harness {ours:.0f} µs a step, plain loop {theirs:.0f} µs, ratio {ours / theirs:.2f}; "
            f"adds {(ours - theirs) / seconds / 1e4:+.3f} % to {library}'s step of {seconds * 1e3:.0f} ms"
        )


if __name__ == "__main__":
    main()
