"""What this machine has of what a run needs, and the remedy for what it lacks."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from orchestrator.data import datasets
from orchestrator.data.catalogue import DATA_SETS
from orchestrator.engines.protocol import Engine
from orchestrator.errors import RosettaError
from orchestrator.images.architectures import Support
from orchestrator.images.image import every_image
from orchestrator.images.proxies import NAMES
from orchestrator.plan.verdicts import support
from orchestrator.system import file_locks
from orchestrator.system.addresses import printable
from orchestrator.system.certificates import ca_bundle
from orchestrator.system.gpus import CUDA, text
from orchestrator.system.host import Host, described
from orchestrator.system.terminal import plain

ROOM = 20 * 2**30
"""Bytes that the disk should have free: an image for GPUs takes 5 GB, and building it as much again."""


class State(StrEnum):
    """How a thing stands: there, not there but not needed by all, or lacking."""

    OK = "ok"
    NOTE = "note"
    LACKING = "lacking"


@dataclass(frozen=True)
class Finding:
    """What was found of one thing, and what to do about it."""

    about: str
    state: State
    said: str
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        """The form of ``rosetta doctor --json``."""
        return asdict(self)


Check = Callable[[Engine, Path], Iterator[Finding]]


def examine(engine: Engine, results: Path) -> Iterator[Finding]:
    """All findings, as they are made; text of an engine or a driver is made harmless."""
    for check in CHECKS:
        for found in check(engine, results):
            yield Finding(found.about, found.state, str(plain(found.said)), found.remedy)


def of_engine(engine: Engine, results: Path) -> Iterator[Finding]:
    """Which engine runs the cells."""
    if engine.name != "process":
        yield Finding("engine", State.OK, f"{engine.version}, on {engine.host}")
        return
    remedy = "Install and start Docker: without it cells are plain processes, and not isolated."
    yield Finding("engine", State.NOTE, "no container engine answers: cells run as processes", remedy)


def of_builds(engine: Engine, results: Path) -> Iterator[Finding]:
    """Docker's plugins: without buildx no image can be built, without compose only 'docker compose up' is lost."""
    if engine.name == "process":
        return
    for plugin, otherwise in (("buildx", State.LACKING), ("compose", State.NOTE)):
        if said := answer("docker", plugin, "version"):
            yield Finding("builds", State.OK, said)
        else:
            remedy = f"Install Docker's command with its {plugin} plugin."
            yield Finding("builds", otherwise, f"the command 'docker {plugin}' does not work here", remedy)


