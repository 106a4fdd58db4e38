"""Where a step goes, by what each profiler tells; and runs of the harness that leave it in place of a document."""

import gzip
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from harness import batches, profiling
from harness.profilers import PROFILERS, STREAMS, Jax, Stack, TensorFlow, Torch, events_of_plane, slices
from harness.profiling import INPUT, PAINTED, STEP, WAIT, classified
from orchestrator.cell import contract, profile
from orchestrator.cell.cell import Cell
from orchestrator.errors import ResultError
from tests.unit.workloads import numpy_library


def event(name, start, end, cat=None, tid=1, pid=1):
    """A slice from one millisecond to another."""
    made = {"ph": "X", "pid": pid, "tid": tid, "name": name, "ts": 1e3 * start, "dur": 1e3 * (end - start)}
    return made | ({"cat": cat} if cat else {})


def named(process, **threads):
    """What a process and its threads are called; ``t7`` is the thread 7."""
    told = [{"ph": "M", "pid": 1, "name": "process_name", "args": {"name": process}}]
    for tid, name in threads.items():
        told.append({"ph": "M", "pid": 1, "tid": int(tid[1:]), "name": "thread_name", "args": {"name": name}})
    return told


MARKS = [event(INPUT, 0, 10), event(STEP, 10, 80), event(WAIT, 80, 100)]
ON_CPU = {
    "torch": (Torch, [event("aten::mm", 20, 50, "cpu_op"), event("aten::copy_", 30, 35, "cpu_op")]),
    "jax": (
        Jax,
        [
            event("ThunkExecutor::Execute", 12, 70, tid=2),
            event("dot.3", 20, 50, "hlo", tid=2),
            event("wrapped_copy", 30, 35, "hlo", tid=3),
        ],
    ),
    "tensorflow": (
        TensorFlow,
        [
            event("ExecutorState::Process", 12, 70, tid=2),
            event("network_1/gru_1/while/MatMul:MatMul", 20, 50, tid=2),
            event("tf.constant", 30, 35),
        ],
    ),
}
ON_GPU = {
    "torch": (
        Torch,
        [
            event("aten::mm", 12, 79, "cpu_op"),
            event("sgemm", 20, 50, "kernel", tid=7),
            event("Memcpy HtoD", 45, 55, "gpu_memcpy", tid=8),
            event(STEP, 20, 55, "gpu_user_annotation", tid=7),
        ],
    ),
    "xla": (
        Jax,
        [
            *named("/device:GPU:0", t7="Stream #13(Compute,MemcpyD2D)", t8="Stream #14(MemcpyH2D)", t9="Steps"),
            event("fusion_3", 20, 50, tid=7),
            event("MemcpyH2D", 45, 55, tid=8),
            event("7", 0, 100, tid=9),
            event("dot.3", 12, 79, "hlo", pid=2),
        ],
    ),
}


def milliseconds(events, rules, where):
    seconds, classes = classified(MARKS + events, rules, PAINTED[where])
    assert sum(filter(None, classes.values())) == pytest.approx(seconds) == pytest.approx(0.1)
    return {name: each if each is None else round(1e3 * each, 6) for name, each in classes.items()}


@pytest.mark.parametrize("name", ON_CPU)
def test_on_a_cpu_a_copy_within_an_operator_is_a_copy(name):
    kind, events = ON_CPU[name]
    assert milliseconds(events, kind.rules["cpu"], "cpu") == {
        "input": 10, "kernels": 25, "copies": 5, "host": 40, "idle": 20,
    }  # fmt: skip


@pytest.mark.parametrize("name", ON_GPU)
def test_on_a_gpu_a_copy_behind_a_kernel_costs_nothing_and_operators_are_the_hosts(name):
    kind, events = ON_GPU[name]
    assert milliseconds(events, kind.rules["gpu"], "gpu") == {
        "input": 10, "kernels": 30, "copies": 5, "host": 35, "idle": 20,
    }  # fmt: skip


def test_what_goes_on_before_and_after_the_steps_does_not_count():
    events = [event("aten::mm", -50, 5, "cpu_op"), event("aten::mm", 95, 200, "cpu_op")]
    assert milliseconds(events, Torch.rules["cpu"], "cpu") == {
        "input": 5, "kernels": 10, "copies": 0, "host": 70, "idle": 15,
    }  # fmt: skip


def test_a_profiler_without_rules_tells_input_and_host_alone():
    assert milliseconds([event("train_step (rnn/chainer.py)", 10, 80)], None, "cpu") == {
        "input": 10, "host": 90, "kernels": None, "copies": None, "idle": None,
    }  # fmt: skip


def test_planes_of_tensorflow_become_processes_and_lines_threads():
    metadata = {5: SimpleNamespace(name="MemcpyD2H")}
    line = SimpleNamespace(
        name="Stream #3(MemcpyD2H)",
        timestamp_ns=2_000_000,
        events=[SimpleNamespace(metadata_id=5, offset_ps=1_000_000, duration_ps=3_000_000)],
    )
    plane = SimpleNamespace(name="/device:GPU:0", lines=[line], event_metadata=metadata)
    *_, copied = events = list(events_of_plane(plane, 4))
    assert (copied["ts"], copied["dur"], copied["pid"]) == (2001.0, 3.0, 4)
    assert profiling.intervals(events, STREAMS)["copies"] == [pytest.approx((0.002001, 0.002004))]


