"""Find the GPUs of a machine: the harness asks NVIDIA's driver there, in a container or as a process.

The orchestrator may run in a container without a driver, or on another machine than its engine. So the engine is asked:
it runs an image that holds only the harness' code to read the driver, with all its GPUs.
"""

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

import docker
from docker.errors import APIError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from orchestrator.cell.strict import Strict, complaint
from orchestrator.engines.client import UNREACHABLE, Connection, explain
from orchestrator.engines.isolation import USER, gpu_request, isolation
from orchestrator.engines.scripts import printed
from orchestrator.errors import BuildError, EngineError
from orchestrator.images.building import build_probe
from orchestrator.system import library_folders
from orchestrator.system.gpus import Capability, version_of
from orchestrator.system.host import Device, Host, Unreadable
from orchestrator.system.terminal import one_line

MODULE = "harness.visible_gpus"
LARGEST_ANSWER = 2**20
"""Most bytes of an answer; a machine with eight divided cards sends 40,000."""

PATIENCE = 60.0
"""Timeout in seconds for the answer; a driver that is loaded for the first time takes some."""


Text = Annotated[str, StringConstraints(max_length=500), AfterValidator(one_line)]
Whole = Annotated[int, Field(ge=0, le=2**62)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(one_line)]


def like(pattern: str, example: str) -> AfterValidator:
    """Return a validator for text of a form; its error has an example, which people read better than the form."""
    form = re.compile(pattern, re.ASCII)

    def check(text: str) -> str:
        if not form.fullmatch(text):
            raise PydanticCustomError("form", "must look like {example}", {"example": example})
        return text

    return AfterValidator(check)


Driver = Annotated[str, like(r"[0-9]{1,5}(\.[0-9]{1,5}){0,3}", "580.65.06")]
Uuid = Annotated[str, like(r"(GPU|MIG)-[A-Za-z0-9/-]{1,120}", "GPU-8f1c… or MIG-8f1c…, with letters, digits, / and -")]
Watts = Annotated[float, Field(ge=0, le=1e6)]
Pair = Annotated[list[Annotated[int, Field(ge=0, le=99)]], Field(min_length=2, max_length=2)]
"""A compute capability: major, minor."""


class VisibleGpu(BaseModel):
    """What a plan needs of a GPU or slice in the probe's output; memory in bytes, power in watts."""

    model_config = ConfigDict(extra="ignore", frozen=True)  # clocks and temperatures hide no card

    name: Name
    uuid: Uuid
    capability: Pair | None
    memory: Whole | None
    power_limit: Watts | None
    mig: Literal["off", "divided", "slice"]
    processes: list[dict[str, Any]] | None
    parent: str | None = None
    index: Whole | None = None

    def device(self) -> Device:
        """Return it as a device of a host."""
        others = None if self.processes is None else len(self.processes)
        return Device(
            self.name,
            self.uuid,
            self.memory,
            self.power_limit,
            self.mig == "divided",
            pair(self.capability),
            others,
            self.parent or "",
            None if self.mig == "slice" else self.index,
        )


def pair(told: Sequence[int] | None) -> Capability | None:
    """Return a compute capability as a tuple; None if it is unknown."""
    return (told[0], told[1]) if told else None


class Reason(Strict):
    """A GPU that the driver could not read, and why."""

    index: Whole
    reason: Text


MOST_GPUS = 1024


class Visible(Strict):
    """The probe's output, its GPUs not yet validated."""

    driver: Driver | None
    cuda: Annotated[list[Whole], Field(min_length=2, max_length=2)] | None
    gpus: Annotated[list[Any], Field(max_length=MOST_GPUS)]
    unreadable: Annotated[list[Reason], Field(max_length=MOST_GPUS)] = []
    reason: Text = ""
    architecture: Text = ""


def host_in(said: bytes) -> Host:
    """Return the machine in a probe's output: a GPU with invalid data does not hide the others."""
    try:
        told = Visible.model_validate_json(said, strict=True)
    except ValidationError as error:
        return Host(lacks=f"the driver could not be asked: {first_of(error, 'its answer')}"[:300])
    if told.driver is None:
        return Host(lacks=told.reason, architecture=told.architecture)
    devices: dict[str, Device] = {}
    unreadable = [Unreadable(each.index, each.reason) for each in told.unreadable]
    for place, gpu in enumerate(told.gpus):
        number = index_of(gpu, place)
        try:
            device = VisibleGpu.model_validate(gpu, strict=True).device()
        except ValidationError as error:
            unreadable.append(Unreadable(number, first_of(error, "what it tells")))
            continue
        if device.uuid in devices:  # a lock stands for each
            unreadable.append(Unreadable(number, f"it has the UUID of another GPU, {device.uuid}"))
        devices.setdefault(device.uuid, device)
    driver, lost = version_of(told.driver), tuple(unreadable)
    return Host(tuple(devices.values()), driver, unreadable=lost, architecture=told.architecture)