def answer(*command: str) -> str:
    """The first line that a command prints; nothing if it can't be run or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return next(iter(done.stdout.splitlines()), "") if done.returncode == 0 else ""


REMEDIES: Mapping[str, str] = {
    "Container Toolkit": "Install the NVIDIA Container Toolkit, run 'nvidia-ctk runtime configure', restart Docker.",
    "by UUID": "Name them so: 'nvidia-ctk cdi generate --device-name-strategy=uuid --output=/etc/cdi/nvidia.yaml'.",
    "CDI": "Make the device list: 'nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml'.",
    "driver": "Install NVIDIA's driver on the engine's machine, and see that 'nvidia-smi' works there.",
}
"""What to do where no GPU was found, by a word of the reason."""


def of_gpus(engine: Engine, results: Path) -> Iterator[Finding]:
    """Which GPUs there are, who is on them, and which platforms their driver runs."""
    host = engine.machine()
    if not host.devices and not host.nodes:
        remedy = next((text for word, text in REMEDIES.items() if word in host.lacks), REMEDIES["driver"])
        yield Finding("GPUs", State.NOTE, f"none: {host.lacks or 'no NVIDIA driver'}", f"For cells on GPUs: {remedy}")
        return
    for line in described(host):
        yield Finding("GPUs", State.OK, line)
    for machine in host.nodes or (host,):
        yield from of_driver(machine)


def of_driver(host: Host) -> Iterator[Finding]:
    """Which platforms a driver runs, and what the others need."""
    if not host.driver:
        return
    able = [name for name, toolkit in CUDA.items() if host.driver >= toolkit.oldest_driver]
    state = State.OK if able else State.LACKING
    yield Finding("driver", state, f"{text(host.driver)} runs {', '.join(able) or 'none of the platforms'}")
    for name, toolkit in CUDA.items():
        if name not in able:
            needed = text(toolkit.oldest_driver)
            yield Finding("driver", State.NOTE, f"too old for {name}", f"Update NVIDIA's driver to {needed} or newer.")


def of_images(engine: Engine, results: Path) -> Iterator[Finding]:
    """Which of the images for GPUs that are built have code for each card here."""
    images = [image for image in every_image() if image.platform != "cpu" and engine.machine_code(image)]
    host = engine.machine()
    for model in host.models if images else ():
        capability = host.capability_of(model)
        answers = [(image.name, support(image, engine, capability)) for image in images] if capability else []
        lacking = [(name, answer.reason) for name, answer in answers if answer.support is Support.MISSING]
        said = (
            f"{model}: {len(answers) - len(lacking)} of {len(answers)} images for GPUs that are built have code for it"
        )
        yield Finding("images", State.OK, said)
        for name, reason in lacking:
            yield Finding(
                "images", State.NOTE, f"{model}: {name} has {reason}", "'rosetta plan' lists what runs there."
            )


def of_disk(engine: Engine, results: Path) -> Iterator[Finding]:
    """Room for images where the engine keeps them, and whether results can be written."""
    folder = next(path for path in (results.absolute(), *results.absolute().parents) if path.is_dir())
    if not os.access(folder, os.W_OK):
        yield Finding("results", State.LACKING, f"{folder} can't be written", "Name another folder with --results.")
    images = engine.image_folder
    if images is None:
        yield Finding("disk", State.NOTE, f"the engine's disk is not this machine's; {room(folder)} for results")
        return
    remedy = f"Images for GPUs take several GB each: have {ROOM / 2**30:.0f} GiB free."
    enough = shutil.disk_usage(images).free >= ROOM
    said = f"{room(images)} for images, {room(folder)} for results"
    yield Finding("disk", State.OK if enough else State.NOTE, said, "" if enough else remedy)


def room(folder: Path) -> str:
    """What is free on the disk of a folder."""
    return f"{shutil.disk_usage(folder).free / 2**30:,.0f} GiB free at {folder}"


def of_network(engine: Engine, results: Path) -> Iterator[Finding]:
    """Proxies and authorities; never what logs in to them."""
    for name in NAMES:
        if value := os.environ.get(name):
            yield Finding("network", State.OK, f"{name} is {printable(value)}")
    try:
        bundle = ca_bundle()
        said = f"authorities from {bundle}" if isinstance(bundle, str) else "the usual authorities"
        yield Finding("network", State.OK, said)
    except RosettaError as error:
        yield Finding("network", State.LACKING, error.what, error.remedy)


def of_data(engine: Engine, results: Path) -> Iterator[Finding]:
    """Which data sets are fetched already; the others come with the first cell that needs them."""
    for name in DATA_SETS:
        there = datasets.folder(name).is_dir()
        remedy = "" if there else f"Before the first cell that needs it: 'rosetta data fetch {name}'."
        yield Finding("data", State.OK if there else State.NOTE, f"{name} {'is here' if there else 'not yet'}", remedy)


def of_locks(engine: Engine, results: Path) -> Iterator[Finding]:
    """Where GPUs are locked for all orchestrators of this machine."""
    try:
        yield Finding("locks", State.OK, str(file_locks.host_folder()))
    except OSError as error:
        remedy = "Let ROSETTA_LOCKS name a folder that all orchestrators of this machine can write to."
        yield Finding("locks", State.LACKING, f"GPUs can't be locked: {error}", remedy)


def of_parts(engine: Engine, results: Path) -> Iterator[Finding]:
    """Optional parts of this program."""
    for module, extra in (("altair", "report"), ("azure.storage.blob", "azure"), ("ray", "ray")):
        there = importlib.util.find_spec(module.partition(".")[0]) is not None
        remedy = "" if there else f"pip install 'rosetta-matrix[{extra}]'"
        yield Finding(
            "parts", State.OK if there else State.NOTE, f"{extra} {'is' if there else 'not'} installed", remedy
        )


CHECKS: tuple[Check, ...] = (of_engine, of_builds, of_gpus, of_images, of_disk, of_network, of_data, of_locks, of_parts)
