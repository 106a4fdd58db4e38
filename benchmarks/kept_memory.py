"""What ResNet-50 costs where freed memory goes back to the kernel, which clears it before the next layer gets it.

    python benchmarks/kept_memory.py [--only 'keras-*'] [--rounds 2] [--steps 4]

Each library's reference script in its own image, on one core: as it is, and with glibc told to keep what is freed, in
turn. Measured is the processor time of a batch in the timed pass, the kernel's included. A ratio of 2 is twice as fast.
Needs the images: `rosetta build --only '*/resnet50/cpu'`. Docs: docs/lessons.md, "Memory that comes and goes".
"""

import argparse
import os
import statistics
from fnmatch import fnmatch

import steps
import tuned

AS_IT_IS: tuple[str, ...] = ()
KEPT = ("GLIBC_TUNABLES=glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592",)


def main() -> None:
    """Measure both in turn, library by library, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="*", metavar="GLOB", help="libraries")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=4, help="batches of 32 images, after as many")
    asked = parser.parse_args()
    asked.cpus, asked.python, asked.gpu, asked.precision = str(max(os.sched_getaffinity(0))), None, False, "fp32"
    print(f"{asked.steps} batches after as many, {asked.rounds} rounds in turn, {steps.machine(asked.cpus)}")
    print(f"{'processor time of a batch':26}{'as it is':>10}{'kept':>10}{'ratio':>7}")
    for library in python_libraries():
        if fnmatch(library, asked.only):
            print(f"{library:26}{compare(library, asked)}", flush=True)


def python_libraries() -> list[str]:
    """The libraries whose ResNet-50 is a Python script."""
    from orchestrator.cell.scripts import script_of
    from orchestrator.images.definitions import library_index

    return [name for name in sorted(library_index()) if script_of(name, "resnet50", "reference").suffix == ".py"]


def compare(library: str, asked: argparse.Namespace) -> str:
    """The rest of a line."""
    try:
        image = steps.image_of(library, "cpu")
        found: dict[tuple[str, ...], list[float]] = {AS_IT_IS: [], KEPT: []}
        for _ in range(asked.rounds):
            for variables, seconds in found.items():
                seconds.append(tuned.measured(image, library, "resnet50", "reference", asked, variables)[0])
    except steps.Failed as error:
        return f"  failed: {error}"
    before, after = (statistics.median(seconds) / asked.steps for seconds in found.values())
    return f"{before:>8.2f} s{after:>8.2f} s{before / after:>7.2f}"


if __name__ == "__main__":
    main()
