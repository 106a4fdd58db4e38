"""The cores that a cell was given: every library uses exactly these, and what it made of them is measured.

Needs no NumPy: ``take`` comes before it, since NumPy's own threads are counted when it is imported.
"""

import math
import os
import random
import subprocess
import time
from contextlib import contextmanager

COUNTS = (
    "OMP_NUM_THREADS",  # MXNet takes half of the cores without it; PaddlePaddle sets it to 1 when it is imported
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
"""Variables that libraries read a number of threads from, once. TensorFlow and XLA ask for the affinity instead."""

SHARED_BY = "ROSETTA_SHARED_BY"
"""How many processes of one cell share its cores; set for all but the first, which has begun before it is known."""

QUOTAS = (("cpu.max", "cpu.max"), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"))
"""Where version 2 and version 1 of control groups say what share of the cores a container may use."""

GROUPS = "/sys/fs/cgroup"


def quota(folder=GROUPS):
    """How many cores the control group lets this container use, say 1.5; None without a limit."""
    for allowed, period in QUOTAS:
        try:
            with open(os.path.join(folder, allowed)) as first, open(os.path.join(folder, period)) as second:
                share, length = first.read().split()[0], second.read().split()[-1]
        except (OSError, IndexError):
            continue
        return float(share) / float(length) if share not in ("max", "-1") else None
    return None


def count(folder=GROUPS):
    """Whole cores that this process may use, by its affinity and by the quota of its container; 1 at least."""
    allowed, share = len(os.sched_getaffinity(0)), quota(folder)
    return allowed if share is None else max(1, min(allowed, math.floor(share)))


def take():
    """Give every library the cores of this cell, and no more: before NumPy or a framework is imported.

    A quota leaves all cores in sight, of which libraries would count too many: then the affinity is narrowed to as many
    as it is worth, chosen at random, so that containers side by side don't all choose the first.
    """
    number = count()
    if number < len(os.sched_getaffinity(0)):
        os.sched_setaffinity(0, random.sample(sorted(os.sched_getaffinity(0)), number))
    each = max(1, number // int(os.environ.get(SHARED_BY, "1")))
    os.environ.update(dict.fromkeys(COUNTS, str(each)))


def seconds(folder=GROUPS):
    """Processor time so far and the part of it that the kernel took, both in seconds.

    Of the whole container, or where there is none, of this process and its ended children.
    """
    alone = os.path.exists("/.dockerenv") and "ROSETTA_RESULTS" not in os.environ  # which a cell without container has
    for counted in (counted_by_version_2, counted_by_version_1) if alone else ():
        try:
            return counted(folder)
        except (OSError, ValueError, KeyError):
            continue
    times = os.times()
    return sum(times[:4]), times.system + times.children_system


def counted_by_version_2(folder):
    """What version 2 of control groups has counted, in microseconds there."""
    found = amounts(os.path.join(folder, "cpu.stat"))
    return found["usage_usec"] * 1e-6, found["system_usec"] * 1e-6


def counted_by_version_1(folder):
    """What version 1 has counted, in nanoseconds and clock ticks there."""
    with open(os.path.join(folder, "cpuacct/cpuacct.usage")) as file:
        total = int(file.read()) * 1e-9
    found = amounts(os.path.join(folder, "cpuacct/cpuacct.stat"))
    return total, found["system"] / os.sysconf("SC_CLK_TCK")


def amounts(path):
    """The numbers of a file of the kernel with a name and a number in each line."""
    with open(path) as file:
        return {name: int(number) for name, number in map(str.split, file)}


def load():
    """What the whole machine had to do in the last minute, by the core: 1 is as much as it can, 16 is a long queue."""
    return os.getloadavg()[0] / os.cpu_count()


class Meter:
    """What a cell has used of its cores in all that ran ``with meter:``, and how busy the machine was before."""

    def __init__(self):
        self.elapsed, self.busy, self.kernel, self.load_before = 0.0, 0.0, 0.0, load()

    def __enter__(self):
        self._clock, self._before = time.perf_counter(), seconds()

    def __exit__(self, *error):
        self.elapsed += time.perf_counter() - self._clock
        busy, kernel = (after - before for after, before in zip(seconds(), self._before))
        self.busy, self.kernel = self.busy + busy, self.kernel + kernel

    def report(self):
        """What of it stands in the document; nothing is known of the cores if they were not measured."""
        used = self.busy / (self.elapsed * count()) if self.elapsed else None
        kernel = min(1.0, self.kernel / self.busy) if self.busy else None  # ticks of 10 ms may exceed so little
        return {"cpu_used": used, "cpu_in_kernel": kernel, "load_before": self.load_before, "load_after": load()}


@contextmanager
def neighbours(wanted=True):
    """Somebody else who keeps each core of this cell busy meanwhile, if ``wanted``: a shell that counts to nothing.

    It gives way a little, else libraries whose threads wait for each other by spinning would hardly get on.
    """
    number = count() if wanted else 0
    spinning = [subprocess.Popen(["nice", "-n", "5", "sh", "-c", "while :; do :; done"]) for _ in range(number)]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.wait()
