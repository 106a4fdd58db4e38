"""Run on a node: cells of hostile code by an engine, one after the other. Prints how each ended, as JSON.

Arguments: the engine, and an archive with the image ``rosetta/probe:node``, whose entry point runs the code in the
first argument. Standard input: a JSON list of [code, limits of the task]. A comment in the code says what is done to
its cell, see ``DEEDS``; one with "with data" finds a data set.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from orchestrator.cell.cell import Cell
from orchestrator.data import catalogue
from orchestrator.data.catalogue import DataSet
from orchestrator.data.files import Content, File, checksum
from orchestrator.engines.choice import choose_engine
from orchestrator.engines.docker import CLAIM
from orchestrator.engines.protocol import Task
from orchestrator.engines.sif_files import Sif

TAG, GONE = "rosetta/probe:node", "rosetta/probe:gone"
OWN, OTHER = "folder/key", "folder/other"
ODD = Path("/scratch/odd, place: here")
DATA = ODD / "reviews"


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
        sif = Sif("sha256:probe", {}, "", 0)
        sif.path.parent.mkdir(parents=True, exist_ok=True)
        packing = "--mksquashfs-args=-Xcompression-level 1"
        command = ["apptainer", "build", "--disable-cache", packing, str(sif.path), f"docker-archive:{archive}"]
        subprocess.run(command, check=True, capture_output=True)
        engine._sifs |= {TAG: sif, GONE: Sif("sha256:gone", {}, "", 0)}


def make_data():
    """A data set of one file, declared like a real one."""
    DATA.mkdir(exist_ok=True)
    (DATA / "words").write_text("read me")
    file = File("words", (Content(checksum(DATA / "words"), 7),))
    catalogue.DATA_SETS[DATA.name] = DataSet(DATA.name, "none", (file,))


def kill_from_outside(engine):
    """End the cell that runs, as somebody on the machine may: its container, or what made its namespaces."""
    if engine.name == "podman":
        (cell,) = engine.api.containers(filters={"label": "rosetta=cell"})
        engine.api.kill(cell["Id"])
    else:
        (process,) = engine._running
        os.kill(process, signal.SIGKILL)


def take_results(engine):
    """End the container that keeps what the cell leaves; Apptainer has none."""
    for keeper in engine.api.containers(filters={"label": "rosetta=keeper"}) if engine.name == "podman" else ():
        engine.api.kill(keeper["Id"])


DEEDS = {"# kill me": kill_from_outside, "# stop me": lambda engine: engine.stop(), "# take mine": take_results}
"""What is done to a cell at its first event, by the comment in its code."""


@contextmanager
def stopped_at_its_start(engine):
    """The run is stopped while the cell is being started."""
    place, name = (engine.api, "start") if engine.name == "podman" else (engine, "_started")
    start = getattr(place, name)

    def start_and_stop(*words):
        stop = threading.Thread(target=engine.stop)  # which may wait for the start
        stop.start()
        stop.join(1)
        return start(*words)

    setattr(place, name, start_and_stop)
    try:
        yield
    finally:
        setattr(place, name, start)


def leave_behind(engine):
    """What dead orchestrators left: a cell of this claim, and one of another."""
    for claim in (OWN, OTHER):
        if engine.name == "podman":
            engine.api.create_container(TAG, ["-"], labels={CLAIM: claim})
        else:
            subprocess.Popen(["sleep", "600"], env={"ROSETTA_CLAIM": claim, "PATH": os.environ["PATH"]})
            while claim not in engine.cells().values():  # a process has no environment yet while it is being started
                time.sleep(0.01)
    return sorted(engine.cells().values())


def owners_of(code):
    """The users, as this machine counts them, whose processes were started with this code."""
    owners = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if code.encode() in (folder / "cmdline").read_bytes():
                owners.add(folder.stat().st_uid)
    return sorted(owners)


def end_of(engine, code, limits):
    """Run a cell; how it ended, and what was seen meanwhile."""
    heard, owners = [], set()

    def listen(event):
        heard.append(str(event))
        owners.update(owners_of(code))
        for comment, deed in DEEDS.items():
            if comment in code:
                deed(engine)

    image = Probe(GONE if "# no image" in code else TAG)
    task = Task(Cell(code, "rnn", data="synthetic"), image, "key", "run", claim=OWN, **limits)
    task = replace(task, data=DATA) if "# with data" in code else task
    before = leave_behind(engine) if "# left behind" in code else []
    if "# stop at my start" in code:
        with stopped_at_its_start(engine):
            outcome = engine.run(task, listen)
    else:
        outcome = engine.run(task, listen)
    left = dict(engine.cells())
    for handle in left:
        engine.remove(handle)
    engine.stopping = False
    return {
        "status": str(outcome.status),
        "reason": outcome.reason,
        "log": outcome.log[-4000:],
        "logged": len(outcome.log),
        "quality": outcome.document.quality if outcome.document else None,
        "limits": outcome.limits,
        "events": heard,
        "owners": sorted(owners),
        "before": before,
        "left": sorted(left.values()),
        "processes": owners_of(code),
    }


def main(name, archive):
    """Run them all, with folders of which engines could split the paths."""
    ODD.mkdir(exist_ok=True)
    os.environ["TMPDIR"] = str(ODD)
    engine = choose_engine(name)
    prepare(engine, archive)
    make_data()
    ended = [end_of(engine, code, limits) for code, limits in json.load(sys.stdin)]
    print(json.dumps({"version": engine.version, "ended": ended}))


main(sys.argv[1], Path(sys.argv[2]))
