"""What three runs of a proof say together."""

import json

from orchestrator.report import parity
from orchestrator.results.files import table_of
from tests.unit.report.test_tables import ran


def proved(repeat: int, loss: float, **changes: object) -> dict:
    errors = {"scores": 1e-7, "loss": loss, "parameters": 1e-6, "updates": 1e-5}
    return ran("pytorch", 5, 1.0, data="synthetic", repeat=repeat, parity=json.dumps(errors), **changes)


def test_runs_of_a_proof_that_are_alike_are_one_line_with_the_worst_error():
    alike = table_of([proved(n, 1e-6, run=str(n)) for n in range(3)])
    (line,) = parity.lines(alike)
    assert (line.library, line.runs, line.good, line.errors[2]) == ("PyTorch", "3, alike", True, "1.0e-06")
    assert parity.differing(alike) == []


def test_runs_of_a_proof_that_differ_in_a_digit_are_a_race():
    other = table_of([proved(0, 1e-6, run="a"), proved(1, 1.0000001e-6, run="b"), proved(2, 1e-6, run="c")])
    (line,) = parity.lines(other)
    assert (line.runs, line.good) == ("3, differ", False)
    assert parity.differing(other) == ["pytorch/rnn/cpu"]
    assert "| 3, differ | **differs** |" in parity.markdown(other)


def test_a_proof_from_ones_own_weights_is_a_line_of_its_own():
    own = proved(0, 2e-6, run="d", pretrained="own weights, SHA-256 " + "ab" * 32)
    lines = list(parity.lines(table_of([proved(0, 1e-6, run="a"), own])))
    assert [(line.library, line.runs) for line in lines] == [("PyTorch", "1"), ("PyTorch, weights abababab", "1")]
