"""The profilers that libraries bring along, and which of their events are kernels and copies.

A profiler is a context manager that records as long as it is entered; ``mark(name)`` is one for a slice of that name.
Afterwards ``events()`` has what it saw as Chrome's trace events, times in microseconds on one clock. Its ``rules`` say
for a GPU and for a CPU which events are "copies" and which "kernels": an expression for the words ``process thread
category name`` of an event. Without rules it sees neither.
"""

import glob
import gzip
import json
import os
import sys
import tempfile
import threading
import time
from contextlib import contextmanager

EVERY = 0.002
"""Seconds between two looks at Python's stack."""

STREAMS = {"copies": r"^/device:GPU:.* Stream #\S+ \S+ Memcpy", "kernels": r"^/device:GPU:.* Stream #"}
"""What CUPTI tells of a card, as TensorFlow and XLA pass it on; a stream's name may say that it copies, too."""


class Torch:
    """``torch.profiler``: operators, with CUDA also kernels and copies."""

    rules = {
        "gpu": {"copies": r" gpu_memcpy ", "kernels": r" (kernel|gpu_memset) "},
        "cpu": {"copies": r" cpu_op aten::copy_$", "kernels": r" cpu_op "},
    }

    def __init__(self):
        import torch

        self.name = "torch.profiler of PyTorch %s" % torch.__version__
        self.mark, self._profile = torch.profiler.record_function, torch.profiler.profile()

    def __enter__(self):
        self._profile.__enter__()
        return self

    def __exit__(self, *error):
        self._profile.__exit__(*error)

    def events(self):
        """What it saw."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "trace.json")
            self._profile.export_chrome_trace(path)
            with open(path) as file:
                return json.load(file)["traceEvents"]


class Jax:
    """``jax.profiler``: what XLA does in each of its threads, with CUDA also kernels and copies."""

    rules = {"gpu": STREAMS, "cpu": {"copies": r" (wrapped_)?copy[\w.-]*$", "kernels": r" hlo "}}

    def __init__(self):
        import jax

        self.name = "jax.profiler of JAX %s" % jax.__version__
        self.mark, self._profiler = jax.profiler.TraceAnnotation, jax.profiler

    def __enter__(self):
        self._folder, options = tempfile.TemporaryDirectory(), self._profiler.ProfileOptions()
        options.python_tracer_level = 0  # an event for each call of Python slows the host down, whose time is asked for
        self._profiler.start_trace(self._folder.name, profiler_options=options)
        return self

    def __exit__(self, *error):
        self._profiler.stop_trace()

    def events(self):
        """What it saw; an instruction of XLA's has the category "hlo"."""
        with self._folder, gzip.open(found(self._folder.name, "trace.json.gz"), "rt") as file:
            events = [event for event in json.load(file)["traceEvents"] if event]
        for event in events:
            if "hlo_op" in event.get("args", {}):
                event["cat"] = "hlo"
        return events


class TensorFlow:
    """``tf.profiler``: operators in each of TensorFlow's threads, with CUDA also kernels and copies."""

    rules = {"gpu": STREAMS, "cpu": {"copies": r" tf\.constant$", "kernels": r" [^\s:]+:[A-Z]\w*$"}}

    def __init__(self):
        import tensorflow

        self.name = "tf.profiler of TensorFlow %s" % tensorflow.__version__
        self._profiler = tensorflow.profiler.experimental
        self.mark = self._profiler.Trace

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory()
        self._profiler.start(self._folder.name)
        return self

    def __exit__(self, *error):
        self._profiler.stop()

    def events(self):
        """What it saw: TensorFlow writes its own form alone, planes with lines of events."""
        from tensorflow.tsl.profiler.protobuf import xplane_pb2

        space = xplane_pb2.XSpace()
        with self._folder, open(found(self._folder.name, "xplane.pb"), "rb") as file:
            space.ParseFromString(file.read())
        return [event for number, plane in enumerate(space.planes) for event in events_of_plane(plane, number)]


class Stack:
    """Samples of Python's own stack, for libraries without a profiler; from the thread that has made it."""

    rules = None
    name = "samples of Python's stack"

    def __init__(self):
        self._watched, self._stopped = threading.get_ident(), threading.Event()
        self._depth = len(list(frames(sys._getframe(1))))
        self._marks, self._samples = [], []

    def __enter__(self):
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error):
        self._stopped.set()
        self._thread.join()

    @contextmanager
    def mark(self, name):
        """A slice of this name."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._marks.append(slice_of(name, started, time.perf_counter()))

    def _sample(self):
        while not self._stopped.wait(EVERY):
            stack = list(frames(sys._current_frames()[self._watched]))
            self._samples.append((time.perf_counter(), stack[::-1][self._depth :]))

    def events(self):
        """What it saw: neighbouring samples with the same callers are one slice."""
        return self._marks + list(slices(self._samples))


PROFILERS = {
    "pytorch": Torch,
    "keras-torch": Torch,
    "jax": Jax,
    "keras-jax": Jax,
    "tensorflow": TensorFlow,
    "keras-tf": TensorFlow,
}
"""By library; of all others Python's stack is looked at."""


def found(folder, ending):
    """The one file below a folder of TensorBoard's whose name ends so."""
    (path,) = glob.glob(os.path.join(folder, "plugins", "profile", "*", "*." + ending))
    return path


def events_of_plane(plane, number):
    """Chrome's events of a plane of XSpace: a process, whose lines are threads."""
    yield {"ph": "M", "pid": number, "name": "process_name", "args": {"name": plane.name}}
    for thread, line in enumerate(plane.lines):
        yield {"ph": "M", "pid": number, "tid": thread, "name": "thread_name", "args": {"name": line.name}}
        for event in line.events:
            start = line.timestamp_ns / 1e3 + event.offset_ps / 1e6
            kind = {"ph": "X", "pid": number, "tid": thread, "name": plane.event_metadata[event.metadata_id].name}
            yield dict(kind, ts=start, dur=event.duration_ps / 1e6)


def frames(frame):
    """The functions on a stack, the innermost first, as people look for them: ``train_step (rnn/chainer.py)``."""
    while frame is not None:
        code = frame.f_code
        yield "%s (%s)" % (code.co_name, "/".join(code.co_filename.split("/")[-2:]))
        frame = frame.f_back


def slice_of(name, start, end, thread=0):
    """Chrome's event for something that lasted from one time to another, in seconds."""
    return {"ph": "X", "pid": 0, "tid": thread, "name": name, "ts": start * 1e6, "dur": (end - start) * 1e6}


def slices(samples):
    """Chrome's events of samples, pairs of time and stack; a stack holds since the sample before it."""
    opened, last = [], None
    for now, stack in samples + [(None, [])]:
        same = 0
        while same < min(len(opened), len(stack)) and opened[same][0] == stack[same]:
            same += 1
        for name, start in opened[same:]:
            yield slice_of(name, start, last, thread=1)
        del opened[same:]
        opened += [(name, now if last is None else last) for name in stack[same:]]
        last = now
