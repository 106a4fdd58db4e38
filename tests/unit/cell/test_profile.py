"""What a cell leaves that was profiled: small, as declared, of the run that was asked for, or refused."""

import gzip
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cell import profile
from orchestrator.cell.cell import Cell
from orchestrator.cell.profile import LARGEST, SUMMARY, TRACE
from orchestrator.errors import ResultError

CELL = Cell("pytorch", "rnn", data="synthetic")
CLASSES = {"input": 0.1, "host": 0.2, "copies": 0.0, "kernels": 0.6, "idle": 0.1}
MADE = {
    "contract": 2, "library": "pytorch", "workload": "rnn", "platform": "cpu", "precision": "fp32", "seed": 0,
    "variant": "reference", "data": "synthetic", "workers": 1, "framework_version": "2.13.0",
    "profiler": "torch.profiler of PyTorch 2.13.0", "steps": 5, "step_seconds": 1.0, "classes": CLASSES,
}  # fmt: skip
EVENTS = gzip.compress(b'{"traceEvents": []}')


def files(trace=EVENTS, **changes):
    return {SUMMARY: json.dumps({**MADE, **changes}).encode(), TRACE: trace}


def test_a_profile_tells_shares_of_a_step():
    recording = profile.parse(files(), CELL, 5)
    assert recording.trace == EVENTS
    assert recording.profile.classes.shares == pytest.approx(CLASSES)


def test_what_a_profiler_can_not_tell_has_no_share():
    told = {"input": 0.25, "host": 0.75, "copies": None, "kernels": None, "idle": None}
    shares = profile.parse(files(classes=told), CELL, 5).profile.classes.shares
    assert shares == told


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"classes": CLASSES | {"host": 0.9}}, "the classes add up to 1.7 s, not to a step's 1"),
        ({"classes": CLASSES | {"host": -0.2}}, "must be 0 or more"),
        ({"classes": CLASSES | {"host": math.inf}}, "finite"),
        ({"classes": CLASSES | {"network": 0.0}}, "is not known"),
        ({"step_seconds": 0.0}, "must be more than 0"),
        ({"steps": 10**9}, "must be 100 or less"),
        ({"profiler": "x" * 501}, "at most 500 characters"),
        ({"quality": 1.0}, "is not known"),
        ({"contract": 3}, "must be 2"),
        ({"library": "jax"}, "of another run: library"),
        ({"steps": 4}, "of another run: steps"),
        ({"data": "real"}, "of another run: data"),
    ],
)
def test_a_summary_that_can_not_be_is_refused(changes, said):
    with pytest.raises(ResultError, match=said):
        profile.parse(files(**changes), CELL, 5)


@pytest.mark.parametrize(
    "trace",
    [
        b"",
        b'{"traceEvents": []}',
        EVENTS[:-4],
        EVENTS + b"more",
        gzip.compress(b""),
        gzip.compress(b"<script>"),
        gzip.compress(b'{"traceEvents": []}<script>'),
    ],
)
def test_a_trace_that_is_no_gzipped_object_is_refused(trace):
    with pytest.raises(ResultError, match=r"trace\.json\.gz of the profile of pytorch/rnn/cpu is not a gzipped JSON"):
        profile.parse(files(trace), CELL, 5)


def test_a_trace_that_unpacks_to_more_than_perfetto_takes_is_refused(monkeypatch):
    monkeypatch.setattr(profile, "LARGEST_TRACE", 2**20)
    assert profile.is_gzipped_object(gzip.compress(b"{" + b" " * 2**19 + b"}"))
    assert not profile.is_gzipped_object(gzip.compress(b"{" + b" " * 2**26 + b"}"))


@pytest.mark.parametrize("name", LARGEST)
def test_a_file_that_is_missing_or_too_large_is_refused(name):
    with pytest.raises(ResultError, match=f"has no {name}"):
        profile.parse({other: content for other, content in files().items() if other != name}, CELL, 5)
    with pytest.raises(ResultError, match=f"{name} of the profile of pytorch/rnn/cpu has more than"):
        profile.parse({**files(), name: b"x" * (LARGEST[name] + 1)}, CELL, 5)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_in_our_own_words(content):
    with pytest.raises(ResultError):
        profile.read(content, "the profile")
    assert not profile.is_gzipped_object(content)


@given(st.binary(max_size=80), st.integers(0, len(EVENTS)))
def test_a_damaged_trace_raises_nothing(content, place):
    assert profile.is_gzipped_object(EVENTS[:place] + content + EVENTS[place:]) in (True, False)
