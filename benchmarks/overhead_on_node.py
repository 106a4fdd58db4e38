"""What the orchestrator costs without Docker: `rosetta run` over cells that do nothing, against a plain loop.

The loop is one of `podman run` or of `apptainer run`, with the same image and the same cells, by an ordinary user of a
node in a container (tests/containers/node.py). The library "noop" is that of overhead.py.

usage: python benchmarks/overhead_on_node.py [--cells 40] [--rounds 3] [--engine podman]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.overhead import TAG, copy_with_noop, rosetta
from tests.containers.node import Node, running_node

ARGUMENTS = "noop rnn --data synthetic --epochs 1 --samples 64 --seed"

PREPARED = {
    "podman": f"podman image exists {TAG} || podman load --quiet --input /images/noop-1-cpu.tar",
    "apptainer": "cp $(ls /scratch/cache/sif/*.sif | head -n 1) /scratch/noop.sif",
}
LOOPS = {
    "podman": f"podman run --rm --network none --volume $r:/results:U {TAG} {ARGUMENTS} $seed",
    "apptainer": "apptainer run --containall --no-home --net --network none "
    f"--bind $r:/results --pwd /workloads /scratch/noop.sif {ARGUMENTS} $seed",
}
"""What a person would write."""


def main() -> None:
    """Build and save the image, run both ways in turn on a node, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", choices=LOOPS, help="only this one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rosetta-overhead-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "checkout").mkdir()
        checkout = copy_with_noop(folder / "checkout", arguments.cells)
        rosetta(checkout, "build")
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        save = [sys.executable, "-c", "from orchestrator.cli.main import main; main()", "images", "save"]
        subprocess.run([*save, "--output", "../images"], cwd=checkout, env=environment, check=True)
        for path in (folder / "images").iterdir():
            path.chmod(0o644)
        with running_node(folder / "images", checkout) as node:
            for engine in [arguments.engine] if arguments.engine else LOOPS:
                measure(node, engine, arguments.cells, arguments.rounds)
    subprocess.run(["docker", "image", "rm", "--force", TAG], check=True, capture_output=True)


def measure(node: Node, engine: str, cells: int, rounds: int) -> None:
    """Both ways in turn, now one first and now the other, and the median of their ratios."""
    run = ("run", "--matrix", "/checkout/matrix.yaml", "--engine", engine, "--results")
    require(node.rosetta("build", "--matrix", "/checkout/matrix.yaml", "--engine", engine))
    require(node.run("sh", "-c", PREPARED[engine]))
    pairs = []
    for number in range(rounds):
        own, results = f"/scratch/own-{engine}-{number}", f"/scratch/plain-{engine}-{number}"
        loop = f"r={results}; mkdir $r; for seed in $(seq 0 {cells - 1}); do {LOOPS[engine]} || exit 1; done"
        ways = {
            "rosetta": lambda own=own: require(node.rosetta(*run, own)),
            "loop": lambda loop=loop: require(node.run("sh", "-c", loop)),
        }
        order = list(ways)[:: -1 if number % 2 else 1]
        took = {way: seconds_of(ways[way]) for way in order}
        assert len(require(node.run("sh", "-c", f"ls {results}/*.json")).split()) == cells
        pairs.append((took["rosetta"], took["loop"]))
    times = "  ".join(f"{a:.1f}/{b:.1f}" for a, b in pairs)
    ratio = statistics.median(a / b for a, b in pairs)
    print(f"{engine}: {cells} cells, rosetta/loop in seconds: {times}  ratio {ratio:.3f}", flush=True)


def require(done: "subprocess.CompletedProcess[str]") -> str:
    """What a command has printed; ends the program if it has failed."""
    if done.returncode != 0:
        sys.exit(done.stdout + done.stderr)
    return done.stdout


def seconds_of(action) -> float:
    """How long something takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
