"""The files of badges: a README links to them, so they keep their names whoever else joins."""

from datetime import UTC, datetime, timedelta
from typing import Any

from orchestrator.report import badges, tables
from orchestrator.report.costs import COSTS
from orchestrator.report.grids import Costs
from orchestrator.results.files import table_of
from tests.unit.report.test_tables import EPYC, NOW, TITLES, XEON, failed, four

LATER, LATEST = {"started": NOW + timedelta(days=30)}, {"started": NOW + timedelta(days=60)}
ARM = {"cpu": "AArch64", "cores": 4, "host": "third"}
"""A machine whose name sorts before all others, so that it takes their letters in the tables."""

FIRST = [*four("pytorch", 10.0), *four("mxnet", 20.0), *four("pytorch", 5.0, 0.86, "cuda9", "v100")]


def made(*rows: dict[str, Any], **options: Any) -> dict[str, str]:
    """The texts of the badges by file name."""
    every, _ = tables.tables(table_of(rows), TITLES, **options)
    return {name: svg.partition("<title>")[2].partition("</title>")[0] for name, svg in badges.badges(every).items()}


def test_a_badge_keeps_its_name_and_its_machine_when_others_join():
    alone = made(*FIRST)
    assert sorted(alone) == ["rnn-mxnet-cpu.svg", "rnn-pytorch-cpu.svg", "rnn-pytorch-cuda-9-v100.svg"]
    two = made(*four("pytorch", 33.0, **XEON, **LATER), *FIRST)
    assert alone.items() <= two.items()
    assert two["rnn-pytorch-cpu-machine-2.svg"] == "PyTorch, rnn, CPU machine 2: 33 s .857"
    three = made(*four("pytorch", 44.0, **ARM, **LATEST), *four("pytorch", 33.0, **XEON, **LATER), *FIRST)
    assert two.items() <= three.items()
    assert set(three) - set(two) == {"rnn-pytorch-cpu-machine-3.svg"}


def test_a_cell_that_is_run_again_does_not_move_its_machine():
    again = [{**row, **LATEST, "run": f"again {row['run']}"} for row in FIRST]
    shown = made(*FIRST, *four("pytorch", 33.0, **XEON, **LATER), *again)
    assert shown["rnn-pytorch-cpu.svg"] == "PyTorch, rnn, CPU: 10 s .857"
    assert shown["rnn-pytorch-cpu-machine-2.svg"].endswith("33 s .857")


def test_machines_without_a_date_or_a_name_come_last():
    lost = failed("mxnet", "oom", "killed", host="nobody")
    for date in (None, datetime(1970, 1, 1, tzinfo=UTC)):
        shown = made(*four("pytorch", 33.0, **ARM, started=date), lost, *four("pytorch", 10.0, **EPYC))
        assert shown["rnn-pytorch-cpu.svg"].endswith("10 s .857")
        assert shown["rnn-pytorch-cpu-machine-2.svg"].endswith("33 s .857")
        assert shown["rnn-mxnet-cpu-machine-3.svg"].endswith("failed: oom")


def test_columns_of_costs_and_gains_are_named_by_the_same_machines():
    tuned = four("pytorch", 5.0, **XEON, **LATER, variant="tuned", energy=100.0)
    rows = [*FIRST, *four("pytorch", 10.0, **XEON, **LATER, energy=300.0), *tuned]
    names = set(made(*rows, costs=Costs([COSTS["energy"]])))
    assert "rnn-pytorch-cpu-machine-2-tuned-gain.svg" in names
    assert "rnn-pytorch-cpu-machine-2-j-per-1-000.svg" in names
    assert not any(name.endswith(("-a.svg", "-b.svg")) or "-more" in name for name in names)
