"""Where a step goes: a few steps under the library's own profiler, ``--profile N``, in place of a run that is timed.

It leaves a trace that Perfetto opens and a summary, neither of which is a document: what was profiled is no result. The
time of a step is divided, each moment counted once: what covers a kernel is "kernels", of what is left what covers a
copy is "copies", then "input", in which the harness gets a batch, then "host", the rest of the script's own call. What
is "idle" then, nobody was seen to work in.
"""

import gzip
import itertools
import json
import re
from contextlib import contextmanager

import numpy as np

from harness import arguments, batches, document
from harness.profilers import PROFILERS, Stack

WARM_UP = 3
"""Steps before those that are recorded."""

SUMMARY, TRACE = "profile.json", "trace.json.gz"
LARGEST_TRACE = 12 * 2**20
"""Bytes of the trace, compressed: the results folder of a cell takes sixteen million."""

INPUT, STEP, WAIT = "rosetta input", "rosetta step", "rosetta wait"
"""Slices in the trace: the harness gets a batch, the script's call, until the device is done at the end."""

CLASSES = ("input", "host", "copies", "kernels", "idle")
PAINTED = {"gpu": ("kernels", "copies", "input", "host"), "cpu": ("copies", "kernels", "input", "host")}
"""What counts where several go on at a time, the first first: on a CPU a copy is part of what counts as a kernel."""


@contextmanager
def unmarked(_):
    """In place of a profiler's mark where nothing is recorded."""
    yield


def profile(cell, inputs, call, whole):
    """Take steps under the library's profiler, write trace and summary.

    ``inputs(n, mark)`` yields the arguments of ``call`` for n steps; if ``whole``, once for all of them.
    """
    steps, where = cell.arguments.profile, "gpu" if cell.gpus else "cpu"

    def take(count, mark):
        for given in marked(inputs(count, mark), mark):
            with mark(STEP):
                call(*given)
        with mark(WAIT):
            cell.synchronize()

    take(WARM_UP + (steps if whole else 0), unmarked)
    if whole:
        take(steps, unmarked)  # what compiles or records a call of so many steps does so now
    cell._phase("warm_up")
    cell.cards.after_first_step()  # one that fell back to the CPU ends here
    with PROFILERS.get(cell.arguments.library, Stack)() as profiler:
        take(steps, profiler.mark)
    cell._phase("profile")
    events = profiler.events()
    write_trace(events)
    seconds, classes = classified(events, profiler.rules and profiler.rules[where], PAINTED[where])
    asked = {name: getattr(cell.arguments, name) for name in arguments.AXES}
    summary = dict(
        asked,
        contract=arguments.CONTRACT,
        framework_version=cell.versions["framework"],
        profiler=profiler.name,
        steps=steps,
        step_seconds=seconds / steps,
        classes={name: None if each is None else each / steps for name, each in classes.items()},
    )
    document.write_whole(SUMMARY, json.dumps(summary, indent=1, sort_keys=True, allow_nan=False).encode())
    document.event("profile", profiler=profiler.name, steps=steps, step_seconds=seconds / steps)


