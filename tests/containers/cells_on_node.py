"""Run on a node: cells of hostile code by an engine, one after the other. Prints a JSON list of how each ended.

Arguments: the engine, and an archive with the image ``rosetta/probe:node``, whose entry point runs the code in the
first argument. Standard input: a JSON list of [code, limits of the task].
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from orchestrator.cell.cell import Cell
from orchestrator.engines.choice import choose_engine
from orchestrator.engines.protocol import Task
from orchestrator.engines.sif_files import Sif

TAG = "rosetta/probe:node"


@dataclass(frozen=True)
class Probe:
    """An image by its tag, which is all that running a container needs."""

    tag: str = TAG


def prepare(engine, archive):
    """Bring the image to the engine, by its own means."""
    if engine.name == "podman":
        with open(archive, "rb") as file:
            list(engine.api.load_image(file))
        engine.use({TAG: engine.api.inspect_image(TAG)["Id"]})
    else:
        sif = Sif("sha256:probe", {}, "")
        sif.path.parent.mkdir(parents=True, exist_ok=True)
        packing = "--mksquashfs-args=-Xcompression-level 1"
        command = ["apptainer", "build", "--disable-cache", packing, str(sif.path), f"docker-archive:{archive}"]
        subprocess.run(command, check=True, capture_output=True)
        engine._sifs[TAG] = sif


def kill_from_outside(engine):
    """End the cell that runs, as somebody on the machine may: its container, or what made its namespaces."""
    if engine.name == "podman":
        (cell,) = engine.api.containers(filters={"label": "rosetta=cell"})
        engine.api.kill(cell["Id"])
    else:
        (process,) = engine._running
        os.kill(process, signal.SIGKILL)


def main(name, archive):
    """Run them all."""
    engine = choose_engine(name)
    prepare(engine, archive)
    ended = []
    for code, limits in json.load(sys.stdin):
        heard = []

        def listen(event, heard=heard):
            heard.append(str(event))
            if "kill me" in code:  # noqa: B023
                kill_from_outside(engine)
            if "stop me" in code:  # noqa: B023
                engine.stop()

        task = Task(Cell(code, "rnn", data="synthetic"), Probe(), "key", "run", claim="folder/key", **limits)
        outcome = engine.run(task, listen)
        ended.append(
            {
                "status": str(outcome.status),
                "reason": outcome.reason,
                "log": outcome.log[-4000:],
                "quality": outcome.document.quality if outcome.document else None,
                "limits": outcome.limits,
                "events": heard,
                "left": list(engine.cells()),
            }
        )
        engine.stopping = False
    print(json.dumps({"version": engine.version, "ended": ended}))


main(sys.argv[1], Path(sys.argv[2]))
