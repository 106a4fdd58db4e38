"""What a machine has: its GPUs and their driver; and why a combination can't run on it."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import GpuError
from orchestrator.system.gpus import GPUS, OLDEST_DRIVER, Version, gpu_of, text, version_of


@dataclass(frozen=True)
class Device:
    """A GPU of a machine as its driver tells it: ``memory`` in bytes, ``power_limit`` in watts, None if it won't say.

    With ``mig`` it is divided into parts, and nobody can have the whole of it.
    """

    name: str
    uuid: str
    memory: int | None = None
    power_limit: float | None = None
    mig: bool = False


@dataclass(frozen=True)
class Host:
    """What this machine has: GPUs, and the driver's version, empty without one; ``pretended`` if it has none of it.

    Several machines as one have ``nodes``, and a driver only by each of these.
    """

    devices: tuple[Device, ...] = ()
    driver: Version = ()
    pretended: bool = False
    nodes: tuple["Host", ...] = ()

    def of_model(self, model: str) -> tuple[Device, ...]:
        """The GPUs of a model that a cell can have as a whole."""
        return tuple(device for device in self.devices if gpu_of(device.name) == model and not device.mig)


PRETENDED = "GPU-pretended-"
"""How the UUIDs of pretended GPUs begin, so that no real driver ever hands out a GPU for one."""


def this_host() -> Host:
    """Ask the NVIDIA driver what is there; no driver is an empty answer, not an error.

    ROSETTA_HOST names a file with a machine to pretend, for tests: see docs/running.md. Raises GpuError if it is not
    as it must be, or if there are real GPUs.
    """
    path, real = os.environ.get("ROSETTA_HOST"), real_host()
    if not path:
        return real
    if real.devices:
        raise GpuError(
            "ROSETTA_HOST pretends GPUs, but this machine has real ones.",
            f"The driver names {real.devices[0].name}.",
            "Unset ROSETTA_HOST.",
        )
    return pretended_host(Path(path))


def real_host() -> Host:
    """What the NVIDIA driver says."""
    import pynvml

    try:
        pynvml.nvmlInit()
        driver = version_of(str(pynvml.nvmlSystemGetDriverVersion()))
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        return Host(tuple(device_of(handle) for handle in handles), driver)
    except pynvml.NVMLError:
        return Host()


def device_of(handle: Any) -> Device:
    """A GPU by NVML's handle; older cards know neither MIG nor a power limit."""
    import pynvml

    memory: int | None = None
    limit: float | None = None
    mig = False
    with suppress(pynvml.NVMLError):
        memory = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    with suppress(pynvml.NVMLError):
        limit = pynvml.nvmlDeviceGetEnforcedPowerLimit(handle) / 1000
    with suppress(pynvml.NVMLError):
        mig = pynvml.nvmlDeviceGetMigMode(handle)[0] == pynvml.NVML_DEVICE_MIG_ENABLE
    name, uuid = str(pynvml.nvmlDeviceGetName(handle)), str(pynvml.nvmlDeviceGetUUID(handle))
    return Device(name, uuid, memory, limit, mig)


def pretended_host(path: Path) -> Host:
    """The machine in a JSON file: ``{"driver": "470.57", "gpus": [{"name": …, "uuid": "GPU-pretended-…"}, …]}``."""
    try:
        content = json.loads(path.read_text())
        devices = tuple(Device(**gpu) for gpu in content["gpus"])
        driver = version_of(content["driver"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise GpuError(
            f"ROSETTA_HOST: {path} describes no machine: {error!r}.", remedy="See docs/running.md."
        ) from None
    wrong = [device.uuid for device in devices if not device.uuid.startswith(PRETENDED)]
    if wrong or len({device.uuid for device in devices}) < len(devices):
        raise GpuError(
            f"ROSETTA_HOST: {path} names a GPU twice, or as if it were real.",
            remedy=f"The UUID of a pretended GPU begins with {PRETENDED}.",
        )
    return Host(devices, driver, pretended=True)


def together(nodes: Sequence[Host]) -> Host:
    """Several machines as one; raises GpuError if some pretend their GPUs and others have real ones."""
    with_gpus = [node for node in nodes if node.devices]
    pretending = [node for node in with_gpus if node.pretended]
    if 0 < len(pretending) < len(with_gpus):
        raise GpuError(
            "Some nodes of the cluster pretend GPUs, others have real ones.", remedy="Unset ROSETTA_HOST on the nodes."
        )
    devices = tuple(device for node in nodes for device in node.devices)
    return Host(devices, pretended=bool(pretending), nodes=tuple(nodes))


def machine_reason(platform: str, gpu: str, host: Host, n_gpus: int = 1) -> str | None:
    """Why this machine can't run it, or None; of several, why none of them can."""
    if not host.nodes:
        return lack(platform, gpu, host, " on this machine", n_gpus)
    lacking = [lack(platform, gpu, node, "", n_gpus) for node in host.nodes]
    if None in lacking:
        return None
    counted = Counter(filter(None, lacking))
    return "no node can run it: " + "; ".join(f"{reason} ({count:,})" for reason, count in counted.items())


def lack(platform: str, gpu: str, host: Host, where: str, n_gpus: int) -> str | None:
    """What one machine lacks, or None; ``where`` is what a reason calls it."""
    if platform == "cpu":
        return None
    if not host.driver:
        return f"no NVIDIA driver{where}"
    there = len(host.of_model(gpu))
    if 0 < there < n_gpus:
        return f"{there} × {GPUS[gpu].title}{where}, {n_gpus} are needed"
    if not there:
        divided = any(gpu_of(device.name) == gpu for device in host.devices)
        return f"no {GPUS[gpu].title}{where}" + (" that is not divided by MIG" if divided else "")
    if host.driver < OLDEST_DRIVER[platform]:
        return f"driver {text(host.driver)} is too old for {platform}, which needs {text(OLDEST_DRIVER[platform])}"
    return None