def steps_of(cell, arrays, predict, train_step, train_epoch, train_indices, predict_indices):
    """How a script takes steps, as ``profile`` wants it: its inputs, its call, whether that takes all steps at once."""
    batch = cell.params.batch_size

    def order(count, samples):
        return np.resize(cell.random.permutation(len(samples)), count * batch).reshape(count, batch)

    def indices(count, mark):
        yield (order(count, arrays.x_train if train_indices else arrays.x_test).astype(np.int32),)

    def places(count, mark):
        epoch = arrays.places(1)
        yield (np.resize(epoch, (count,) + epoch.shape[1:]),)

    def drawn(count, mark):
        return ((arrays.x_train[index], arrays.y_train[index]) for index in order(count, arrays.x_train))

    def drawn_whole(count, mark):
        index = order(count, arrays.x_train).ravel()
        yield arrays.x_train[index], arrays.y_train[index]

    def images(count, mark):
        places = itertools.cycle(range(0, len(arrays.x_test) // batch * batch, batch))
        return ((arrays.x_test[start : start + batch],) for start in itertools.islice(places, count))

    if train_indices and isinstance(arrays, batches.Stream):
        return places, train_indices, True
    if train_indices or predict_indices:
        return indices, train_indices or predict_indices, True
    if not (train_step or train_epoch):
        return images, predict, False
    if not isinstance(arrays, batches.Stream):
        return (drawn, train_step, False) if train_step else (drawn_whole, train_epoch, True)
    pairs = itertools.chain.from_iterable(map(arrays.epoch, itertools.count(1)))
    if train_step:
        return lambda count, mark: itertools.islice(pairs, count), train_step, False
    return lambda count, mark: iter([(marked(itertools.islice(pairs, count), mark),)]), train_epoch, True


def marked(items, mark):
    """The same items, each got within a slice of its own."""
    items = iter(items)
    while True:
        with mark(INPUT):
            item = next(items, None)
        if item is None:
            return
        yield item


def classified(events, rules, painted):
    """Seconds of all steps, and of each class in them: None for those that a profiler without rules does not see."""
    found = intervals(events, rules or {})
    calls = found["input"] + found["host"] + found["wait"]
    begin, end = min(start for start, _ in calls), max(stop for _, stop in calls)
    if rules is None:
        fetched = covered(found["input"], begin, end)
        return end - begin, dict(dict.fromkeys(CLASSES), input=fetched, host=end - begin - fetched)
    classes, painting, so_far = {}, [], 0.0
    for name in painted:
        painting += found[name]
        total = covered(painting, begin, end)
        classes[name], so_far = total - so_far, total
    return end - begin, dict(classes, idle=end - begin - so_far)


def intervals(events, rules):
    """From when to when, in seconds, something of each class went on, and what the harness itself has marked."""
    found = {name: [] for name in CLASSES + ("wait",)}
    compiled = [(name, re.compile(rule)) for name, rule in rules.items()]
    own = {INPUT: "input", STEP: "host", WAIT: "wait"}
    named = names_of(events)
    for event in events:
        if event.get("ph") != "X":
            continue
        pid, tid, name = event.get("pid"), event.get("tid"), str(event.get("name"))
        category = str(event.get("cat", "-"))
        words = " ".join((named.get((pid, None), "-"), named.get((pid, tid), "-"), category, name))
        kind = own.get(name) or next((kind for kind, rule in compiled if rule.search(words)), None)
        # With CUDA, PyTorch shows a mark a second time, on the card's side.
        if kind is not None and category != "gpu_user_annotation":
            found[kind].append((event["ts"] / 1e6, (event["ts"] + event.get("dur", 0)) / 1e6))
    return found


def names_of(events):
    """What processes and threads are called: by their numbers, a process by its own and None."""
    named = {}
    for event in events:
        if event.get("ph") == "M" and event.get("name") in ("process_name", "thread_name"):
            thread = event.get("tid") if event["name"] == "thread_name" else None
            named[event.get("pid"), thread] = str(event["args"]["name"])
    return named


def covered(intervals, begin, end):
    """Seconds between two times in which at least one of these intervals lies."""
    total, reached = 0.0, begin
    for start, stop in sorted(intervals):
        stop = min(stop, end)
        total += max(0.0, stop - max(start, reached))
        reached = max(reached, stop)
    return total


def write_trace(events):
    """Write what was recorded, as Perfetto opens it; one that is too large ends the run."""
    content = gzip.compress(json.dumps({"displayTimeUnit": "ms", "traceEvents": events}).encode())
    if len(content) > LARGEST_TRACE:
        size = len(content) / 2.0**20
        raise SystemExit("the trace has %.0f MiB and may have %d: take fewer steps" % (size, LARGEST_TRACE / 2**20))
    document.write_whole(TRACE, content)
