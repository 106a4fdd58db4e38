"""Which GPUs a place has: asked of NVIDIA's driver there, by the harness, whether a container or a process runs it.

The orchestrator may sit in a container without a driver, or on another machine than its engine. So the engine is asked:
it runs an image with nothing in it but the harness' own reading of the driver, with all its GPUs.
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
from pydantic import AfterValidator, Field, StringConstraints, ValidationError, model_validator

from orchestrator.cell.strict import Strict
from orchestrator.engines.client import UNREACHABLE, Connection, explain
from orchestrator.engines.isolation import USER, gpu_request, isolation
from orchestrator.engines.scripts import printed
from orchestrator.errors import BuildError, EngineError
from orchestrator.images.building import build_probe
from orchestrator.system import library_folders
from orchestrator.system.gpus import version_of
from orchestrator.system.host import Device, Host
from orchestrator.system.terminal import plain

MODULE = "harness.visible_gpus"
LARGEST_ANSWER = 2**20
"""Bytes; a machine with eight divided cards says 40,000."""

PATIENCE = 60.0
"""Seconds for the answer; a driver that is loaded for the first time takes some."""


def one_line(text: str) -> str:
    """Text that neither steers a terminal nor begins a line of its own."""
    return str(plain(text)).replace("\n", " ").replace("\t", " ")


Text = Annotated[str, StringConstraints(max_length=500), AfterValidator(one_line)]
Whole = Annotated[int, Field(ge=0, le=2**62)]


class VisibleGpu(Strict):
    """A GPU or slice as the probe tells it; memory in bytes, power in watts."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(one_line)]
    uuid: Annotated[str, StringConstraints(pattern=r"^(GPU|MIG)-[A-Za-z0-9/-]{1,120}$")]
    capability: Annotated[list[Whole], Field(min_length=2, max_length=2)] | None
    memory: Whole | None
    power_limit: Annotated[float, Field(ge=0, le=1e6)] | None
    mig: Literal["off", "divided", "slice"]
    parent: Text | None
    memory_used: Whole | None
    processes: Annotated[list[dict[str, Any]], Field(max_length=10_000)] | None
    energy: float | None
    graphics_clock: Whole | None
    memory_clock: Whole | None
    temperature: Whole | None
    throttled: Annotated[list[Text], Field(max_length=16)] | None

    def device(self) -> Device:
        """The same, as far as a plan asks."""
        capability = (self.capability[0], self.capability[1]) if self.capability else None
        others = None if self.processes is None else len(self.processes)
        return Device(self.name, self.uuid, self.memory, self.power_limit, self.mig == "divided", capability, others)


class Visible(Strict):
    """What the probe prints."""

    driver: Annotated[str, StringConstraints(pattern=r"^\d{1,5}(\.\d{1,5}){0,3}$")] | None
    cuda: Annotated[list[Whole], Field(min_length=2, max_length=2)] | None
    gpus: Annotated[list[VisibleGpu], Field(max_length=1024)]
    reason: Text = ""

    @model_validator(mode="after")
    def _tell_apart(self) -> "Visible":
        """Refuse two GPUs of one UUID: a lock stands for each."""
        if len({gpu.uuid for gpu in self.gpus}) < len(self.gpus):
            raise ValueError("two GPUs have the same UUID")
        return self


def host_in(said: bytes) -> Host:
    """The machine that a probe has told of."""
    try:
        told = Visible.model_validate_json(said, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "its answer"
        return Host(lacks=one_line(f"the driver could not be asked: {place}: {first['msg']}"[:300]))
    if told.driver is None:
        return Host(lacks=told.reason)
    return Host(tuple(gpu.device() for gpu in told.gpus), version_of(told.driver))


def of_harness() -> Host:
    """The machine that this process runs on, where the harness can be imported."""
    visible_gpus = importlib.import_module(MODULE)
    return host_in(json.dumps(visible_gpus.visible()).encode())


def of_this_process() -> Host:
    """The machine that this process runs on."""
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
    (r"driver not loaded|driver/library version mismatch|nvml error|initialization error", "no working NVIDIA driver"),
)
"""What an engine says that has no GPU to give, and what it means; anything else is told as it is."""


def of_engine(connection: Connection) -> tuple[Host, bool]:
    """The machine behind an engine, and whether its GPUs go by CDI; the host's ``lacks`` says what is in the way.

    An engine with NVIDIA's hook or runtime takes requests for GPUs; one that has neither may know them by CDI.
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
    """The machine of an engine that knows its GPUs by CDI; a cell asks for them by UUID, so they need those names."""
    host = host_in(said_by(api, image, cdi=True))
    try:
        said_by(api, image, cdi=True, gpus=[device.uuid for device in host.devices])
    except APIError as error:
        return Host(lacks=refusal(explain(error)))
    return host


def refusal(said: str) -> str:
    """What is lacking where an engine refuses to hand out GPUs."""
    meant = (meaning for pattern, meaning in REFUSALS if re.search(pattern, said))
    return next(meant, one_line(f"the engine hands out no GPUs: {said.strip()[:200]}"))


def said_by(api: docker.APIClient, image: str, *, cdi: bool, gpus: Sequence[str] | None = None) -> bytes:
    """What the probe prints in a container with these GPUs, or all, and nothing else; raises what the SDK raises."""
    host = api.create_host_config(**isolation(2**28), **gpu_request(gpus, cdi))
    container = api.create_container(image, user=USER, host_config=host, labels={"rosetta": "probe"})["Id"]
    return printed(api, container, LARGEST_ANSWER)
