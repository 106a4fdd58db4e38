"""The cores of a cell: by affinity and by quota, handed to every library, and what it made of them."""

import json
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness import cores

HERE = sorted(os.sched_getaffinity(0))


def group(folder: Path, **files: str) -> str:
    """A control group's folder with these files; two underscores in a name stand for a slash."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("cpu_", "cpu.", 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(folder)


@pytest.mark.parametrize(
    ("files", "share"),
    [
        ({}, None),
        ({"cpu_max": "max 100000\n"}, None),
        ({"cpu_max": "150000 100000\n"}, 1.5),
        ({"cpu__cpu_cfs_quota_us": "-1\n", "cpu__cpu_cfs_period_us": "100000\n"}, None),
        ({"cpu__cpu_cfs_quota_us": "50000\n", "cpu__cpu_cfs_period_us": "100000\n"}, 0.5),
        ({"cpu_max": ""}, None),
    ],
)
def test_the_quota_of_either_version_of_control_groups(tmp_path, files, share):
    folder = group(tmp_path, **files)
    assert cores.quota(folder) == share
    assert cores.count(folder) == (len(HERE) if share is None else max(1, min(len(HERE), int(share))))


def told(program: str, *, pinned: str = "", folder: str = "") -> dict:
    """What a process prints that has taken its cores, maybe pinned, maybe with a quota."""
    code = f"from harness import cores\nif {folder!r}: cores.count = lambda: 1\ncores.take()\n{program}"
    words = ["taskset", "--cpu-list", pinned] if pinned else []
    env = {**os.environ, "PYTHONPATH": "workloads", "OMP_NUM_THREADS": "64"}
    return json.loads(
        subprocess.run([*words, sys.executable, "-c", code], env=env, capture_output=True, check=True).stdout
    )


SEEN = "import json, os; print(json.dumps([len(os.sched_getaffinity(0)), os.environ['OMP_NUM_THREADS']]))"


def test_libraries_are_told_the_cores_that_there_are_and_nothing_that_was_there_before():
    assert told(SEEN) == [len(HERE), str(len(HERE))]
    assert told(SEEN, pinned=str(HERE[0])) == [1, "1"]


def test_a_quota_narrows_the_affinity_which_is_what_other_libraries_ask():
    assert told(SEEN, folder="limited") == [1, "1"]


MXNET = """
import os, sys

print(os.environ["OMP_NUM_THREADS"])
__version__, autograd, nd = "1", None, None

class random:
    @staticmethod
    def seed(_):
        sys.exit(print("the document says", sys._getframe(1).f_globals["cell"].threads))
"""


@pytest.mark.parametrize("library", ["gluon", "gluon-2018"])
@pytest.mark.parametrize(
    ("options", "threads"), [([], "64"), (["--workers=1"], "64"), (["--workers=2"], "1"), (["--gpus=2"], "64")]
)
def test_several_workers_of_gluon_on_cpus_have_a_thread_each_before_mxnet_is_there(library, options, threads, tmp_path):
    """Its OpenBLAS waits forever where two of MXNet's threads split a product at the same time."""
    (tmp_path / "mxnet" / "gluon").mkdir(parents=True)
    (tmp_path / "mxnet" / "__init__.py").write_text(MXNET)
    (tmp_path / "mxnet" / "gluon" / "__init__.py").write_text("nn = None")
    (tmp_path / "mxnet" / "gluon" / "model_zoo.py").write_text("vision = None")
    script = f"workloads/densenet121/{library.replace('-', '_')}.py"
    done = subprocess.run(
        [sys.executable, script, library, "densenet121", *options],
        env={**os.environ, "PYTHONPATH": f"workloads:{tmp_path}", "OMP_NUM_THREADS": "64"},
        capture_output=True,
        text=True,
    )
    said = done.stdout.splitlines()
    assert said[0] == threads, done.stderr
    if "--gpus=2" not in options:
        assert said[-1] == f"the document says {threads}", done.stderr


@pytest.mark.parametrize(("gpus", "said"), [("-1", "-1 is negative"), ("x", "invalid"), ("1.5", "invalid")])
def test_a_wrong_number_of_gpus_is_refused(gpus, said):
    words = ["pytorch", "cnn", f"--gpus={gpus}"]
    code = f"from harness import arguments; arguments.parse({words})"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": "workloads"}, capture_output=True, text=True
    )
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_what_a_busy_and_an_idle_process_use(monkeypatch):
    monkeypatch.setenv("ROSETTA_RESULTS", "/nowhere")  # as in a cell without a container of its own
    meter = cores.Meter()
    assert meter.report()["cpu_used"] is meter.report()["cpu_in_kernel"] is None
    with meter:
        until = time.process_time() + 0.2
        while time.process_time() < until:
            pass
    busy = meter.report()["cpu_used"]
    with meter:
        time.sleep(0.2)
    idle = meter.report()["cpu_used"]
    assert 0 <= idle < busy <= 1.1
    assert 0 <= meter.report()["cpu_in_kernel"] <= 1
    assert meter.report()["load_before"] >= 0


def test_clearing_memory_is_the_kernels_work(monkeypatch):
    monkeypatch.setenv("ROSETTA_RESULTS", "/nowhere")
    meter = cores.Meter()
    with meter:
        until = time.process_time() + 0.2
        while time.process_time() < until:
            with mmap.mmap(-1, 1 << 24) as memory:
                memory[:: mmap.PAGESIZE] = bytes(len(memory) // mmap.PAGESIZE)  # a fault for each page
    assert meter.report()["cpu_in_kernel"] > 0.5


@pytest.mark.parametrize(
    ("counted", "files"),
    [
        (cores.counted_by_version_2, {"cpu_stat": "usage_usec 5000000\nsystem_usec 2000000\nnr_periods 0\n"}),
        (
            cores.counted_by_version_1,
            {"cpuacct__cpuacct.usage": "5000000000\n", "cpuacct__cpuacct.stat": "user 300\nsystem 200\n"},
        ),
    ],
)
def test_processor_time_of_a_container_by_either_version_of_control_groups(tmp_path, counted, files):
    assert counted(group(tmp_path, **files)) == pytest.approx((5, 2))


def test_a_group_of_version_1_is_none_of_version_2(tmp_path):
    with pytest.raises(KeyError):
        cores.counted_by_version_2(group(tmp_path, cpu_stat="nr_periods 0\nnr_throttled 0\n"))


def test_neighbours_are_busy_while_they_are_wanted_and_gone_then():
    def spinning() -> int:
        found = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True)
        return found.stdout.count("while :; do :; done")

    with cores.neighbours():
        assert spinning() == len(HERE)
    assert spinning() == 0
    with cores.neighbours(False):
        assert spinning() == 0
