"""The order of cells: rounds, the unknown first, then the longest."""

from orchestrator.cell.cell import Cell
from orchestrator.plan.verdicts import Planned, Verdict
from orchestrator.results.files import write_row
from orchestrator.results.merging import merge
from orchestrator.results.paths import MERGED
from orchestrator.run import order
from tests.unit.results.test_results import row

LIBRARIES = {"pytorch": 30.0, "chainer": 10.0, "mxnet": 20.0}


def cell(library: str, repeat: int = 0, **parameters) -> Cell:
    return Cell(library, "rnn", repeat=repeat, **parameters)


def test_the_longest_of_earlier_runs_comes_first_in_each_round_and_what_nobody_knows_before(tmp_path):
    for number, (library, seconds) in enumerate(LIBRARIES.items()):
        made = row(cell(library), run=f"r{number}", library=library, seconds=seconds / 2) | {"wall_seconds": seconds}
        write_row(made, tmp_path / f"{number}.parquet")
    merge([tmp_path], tmp_path / MERGED)
    expected = order.expected(tmp_path)
    assert expected(cell("pytorch", 7)) == 30.0
    assert expected(cell("pytorch", epochs=1)) is None
    ready = [Planned(cell(name, r), Verdict.READY) for r in (0, 1) for name in ("chainer", "jax", "mxnet", "pytorch")]
    ordered = [(p.cell.library, p.cell.repeat) for p in order.in_order(ready, expected)]
    names = ("jax", "pytorch", "mxnet", "chainer")
    assert ordered == [(name, repeat) for repeat in (0, 1) for name in names]


def test_without_results_the_matrix_keeps_its_order(tmp_path):
    ready = [Planned(cell(name), Verdict.READY) for name in ("mxnet", "chainer")]
    assert order.in_order(ready, order.expected(tmp_path)) == ready