def test_neighbouring_samples_with_the_same_callers_are_one_slice():
    samples = [(1.0, ["train", "forward"]), (2.0, ["train", "forward"]), (3.0, ["train", "backward"]), (4.0, [])]
    made = {each["name"]: (each["ts"] / 1e6, each["dur"] / 1e6) for each in slices(samples)}
    assert made == {"train": (1.0, 2.0), "forward": (1.0, 1.0), "backward": (2.0, 1.0)}


def test_what_a_thread_does_is_seen_by_its_functions_names():
    def busy_function():
        while not any("busy_function" in name for _, stack in list(profiler._samples) for name in stack):
            sum(range(1000))

    profiler = Stack()
    with profiler, profiler.mark(STEP):
        busy_function()
    names = [each["name"] for each in profiler.events()]
    assert STEP in names
    assert any(name.startswith("busy_function (workloads/test_profiling.py)") for name in names)


def test_each_library_with_a_profiler_of_its_own_is_one_of_ours():
    libraries = {path.stem.replace("_", "-") for path in (profiling.arguments.WORKLOADS / "rnn").glob("*.py")}
    assert set(PROFILERS) <= libraries


@pytest.fixture
def run(tmp_path):
    """Profile the NumPy library; returns what is left in the results folder, by name, and what was said."""

    def run(workload, *words, resident=False, **changes):
        folder = numpy_library.folder(tmp_path / "workloads", workload, resident=resident, **changes)
        (tmp_path / "results").mkdir()
        variables = {**os.environ, "PYTHONPATH": str(folder), "ROSETTA_PLATFORM": "cpu"}
        variables["ROSETTA_RESULTS"] = str(tmp_path / "results")
        command = [sys.executable, "-m", "harness", "numpy", workload, "--data", "synthetic", "--samples", "64"]
        done = subprocess.run([*command, *words], env=variables, capture_output=True, text=True, check=False)
        return {path.name: path.read_bytes() for path in (tmp_path / "results").iterdir()}, done

    return run


@pytest.mark.parametrize(
    ("workload", "resident"),
    [("rnn", False), ("rnn", True), ("resnet50", False), ("resnet50", True), ("densenet121", True)],
)
def test_each_form_of_script_leaves_a_profile_that_is_no_document(run, workload, resident):
    files, done = run(workload, "--profile", "2", resident=resident)
    assert done.returncode == 0, done.stderr
    recording = profile.parse(files, Cell("numpy", workload, data="synthetic"), 2)
    assert set(files) == {"profile.json", "trace.json.gz"}
    made = recording.profile
    assert (made.steps, made.profiler, made.classes.kernels) == (2, "samples of Python's stack", None)
    assert made.classes.input + made.classes.host == pytest.approx(made.step_seconds)
    marks = [each["name"] for each in json.loads(gzip.decompress(recording.trace))["traceEvents"]]
    assert marks.count(STEP) == (1 if resident else 2)
    assert marks.count(WAIT) == 1
    with pytest.raises(ResultError, match="is not a valid result"):
        contract.parse(files["profile.json"], "the result")


def test_a_library_that_trains_by_the_epoch_takes_all_steps_in_one_call(run):
    whole = "def train_epoch(x, y):\n    return train_step(x, y)\n\n\n"
    files, done = run("rnn", "--profile", "3", end=f"{whole}cell.run(cell.data(), predict, train_epoch=train_epoch)")
    assert done.returncode == 0, done.stderr
    marks = [each["name"] for each in json.loads(gzip.decompress(files["trace.json.gz"]))["traceEvents"]]
    assert (marks.count(STEP), json.loads(files["profile.json"])["steps"]) == (1, 3)


class ThreeBatches(batches.Stream):
    """An epoch of three batches, numbered."""

    def __init__(self):
        """Nothing is read."""

    def epoch(self, number):
        return ((f"x{number}.{step}", f"y{number}.{step}") for step in range(3))


@pytest.mark.parametrize("whole", [False, True])
def test_of_a_stream_each_batch_is_got_within_a_mark_and_epochs_follow_each_other(whole):
    said = []

    @contextmanager
    def mark(name):
        said.append(name)
        yield

    step = lambda *pair: said.append(pair)  # noqa: E731
    given = {"train_step": None if whole else step, "train_epoch": (lambda pairs: [step(*pair) for pair in pairs])}
    calls = {**dict.fromkeys(("predict", "train_indices", "predict_indices")), **given}
    cell = SimpleNamespace(params=SimpleNamespace(batch_size=2))
    inputs, call, at_once = profiling.steps_of(cell, ThreeBatches(), **calls)
    for arguments in inputs(2, mark) if whole else profiling.marked(inputs(2, mark), mark):
        call(*arguments)
    for arguments in inputs(2, profiling.unmarked):
        call(*arguments)
    assert at_once == whole
    first = [INPUT, ("x1.0", "y1.0"), INPUT, ("x1.1", "y1.1"), INPUT]
    assert said == [*first, ("x1.2", "y1.2"), ("x2.0", "y2.0")]


def test_a_profile_goes_with_no_parity(run):
    files, done = run("rnn", "--profile", "2", "--parity")
    assert (files, done.returncode) == ({}, 2)
    assert "--profile takes one worker, and no --parity" in done.stderr


def test_a_trace_that_is_too_large_ends_the_run(monkeypatch):
    monkeypatch.setattr(profiling, "LARGEST_TRACE", 10)
    with pytest.raises(SystemExit, match="take fewer steps"):
        profiling.write_trace([event(STEP, 0, 1)])
