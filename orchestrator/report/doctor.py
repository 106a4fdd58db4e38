"""Check this machine for what a run needs, with remedies for what it lacks."""

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from orchestrator.data import datasets
from orchestrator.data.catalogue import DATA_SETS
from orchestrator.engines.protocol import Engine
from orchestrator.errors import RosettaError
from orchestrator.images.architectures import Support
from orchestrator.images.image import Image, every_image
from orchestrator.images.proxies import NAMES
from orchestrator.plan.verdicts import support, support_of_cuda
from orchestrator.system import file_locks
from orchestrator.system.addresses import printable
from orchestrator.system.cache import cache_folder
from orchestrator.system.certificates import ca_bundle
from orchestrator.system.gpus import CUDA, Capability, driver_text
from orchestrator.system.host import BUILT_FOR, Found, Host, Kind, found_on
from orchestrator.system.terminal import plain

ROOM = 20 * 2**30
"""Bytes that the disk should have free: an image for GPUs takes 5 GB, and building it as much again."""


class State(StrEnum):
    """The state of a thing: there, not there but not needed by all, or lacking."""

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
    """Yield all findings as they are made; text of an engine or a driver is made harmless.

    An error that ends a check would end a run, too, so it is lacking; it is told once, however many checks it ends.
    """
    ended = set()
    for about, check in CHECKS.items():
        try:
            for found in check(engine, results):
                yield Finding(found.about, found.state, str(plain(found.said)), found.remedy)
        except RosettaError as error:
            if str(error) not in ended:
                yield of_error(about, error)
            ended.add(str(error))


def of_error(about: str, error: RosettaError) -> Finding:
    """Return an error that would end a run as what is lacking."""
    said = " ".join(filter(None, (error.what, error.why)))
    return Finding(about, State.LACKING, str(plain(said)), error.remedy)


def of_engine(engine: Engine, results: Path) -> Iterator[Finding]:
    """Which engine runs the cells."""
    said = f"{engine.version}, on {engine.host}"
    if engine.in_containers:
        yield Finding("engine", State.OK, said)
        return
    remedy = "For containers install and start Docker, or choose another engine: docs/podman.md, docs/apptainer.md."
    yield Finding("engine", State.NOTE, said, remedy)


def of_builds(engine: Engine, results: Path) -> Iterator[Finding]:
    """Docker's plugins: without buildx no image can be built, without compose only 'docker compose up' is lost."""
    if not engine.built_by_docker:
        return
    for plugin, otherwise in (("buildx", State.LACKING), ("compose", State.NOTE)):
        if said := answer("docker", plugin, "version"):
            yield Finding("builds", State.OK, said)
        else:
            remedy = f"Install Docker's command with its {plugin} plugin."
            yield Finding("builds", otherwise, f"the command 'docker {plugin}' does not work here", remedy)


PATIENCE = 30
"""Timeout in seconds for a command that prints its version, in case it waits for something."""


