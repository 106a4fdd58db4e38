"""Choose the engine that runs the cells."""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from orchestrator.engines.protocol import Engine, Task
from orchestrator.errors import EngineError
from orchestrator.system.extras import need
from orchestrator.system.terminal import Say, echo


def choose_engine(name: str | None, say: Say = lambda text: None, address: str | None = None) -> Engine:
    """Return the engine of this name; without a name Docker if it answers, else plain processes (``say`` tells why).

    ``address`` is that of a Ray cluster. Raises EngineError if the named engine can't be used, or if DOCKER_HOST,
    DOCKER_CONTEXT or a context of another machine names one that can't: this machine is no substitute for it.
    """
    if name == "ray":
        return ray_engine(address, say)
    if name is not None:
        return OF_THIS_HOST[name]()
    try:
        return docker_engine()
    except EngineError as error:
        if not is_this_machines():
            raise
        say(f"{error.what} Cells run as plain processes instead. {error.remedy}".rstrip())
        return process_engine()


def is_this_machines() -> bool:
    """Whether docker's command would use an engine of this machine, and no variable asks for a certain one."""
    from orchestrator.engines.client import engine_variables

    try:
        where = engine_variables()["DOCKER_HOST"]
    except EngineError:  # a context that can't be read may have meant any machine
        return False
    return where.startswith("unix://") and not (os.environ.get("DOCKER_HOST") or os.environ.get("DOCKER_CONTEXT"))


def docker_engine() -> Engine:
    """Docker. Like every engine, it is imported only when asked for, since it needs libraries of its own."""
    from orchestrator.engines.docker import DockerEngine

    return DockerEngine()


def podman_engine() -> Engine:
    """Podman, of this user or the one that CONTAINER_HOST names."""
    from orchestrator.engines.podman_service import needed_service

    service = needed_service()  # opens its socket while what follows is imported
    from orchestrator.engines.podman import PodmanEngine

    return PodmanEngine(service)


def apptainer_engine() -> Engine:
    """Apptainer, as this user."""
    from orchestrator.engines.apptainer import ApptainerEngine

    return ApptainerEngine()


def process_engine() -> Engine:
    """Plain processes."""
    from orchestrator.engines.process import ProcessEngine

    return ProcessEngine()


OF_THIS_HOST: Mapping[str, Callable[[], Engine]] = {
    "docker": docker_engine,
    "podman": podman_engine,
    "apptainer": apptainer_engine,
    "process": process_engine,
}
"""Engines that need no arguments; each raises EngineError if it can't be used."""


def ray_engine(address: str | None, say: Say) -> Engine:
    """The engine of a cluster; raises EngineError, or MissingPartError where Ray is not installed."""
    need("ray")
    from orchestrator.engines.ray import RayEngine

    return RayEngine(address, say)


def slurm_engine(name: str | None, results: Path, site: Path | None, say: Say) -> Engine:
    """Return the engine of the Slurm cluster whose login node this is; its jobs start cells as the named engine would.

    Raises EngineError without Slurm or for an engine that jobs can't use, MatrixError for an invalid site file.
    """
    from orchestrator.engines.slurm.engine import SlurmEngine
    from orchestrator.engines.slurm.inside import way
    from orchestrator.engines.slurm.site import read

    return SlurmEngine(way(name), read(site).slurm, results, say, agreed)


ByHand = Callable[[Task, Engine, Path], str]
"""Returns the command to type that runs a cell once; given also the engine that planned it, and the results folder."""


def by_docker() -> ByHand:
    """A ``docker run``."""
    from orchestrator.engines import by_hand

    return lambda task, engine, results: by_hand.command(
        task.cell, task.image.tag, results, task.data, tuple(task.gpus)
    )


def by_slurm() -> ByHand:
    """An ``sbatch``, whose script it writes."""
    from orchestrator.engines.slurm import by_hand

    return by_hand.command


BY_HAND: Mapping[str, Callable[[], ByHand]] = {"docker": by_docker, "slurm": by_slurm}
"""The forms of ``rosetta run --print``."""


def agreed(question: str) -> bool:
    """Ask the user to agree; True if there is no terminal to ask on, False if the terminal has gone."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()) or in_background():
        return True
    echo(f"{question} [Y/n]", err=True)  # a whole line: a redrawn table holds back partial lines
    try:
        answer = sys.stdin.readline()
    except OSError:
        return False
    return bool(answer) and not answer.strip().lower().startswith("n")


def in_background() -> bool:
    """Whether this process would be stopped, for ever perhaps, if it read from its terminal."""
    with suppress(OSError):  # the terminal is not the one that controls this process: nothing is stopped
        return os.tcgetpgrp(sys.stdin.fileno()) != os.getpgrp()
    return False