def index_of(gpu: object, place: int) -> int:
    """The driver's number of a GPU, else its place in the answer, where slices come between."""
    told = gpu.get("index") if isinstance(gpu, dict) else None
    return told if isinstance(told, int) and not isinstance(told, bool) and 0 <= told < MOST_GPUS else place


def first_of(error: ValidationError, whole: str) -> str:
    """Return the first validation error as one line."""
    return one_line(complaint(error, whole)[:300])


def of_harness() -> Host:
    """Return the machine that this process runs on; needs the harness on the import path."""
    visible_gpus = importlib.import_module(MODULE)
    return host_in(json.dumps(visible_gpus.visible()).encode())


def of_this_process() -> Host:
    """Return the machine that this process runs on, probed by a subprocess."""
    variables = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    command = [sys.executable, "-B", "-m", MODULE]
    try:
        done = subprocess.run(
            command,
            cwd=library_folders.PROGRAM.workloads,
            env=variables,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Host(lacks=f"NVIDIA's driver did not answer in {PATIENCE:.0f} s")
    return host_in(done.stdout[:LARGEST_ANSWER])


REFUSALS = (
    (r"could not select device driver", "the engine can't hand out GPUs: the NVIDIA Container Toolkit is missing"),
    (r"unresolvable CDI devices .*=(GPU|MIG)-", "the engine's device list (CDI) does not name its GPUs by UUID"),
    (r"CDI device injection failed|unresolvable CDI", "the engine can't hand out GPUs: it has no CDI device for them"),
    (r"driver/library version mismatch", "NVIDIA's driver and its library differ: a version mismatch"),
    (r"driver not loaded", "NVIDIA's driver is installed but not loaded"),
    (r"insufficient permissions", "NVIDIA's driver refuses: insufficient permissions"),
    (r"unsatisfied condition: cuda", "NVIDIA's driver is too old for an image of this engine"),
    (r"nvml error|initialization error", "no working NVIDIA driver"),
)
"""Errors of engines that have no GPU to give, and what they mean; other errors are shown as they are."""


def of_engine(connection: Connection) -> tuple[Host, bool]:
    """Return an engine's machine, and whether its GPUs are named by CDI; the host's ``lacks`` says what is in the way.

    An engine with NVIDIA's hook or runtime takes GPU requests; one that has neither may know the GPUs by CDI.
    """
    try:
        image = build_probe(connection.variables)
        try:
            return host_in(said_by(connection.api, image, cdi=False)), False
        except APIError as error:
            with suppress(APIError):
                return by_device_list(connection.api, image), True
            return Host(lacks=refusal(explain(error))), False
    except (BuildError, EngineError) as error:
        return Host(lacks=f"the engine could not be asked for GPUs: {error.what}"), False
    except UNREACHABLE as error:
        return Host(lacks=f"the engine could not be asked for GPUs: {explain(error)}"), False


def by_device_list(api: docker.APIClient, image: str) -> Host:
    """Return the machine of a CDI engine; cells request GPUs by UUID, so the engine must know them by those names."""
    host = host_in(said_by(api, image, cdi=True))
    try:
        said_by(api, image, cdi=True, gpus=[device.uuid for device in host.devices])
    except APIError as error:
        return Host(lacks=refusal(explain(error)))
    return host


def refusal(said: str) -> str:
    """Return what is lacking, from an engine's refusal to hand out GPUs."""
    meant = (meaning for pattern, meaning in REFUSALS if re.search(pattern, said))
    return next(meant, one_line(f"the engine hands out no GPUs: {said.strip()[:200]}"))


def said_by(api: docker.APIClient, image: str, *, cdi: bool, gpus: Sequence[str] | None = None) -> bytes:
    """Return the probe's output from an isolated container with these GPUs, or all; raises what the SDK raises."""
    host = api.create_host_config(**isolation(2**28), **gpu_request(gpus, cdi))
    container = api.create_container(image, user=USER, host_config=host, labels={"rosetta": "probe"})["Id"]
    return printed(api, container, LARGEST_ANSWER)
