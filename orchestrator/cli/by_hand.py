"""What 'rosetta run --print' prints: cells as commands to type."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orchestrator.cli.options import Selection
from orchestrator.errors import SelectionError
from orchestrator.system.terminal import echo

if TYPE_CHECKING:
    from orchestrator.cell.cell import Cell
    from orchestrator.engines.protocol import Engine
    from orchestrator.system.host import Host


def print_commands(
    cells: "Sequence[Cell]", host: "Host", engine: "Engine", selection: Selection, deadline: float, form: str
) -> None:
    """Print how to run by hand each cell that can run here; raises SelectionError if there is none."""
    from orchestrator.cell.parameters import dataset_of
    from orchestrator.data import datasets
    from orchestrator.engines.choice import BY_HAND
    from orchestrator.engines.protocol import Task
    from orchestrator.plan.verdicts import Verdict, plan_cells

    planned = plan_cells(cells, engine, selection.results, host, selection.unverified)
    possible = [(p.cell, p.image, p.key) for p in planned if p.image and p.verdict is not Verdict.INCOMPATIBLE]
    if not possible:
        what = "No selected cell can run here."
        raise SelectionError(what, remedy="Run 'rosetta plan' to see why.")
    command = BY_HAND[form]()
    for cell, image, key in possible:
        name = dataset_of(cell)
        gpus = tuple(device.uuid for device in host.alike(cell.gpu, cell.n_gpus)) if cell.gpu != "none" else ()
        data = datasets.folder(name) if name else None
        task = Task(cell, image, key, run="", gpus=gpus, data=data, deadline=deadline)
        echo(command(task, engine, selection.results))
