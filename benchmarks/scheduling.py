"""64 cells of random length on 8 pretended GPUs of three kinds: nobody shares a GPU, and the run ends when it could.

How long the cells take is known from a table of earlier results, which is written beforehand. What a GPU was used for,
and when, is read from what the containers themselves have printed. The lower bound is the longest cell or, if that is
more, the sum of a kind's cells divided by the number of its GPUs; starting and removing containers is not in it.

usage: python benchmarks/scheduling.py [--cells 64] [--shortest 5] [--longest 45] [--seed 0] [--private-engine]

Needs an engine that grants requests for GPUs. Where it does so only with a stub (see .ci/engine), --private-engine, as
root, starts one beside the machine's own.
"""

import argparse
import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import pyarrow.parquet as pq

from benchmarks import nothing
from benchmarks.private_engine import PrivateEngine
from orchestrator.results.paths import MERGED

KINDS: Mapping[str, tuple[str, int]] = {
    "p100": ("Tesla P100-PCIE-16GB", 3),
    "v100": ("Tesla V100-SXM2-16GB", 3),
    "h200": ("NVIDIA H200", 2),
}
"""The driver's name for each kind of GPU, and how many there are."""

Use = tuple[str, float, float]
"""A GPU, and when a cell began and ended to have it."""


def main() -> None:
    """Run and compare with the lower bound; exit code 1 if two cells shared a GPU or a row is missing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=64)
    parser.add_argument("--shortest", type=float, default=5, help="seconds")
    parser.add_argument("--longest", type=float, default=45, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--private-engine", action="store_true")
    arguments = parser.parse_args()
    dice = random.Random(arguments.seed)
    waits = dice.sample(range(int(arguments.shortest * 1000), int(arguments.longest * 1000)), arguments.cells)
    points = [
        {"library": f"waits-{wait}", "platform": "cuda12", "gpu": dice.choices(list(KINDS), [3, 3, 2])[0]}
        for wait in waits
    ]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rosetta-scheduling-")))
        variables = {"ROSETTA_HOST": str(pretended_machine(folder / "host.json"))}
        if arguments.private_engine:
            engine = stack.enter_context(PrivateEngine())
            engine.take_image(nothing.BASE)
            variables["DOCKER_HOST"] = engine.socket
        checkout = nothing.checkout(folder / "checkout", waits, nothing.matrix_of(points))
        write_history(checkout, variables)
        started = time.monotonic()
        done = nothing.rosetta(checkout, "run", "--engine", "docker", **variables)
        seconds = time.monotonic() - started
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        report(checkout, points, seconds)
        if not arguments.private_engine:
            nothing.remove_images()


def pretended_machine(path: Path) -> Path:
    """The file of a machine with these GPUs."""
    numbered = itertools.count()
    gpus = [
        {"name": name, "uuid": f"GPU-pretended-{next(numbered)}", "memory": 16 * 2**30}
        for name, count in KINDS.values()
        for _ in range(count)
    ]
    path.write_text(json.dumps({"driver": "580.65", "gpus": gpus}))
    return path


def write_history(checkout: Path, variables: Mapping[str, str]) -> None:
    """Results of an earlier run of the same cells, as far as their order is concerned."""
    code = """
import json, sys
from pathlib import Path
from orchestrator.plan.selection import selected_cells
from orchestrator.results.files import table_of, write_results
from orchestrator.results.paths import MERGED
from orchestrator.results.rows import unfilled_row
cells = selected_cells(Path("matrix.yaml"), "full", [], [], {})
sys.path.append(sys.argv[1])
from benchmarks.agreeing import agreeing
rows = []
for number, cell in enumerate(cells):
    wall = int(cell.library.partition("-")[2]) / 1000
    told = {"run": str(number), "engine": "docker", "key": "", "wall_seconds": wall}
    rows.append(agreeing(unfilled_row(cell) | told, seconds=wall / 2))
write_results(table_of(rows), Path("results") / MERGED)
"""
    subprocess.run(
        [sys.executable, "-c", code, str(nothing.ROOT)],
        cwd=checkout,
        env=nothing.environment(checkout, **variables),
        check=True,
    )


def report(checkout: Path, points: Sequence[Mapping[str, str]], seconds: float) -> None:
    """Print what the containers say; exit code 1 if they say that something is wrong."""
    uses = [use_of(path) for path in (checkout / "results" / "cells").rglob("*.log")]
    rows = pq.read_table(checkout / "results" / MERGED).to_pylist()
    ok = sum(row["status"] == "ok" for row in rows)
    marked = all(row["driver"] == "pretended" and row["shortened"] for row in rows)
    shared = overlaps(uses)
    makespan = max(end for _, _, end in uses) - min(begin for _, begin, _ in uses)
    bound = lower_bound(points)
    added = statistics.median(row["wall_seconds"] - int(row["library"].partition("-")[2]) / 1000 for row in rows)
    gpus = sum(count for _, count in KINDS.values())
    print(f"{len(points)} cells on {gpus} GPUs of {len(KINDS)} kinds: {ok} rows ok, marked as pretended: {marked}")
    print(f"GPUs used: {len({gpu for gpu, _, _ in uses})}; pairs of cells that shared one: {shared}")
    print(
        f"makespan {makespan:.1f} s by the containers' clocks, lower bound {bound:.1f} s, ratio {makespan / bound:.3f}"
    )
    print(f"a container adds {added:.2f} s to its cell (median); the whole command took {seconds:.1f} s")
    if shared or ok != len(points) or len(uses) != len(points) or not marked:
        sys.exit(1)


def use_of(path: Path) -> Use:
    """What a container has printed about itself."""
    (line,) = [line for line in path.read_text().splitlines() if line.startswith("record ")]
    _, gpu, begin, end = line.split()
    return gpu, float(begin), float(end)


def overlaps(uses: Sequence[Use]) -> int:
    """How many pairs of cells had the same GPU at the same time."""
    by_gpu: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for gpu, begin, end in uses:
        by_gpu[gpu].append((begin, end))
    return sum(
        later[0] < earlier[1] for times in by_gpu.values() for earlier, later in itertools.pairwise(sorted(times))
    )


def lower_bound(points: Sequence[Mapping[str, str]]) -> float:
    """No schedule can be shorter: every GPU of a kind busy all the time, or the longest cell alone."""
    by_kind: dict[str, list[float]] = defaultdict(list)
    for point in points:
        by_kind[point["gpu"]].append(int(point["library"].partition("-")[2]) / 1000)
    return max(max(sum(times) / KINDS[kind][1], *times) for kind, times in by_kind.items())


if __name__ == "__main__":
    main()
