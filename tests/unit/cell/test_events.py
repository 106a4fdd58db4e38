"""Lines of a cell: events where they are as declared, text where they are not, whatever their bytes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cell import events
from orchestrator.cell.cell import Cell
from orchestrator.cell.events import Epoch, Event, Phase, Result, parse
from orchestrator.engines.output import Output
from orchestrator.run.progress import AT_FULL_PACE, Progress
from orchestrator.system.slots import Lease

EPOCH = {"event": "epoch", "epoch": 1, "epochs": 2, "loss": 0.5, "seconds": 1.5}
VALID = [
    (EPOCH, Epoch),
    ({**EPOCH, "said later": [1]}, Epoch),
    ({"event": "phase", "phase": "import", "seconds": 1}, Phase),
    ({"event": "result", "quality": 0.5, "metric": "accuracy", "seconds": 5.0, "document": "/results/a.json"}, Result),
    ({"event": "parity", "parameter": "conv1.weight", "error": 1e-9}, events.Parity),
]


@pytest.mark.parametrize(("said", "kind"), VALID)
def test_what_the_harness_says_is_an_event(said, kind):
    assert type(parse(json.dumps(said).encode())) is kind


@pytest.mark.parametrize(
    "changes",
    [{"epoch": "a"}, {"epoch": True}, {"epoch": -1}, {"epochs": 10**400}, {"loss": None}, {"loss": 10**400},
     {"event": "other"}, {"event": ["epoch"]}, {"seconds": 1e300}, {"loss": "0.5"}],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit_is_text(changes):
    assert parse(json.dumps({**EPOCH, **changes}).encode()) is None


@pytest.mark.parametrize("text", [b"NaN", b"1e999", b"-Infinity", b"9" * 400, b"[" * 900 + b"]" * 900, b'"\\ud800"'])
def test_numbers_that_are_none_and_nesting_are_text(text):
    assert parse(json.dumps(EPOCH).encode().replace(b"0.5", text)) is None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    said=st.dictionaries(st.sampled_from([*EPOCH, "phase", "metric", "quality"]), values), tail=st.binary(max_size=8)
)
def test_any_line_is_an_event_or_text_and_never_an_error(said, tail):
    seen: list[Event] = []
    output = Output(seen.append)
    line = json.dumps({"event": "epoch", **said}).encode() + tail
    output.feed(line + b"\n")
    assert output.close().encode(errors="replace").startswith(line.split(b"\n")[0][:4])
    for event in seen:
        assert isinstance(event, Event)
        Shown().event(Cell("pytorch", "rnn"), event)


class Shown(Progress):
    """Counts what would be printed."""

    def __init__(self) -> None:
        super().__init__()
        self.printed = 0

    def show(self, kind, cell, **facts) -> None:
        self.printed += kind == "epoch"


def test_hundreds_of_thousands_of_events_print_a_bounded_number_of_lines():
    shown, cell = Shown(), Cell("pytorch", "rnn")
    shown.started(cell, Lease((), (0,), 1))
    for number in range(200_000):
        shown.event(cell, Epoch(event="epoch", epoch=number, epochs=200_000, loss=0.5))
    assert AT_FULL_PACE <= shown.printed < 3 * AT_FULL_PACE
    assert shown.cells[cell].epoch == 199_999
