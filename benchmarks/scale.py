"""Large matrices: how long a run takes that finds everything done, and how much memory one needs that runs many cells.

usage: python benchmarks/scale.py [--done 10000] [--cells 1000] [--jobs 4]

For the first, results of all cells are written as a run would write them; then `rosetta run` is timed as a whole
process. For the second, cells that only print and leave a result run in real containers, and the orchestrator's memory
is read each time another tenth of them is done.
"""

import argparse
import json
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks import nothing

RUN = ["run", "--engine", "docker"]
WRITE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from orchestrator.engines.choice import choose_engine
from orchestrator.cell.contract import Outcome, Status
from orchestrator.plan.selection import selected_cells
from orchestrator.plan.verdicts import plan_cells
from orchestrator.results.files import write_row
from orchestrator.results.paths import ResultsFolder
from orchestrator.results.rows import row_of

repeats = range(int(sys.argv[1]))
cells = selected_cells(Path("matrix.yaml"), "full", [], [], {"repeat": list(repeats)})
planned = plan_cells(cells, choose_engine("docker"), Path("results"))
sys.path.append(sys.argv[2])
from benchmarks.agreeing import agreeing

def write(p):
    outcome = Outcome(Status.FAILED, "exit code 1", log="said " * 400)
    row = row_of(p.cell, outcome, key=p.key, run=f"{p.key}-0", engine="docker", image=p.image.columns, host="here")
    row = agreeing(row, seconds=0.1) | {"cpu": "any", "cores": 1}
    write_row(row, ResultsFolder(Path("results")).result(p.key, p.cell.id))

with ThreadPoolExecutor(16) as pool:
    list(pool.map(write, planned))
"""


def main() -> None:
    """Both, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--done", type=int, default=10_000)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=4)
    arguments = parser.parse_args()
    for measure, count in ((all_done, arguments.done), (memory, arguments.cells)):
        with tempfile.TemporaryDirectory(prefix="rosetta-scale-") as folder:
            if count:
                checkout = nothing.checkout(Path(folder, "checkout"), range(10, 20))
                measure(checkout, count, arguments.jobs)
    nothing.remove_images()


def all_done(checkout: Path, count: int, jobs: int) -> None:
    """Time runs that have nothing to do."""
    environment, words = nothing.environment(checkout), [*RUN, "--repeats", str(count // 10)]
    subprocess.run([sys.executable, "-c", WRITE, words[-1], str(ROOT)], cwd=checkout, env=environment, check=True)
    took, used = [], []
    for _ in range(6):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = nothing.rosetta(checkout, *words)
        took.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 0, done.stderr
    each = ", ".join(f"{seconds:.2f}" for seconds in took[1:])
    print(f"{count:,} cells, all done: the first run merges them in {took[0]:.1f} s")
    print(f"every other takes {statistics.median(took[1:]):.2f} s ({each}), CPU {statistics.median(used[1:]):.2f} s")


def memory(checkout: Path, count: int, jobs: int) -> None:
    """Print the orchestrator's memory as it runs cells."""
    words = [*RUN, "--repeats", str(count // 10), "--jobs", str(jobs), "--json"]
    environment = nothing.environment(checkout)
    print(f"{count:,} cells, {jobs} at a time; memory of the orchestrator")
    started = time.monotonic()
    with subprocess.Popen(
        nothing.command(*words), cwd=checkout, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "finished" and event["done"] % (count // 10) == 0:
                said = Path(f"/proc/{process.pid}/status").read_text()
                kilobytes = int(re.findall(r"VmRSS:\s+(\d+)", said)[0])
                seconds = time.monotonic() - started
                print(f"  {event['done']:6,} cells  {kilobytes / 1024:6.1f} MB  {seconds:6.0f} s", flush=True)
    assert process.returncode == 0


if __name__ == "__main__":
    main()
