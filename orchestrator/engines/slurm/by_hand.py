"""Write the batch script that a run would submit for a cell, in a fresh folder, to submit it by hand."""

import shlex
import time
import uuid
from dataclasses import replace
from pathlib import Path

from orchestrator.engines.by_hand import FOLDER
from orchestrator.engines.protocol import Engine, Task
from orchestrator.engines.slurm.engine import LONGEST, SCRIPT, SlurmEngine
from orchestrator.engines.slurm.folders import JobFolder, Order
from orchestrator.engines.slurm.script import script


def command(task: Task, engine: Engine, results: Path) -> str:
    """Write the script of a cell and the files it needs; returns the command to type."""
    assert isinstance(engine, SlurmEngine)
    run = uuid.uuid4().hex
    folder = JobFolder((results / FOLDER / f"{task.cell.id.replace('/', '-')}-{run[:8]}").absolute())
    folder.path.mkdir(parents=True)
    seconds = min(task.deadline, LONGEST)
    order = Order(run=run, key=task.key, claim="", cell=task.cell.id, deadline=seconds, submitted=time.time())
    folder.note(order)
    wanted = replace(engine.wanted(task, seconds), comment="")
    text = script(wanted, engine.site, folder.path, engine.way.inside(task, folder.path))
    (folder.path / SCRIPT).write_text(text, encoding="utf-8")
    return shlex.join(["sbatch", str(folder.path / SCRIPT)])
