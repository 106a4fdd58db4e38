"""What today's means of a library are worth: its tuned script against its reference, in one run.

    python benchmarks/tuned.py [--only 'pytorch/*'] [--rounds 3] [--steps 40] [--cores 1,2] [--precision amp-bf16]

Both run in turn in the library's own image, the one that was second before the other in the next round, on the same
cores and the same drawn samples. Measured is the processor time of the second of two epochs, for ResNet-50 that of the
timed pass: what others do on the machine disturbs it little. What is compiled is left out, and stands beside it in
seconds. A ratio is the reference's time by the tuned one's, so 2 is twice as fast. Needs the images: `rosetta build`.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "workloads"), str(ROOT / "benchmarks")]
import steps

VARIANTS = ("reference", "tuned")
BEFORE = {"resnet50": ("shuffle", "predict")}
"""Between the ends of which phases the timed pass lies; elsewhere it is between those of two epochs."""


def main() -> None:
    """Measure both in turn, script by script, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", metavar="GLOB", help="library/workload, say '*/rnn'; repeatable")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40, help="in an epoch, of which there are 2; batches of ResNet-50")
    parser.add_argument("--cores", default="1,2", help="how many, one measurement after the other")
    parser.add_argument("--precision", default="fp32", help="of the tuned one; the reference stays fp32")
    asked = parser.parse_args()
    print(f"{asked.steps} steps after as many, {asked.rounds} rounds in turn, {steps.machine('all')}")
    print(f"processor time of a step in ms, median; tuned in {asked.precision}")
    print(f"{'':22}{'cores':>6}{'reference':>11}{'tuned':>9}{'ratio':>7}{'compiled':>10}  of each round")
    for library, workload in scripts(asked.only or ["*"]):
        for cores in map(int, asked.cores.split(",")):
            try:
                line = compare(library, workload, cores, asked)
            except steps.Failed as error:
                line = f"  failed: {error}"
            print(f"{library + '/' + workload:22}{cores:>6}{line}", flush=True)


def scripts(only: list[str]) -> Iterator[tuple[str, str]]:
    """The libraries and workloads that have a tuned script."""
    from orchestrator.cell.parameters import parameters
    from orchestrator.cell.scripts import script_of
    from orchestrator.images.definitions import library_index

    for workload in parameters():
        for library in library_index():
            there = script_of(library, workload, "tuned").is_file()
            if there and any(fnmatch(f"{library}/{workload}", pattern) for pattern in only):
                yield library, workload


def compare(library: str, workload: str, cores: int, asked: argparse.Namespace) -> str:
    """The rest of a line."""
    image = steps.image_of(library, "cpu")
    asked.cpus = ",".join(map(str, sorted(os.sched_getaffinity(0))[-cores:]))
    asked.python, asked.gpu = None, False
    found: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    compiled = 0.0
    for number in range(asked.rounds):
        for variant in VARIANTS if number % 2 == 0 else reversed(VARIANTS):
            seconds, document = measured(image, library, workload, variant, asked)
            found[variant].append(seconds)
            compiled = document.get("compile_seconds") or compiled
    reference, tuned = (statistics.median(found[variant]) / asked.steps * 1e3 for variant in VARIANTS)
    each = ", ".join(f"{a / b:.2f}" for a, b in zip(*found.values(), strict=True))
    said = f"{compiled:.1f} s" if compiled else ""
    return f"{reference:>11.1f}{tuned:>9.1f}{reference / tuned:>7.2f}{said:>10}  {each}"


def measured(
    image: str, library: str, workload: str, variant: str, asked: argparse.Namespace, variables: tuple[str, ...] = ()
) -> tuple[float, dict[str, Any]]:
    """Processor seconds of what is measured of a run with these variables, and its document."""
    from harness import arguments

    samples = asked.steps * arguments.read_params()[workload]["batch_size"]
    options = ["--data", "synthetic", "--samples", str(samples), "--variant", variant]
    options += ["--epochs", "2"] if workload not in BEFORE else []
    options += ["--precision", asked.precision] if variant == "tuned" else []
    with tempfile.TemporaryDirectory(prefix="rosetta-tuned-") as results:
        mounts = {Path(results): "/results", steps.CLOCK: "/clock:ro"}
        program = ["env", *variables, "python", "-m", "harness", library, workload, *options]
        printed = steps.run(asked, mounts, "/clock:/workloads", image, program)
        document = next(json.loads(path.read_text()) for path in Path(results).glob("*.json"))
    events = [json.loads(line) for line in printed.splitlines() if line.startswith('{"event": ')]
    if workload in BEFORE:
        start, end = (next(e["cpu"] for e in events if e.get("phase") == name) for name in BEFORE[workload])
    else:
        start, end = (e["cpu"] for e in events if e["event"] == "epoch")
    return end - start, document


if __name__ == "__main__":
    main()
