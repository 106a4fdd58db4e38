"""The machine that ROSETTA_HOST describes, to plan for absent GPUs; validated like a probe's answer."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from orchestrator.cell.strict import Strict
from orchestrator.engines.probe import Driver, Name, Pair, Uuid, Watts, Whole, first_of, pair
from orchestrator.errors import GpuError
from orchestrator.system import json_files
from orchestrator.system.gpus import version_of
from orchestrator.system.host import PRETENDED, Device, Host
from orchestrator.system.regular_files import read_regular, resolved

LARGEST = 2**20
"""Bytes of a file; a thousand GPUs take 100,000."""


class PretendedGpu(Strict):
    """A GPU, or a slice of the GPU ``parent``; with ``mig`` it is divided. Memory in bytes, power in watts."""

    name: Name
    uuid: Uuid
    memory: Whole | None = None
    power_limit: Watts | None = None
    mig: bool = False
    capability: Pair | None = None
    others: Annotated[int, Field(ge=0, le=10_000)] | None = None
    parent: Annotated[str, StringConstraints(max_length=130)] = ""

    def device(self) -> Device:
        """Return it as a device of a host."""
        return Device(**{**dict(self), "capability": pair(self.capability)})


class PretendedMachine(Strict):
    """The content of the file."""

    driver: Driver
    gpus: Annotated[list[PretendedGpu], Field(max_length=1024)]
    architecture: Literal["x86_64", "aarch64"] = "x86_64"


def pretended_host() -> Host | None:
    """Return the machine that ROSETTA_HOST names; None if it is not set.

    The file is ``{"driver": "470.57", "gpus": [{"name": …, "uuid": "GPU-pretended-…", "capability": [7, 0]}, …]}``,
    with ``"architecture": "aarch64"`` for another processor than x86_64.
    Raises GpuError if it is anything else.
    """
    name = os.environ.get("ROSETTA_HOST")
    if not name:
        return None
    remedy = "See docs/running.md."
    try:
        told = machine_in(read_regular(resolved(Path(name)), LARGEST + 1))
    except ValidationError as error:
        why = first_of(error, "the file")
        raise GpuError(f"ROSETTA_HOST: {name} describes no machine: {why}.", remedy=remedy) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise GpuError(f"ROSETTA_HOST: {name} describes no machine: {why}.", remedy=remedy) from None
    devices = tuple(gpu.device() for gpu in told.gpus)
    wrong = [device.uuid for device in devices if not device.uuid.startswith(PRETENDED)]
    if wrong:
        remedy = f"The UUID of a pretended GPU must begin with {PRETENDED[0]}, of a slice with {PRETENDED[1]}."
        raise GpuError(f"ROSETTA_HOST: {name} has {wrong[0]}, which may be the UUID of a real GPU.", remedy=remedy)
    if len({device.uuid for device in devices}) < len(devices):
        raise GpuError(f"ROSETTA_HOST: {name} has a UUID twice.", remedy="Give each GPU a UUID of its own.")
    if divided := next((device.uuid for device in devices if device.mig and device.is_slice), ""):
        what = f"ROSETTA_HOST: {name} says of {divided} that it is a slice, and divided itself."
        raise GpuError(what, remedy='Leave out its "mig": only whole GPUs are divided.')
    return Host(devices, version_of(told.driver), imagined=True, architecture=told.architecture)


def machine_in(raw: bytes) -> PretendedMachine:
    """Return the machine in a file; raises ValueError, and ValidationError, which is one."""
    if len(raw) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST / 2**20:.0f} MiB")
    raw = json_files.without_mark(raw)
    told = PretendedMachine.model_validate_json(raw, strict=True)
    json_files.refuse_twice(raw)
    return told