def answer(*command: str) -> str:
    """Return the first line that a command prints; empty if it can't be run or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=PATIENCE)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return next(iter(done.stdout.splitlines()), "") if done.returncode == 0 else ""


INSTALL = "Install NVIDIA's driver on the engine's machine, and make sure that 'nvidia-smi' works there."
REMEDIES: Sequence[tuple[str, str]] = (
    ("Container Toolkit", "Install the NVIDIA Container Toolkit, run 'nvidia-ctk runtime configure', restart Docker."),
    ("by UUID", "List them so: 'nvidia-ctk cdi generate --device-name-strategy=uuid --output=/etc/cdi/nvidia.yaml'."),
    ("CDI", "Make the device list: 'nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml'."),
    ("node of Ray has the label", "Start it with --labels ray.io/accelerator-type=MODEL: docs/clusters.md."),
    (
        "is lost",
        "It fell off the bus: see why with 'dmesg | grep Xid', restart the machine, and check power and seating.",
    ),
    ("Insufficient Permissions", "Let this user read and write /dev/nvidia*: 'ls -l /dev/nvidia*' shows who may."),
    ("version mismatch", "The driver was updated while it ran: restart the machine, or reload its kernel modules."),
    ("Not Loaded", "Load the driver's kernel module: 'modprobe nvidia'; if that fails, 'dmesg' says why."),
    (
        "Building the images failed",
        "The probe's image could not be built: run 'rosetta build' for the details.",
    ),
    ("could not be asked for GPUs", "Check that the engine answers: 'docker version'."),
    ("did not answer", "Check whether 'nvidia-smi' answers there; restart the machine if it hangs."),
    ("could not be asked", "Check what 'nvidia-smi -q' says there, and update the driver."),
    ("UUID", "Check 'nvidia-smi -L': each GPU needs a UUID of its own, which begins with GPU- or MIG-."),
    ("can't be read", "Check what 'nvidia-smi -q' says about it; 'dmesg | grep Xid' shows faults of cards."),
    ("it shows none", "Check whether 'lspci -d 10de:' lists a card, and whether it is passed through to this machine."),
    ("none of the", "See below what is wrong with each."),
    ("only a Podman of this machine", "Run the orchestrator where Podman and its GPUs are."),
    ("too old", "Update NVIDIA's driver on the engine's machine."),
    ("NVIDIA driver", INSTALL),
    ("no driver", INSTALL),
)
"""Remedies for GPUs, by words of a finding: the first that occur in it count."""

OTHERWISE = "Make sure that 'nvidia-smi' works on the engine's machine."
WAYS: Mapping[Kind, str] = {
    Kind.DIVIDED: "Make slices, or turn MIG off: 'nvidia-smi -i GPU -mig 0'.",
    Kind.BUSY: "Wait until they have ended: times are longer meanwhile.",
    Kind.BOARDS: "To compare them, run each on its own machine, into its own results folder.",
}
"""Remedies for GPUs that can be read."""


def of_gpus(engine: Engine, results: Path) -> Iterator[Finding]:
    """Which GPUs there are, who is on them, what is wrong with them, and which platforms their driver runs."""
    host = engine.machine()
    for found in found_on(host):
        if found.kind is Kind.CARDS:
            yield Finding("GPUs", State.OK, found.line)
        else:
            yield Finding("GPUs", State.NOTE, found.line, remedy_of(found))
    for machine in host.nodes or (host,):
        yield from of_driver(machine)


def remedy_of(found: Found) -> str:
    """Return the remedy for GPUs that are missing, or not as they should be."""
    remedy = WAYS.get(found.kind) or next(
        (text for word, text in REMEDIES if word.lower() in found.said.lower()), OTHERWISE
    )
    return f"For cells on GPUs: {remedy}" if found.kind is Kind.NONE else remedy


def of_driver(host: Host) -> Iterator[Finding]:
    """Which platforms a driver runs, and what it takes for the others that have code for a GPU of this machine."""
    if not host.driver:
        return
    if host.architecture not in ("", *BUILT_FOR):
        said = f"no cell can run on a GPU: images for them are built for {BUILT_FOR[0]}, this is {host.architecture}"
        yield Finding("driver", State.NOTE, said)
        return
    able = [name for name, toolkit in CUDA.items() if host.driver >= toolkit.oldest_driver]
    state = State.OK if able else State.NOTE
    yield Finding("driver", state, f"{driver_text(host.driver)} runs {', '.join(able) or 'none of the platforms'}")
    capabilities = [host.capability_of(model) for model in host.models]
    for name, toolkit in CUDA.items():
        if name not in able and any(is_supported(name, each) for each in capabilities):
            remedy = f"Update NVIDIA's driver to {driver_text(toolkit.oldest_driver)} or newer."
            yield Finding("driver", State.NOTE, f"too old for {name}", remedy)


def is_supported(platform: str, capability: Capability | None) -> bool:
    """Whether a platform may have code for a GPU: a newer driver is no help for an old one, and may not know it."""
    return capability is None or support_of_cuda(platform, capability).support is not Support.MISSING


def of_images(engine: Engine, results: Path) -> Iterator[Finding]:
    """Which of the built images for GPUs have code for each card here, and for which card none can have any."""
    every = [image for image in every_image() if image.platform != "cpu"]
    images = [image for image in every if engine.machine_code(image)]
    host = engine.machine()
    for model in host.models:
        capability = host.capability_of(model)
        if capability is not None and (reason := no_code(engine, every, capability)):
            remedy = "'rosetta plan --all' has the reason for each cell."
            yield Finding("images", State.NOTE, f"{model}: no image for GPUs has code for it: {reason}", remedy)
            continue
        if not images:
            continue
        if capability is None:
            said = f"{model}: its driver reports no compute capability, so no image is checked"
            yield Finding("images", State.NOTE, said)
            continue
        answers = [(image.name, support(image, engine, capability)) for image in images]
        lacking = [(name, answer.reason) for name, answer in answers if answer.support is Support.MISSING]
        said = f"{model}: {len(answers) - len(lacking)} of {len(answers)} built images for GPUs have code for it"
        yield Finding("images", State.OK, said)
        for name, reason in lacking:
            yield Finding(
                "images", State.NOTE, f"{model}: {name} has {reason}", "'rosetta plan' lists what runs there."
            )


def no_code(engine: Engine, images: Sequence[Image], capability: Capability) -> str:
    """Return why none of the images runs on a GPU, as the plan says of those for the newest CUDA; empty if one does."""
    answers = [(image.platform, support(image, engine, capability)) for image in images]
    if any(answer.support is not Support.MISSING for _, answer in answers):
        return ""
    reasons = {platform: answer.reason for platform, answer in answers}
    return next((reasons[platform] for platform in reversed(list(CUDA)) if platform in reasons), "there is none")


def of_disk(engine: Engine, results: Path) -> Iterator[Finding]:
    """Room for images where the engine keeps them, and whether results can be written."""
    folder = nearest(results)
    for about, place, remedy in (
        ("results", results, "Name another folder with --results."),
        ("cache", cache_folder(), "Set ROSETTA_CACHE to another folder."),
    ):
        there = nearest(place)
        if not (there.is_dir() and os.access(there, os.W_OK)):
            yield Finding(about, State.LACKING, f"{there} can't be written, or is not a folder", remedy)
    if not folder.is_dir():
        return
    images = engine.image_folder
    if images is None:
        yield Finding("disk", State.NOTE, f"the engine's disk is not this machine's; {room(folder)} for results")
        return
    remedy = f"Images for GPUs take several GB each: free {ROOM / 2**30:.0f} GiB."
    enough = shutil.disk_usage(images).free >= ROOM
    said = f"{room(images)} for images, {room(folder)} for results"
    yield Finding("disk", State.OK if enough else State.NOTE, said, "" if enough else remedy)


def nearest(place: Path) -> Path:
    """Return a folder if it exists, else the nearest existing one above it."""
    return next(path for path in (place.absolute(), *place.absolute().parents) if os.path.lexists(path))


def room(folder: Path) -> str:
    """Say how much is free on the disk of a folder."""
    return f"{shutil.disk_usage(folder).free / 2**30:,.0f} GiB free at {folder}"


def of_network(engine: Engine, results: Path) -> Iterator[Finding]:
    """Proxies and certificate authorities; never credentials."""
    for name in NAMES:
        if value := os.environ.get(name):
            yield Finding("network", State.OK, f"{name} is {printable(value)}")
    bundle = ca_bundle()
    said = f"certificate authorities from {bundle}" if isinstance(bundle, str) else "the usual certificate authorities"
    yield Finding("network", State.OK, said)


def of_data(engine: Engine, results: Path) -> Iterator[Finding]:
    """Which data sets are fetched already; the others come with the first cell that needs them."""
    for name in DATA_SETS:
        there = datasets.folder(name).is_dir()
        remedy = "" if there else f"Fetch it before the first cell that needs it: 'rosetta data fetch {name}'."
        yield Finding(
            "data", State.OK if there else State.NOTE, f"{name} {'is here' if there else 'is not here yet'}", remedy
        )


def of_locks(engine: Engine, results: Path) -> Iterator[Finding]:
    """The folder in which GPUs are locked for all orchestrators of this machine."""
    yield Finding("locks", State.OK, str(file_locks.host_folder()))


def of_parts(engine: Engine, results: Path) -> Iterator[Finding]:
    """Optional parts of this program."""
    for module, extra in (("altair", "report"), ("azure.storage.blob", "azure"), ("ray", "ray")):
        there = importlib.util.find_spec(module.partition(".")[0]) is not None
        remedy = "" if there else f"pip install 'rosetta-matrix[{extra}]'"
        yield Finding(
            "parts", State.OK if there else State.NOTE, f"{extra} {'is' if there else 'is not'} installed", remedy
        )


CHECKS: Mapping[str, Check] = {
    "engine": of_engine,
    "builds": of_builds,
    "GPUs": of_gpus,
    "images": of_images,
    "disk": of_disk,
    "network": of_network,
    "data": of_data,
    "locks": of_locks,
    "parts": of_parts,
}
"""The checks, by what they are about."""
