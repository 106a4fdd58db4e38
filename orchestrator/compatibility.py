"""Can this cell run, and if not, why: GPUs, drivers and CUDA versions as tables of facts.

Sources: NVIDIA's CUDA release notes (driver versions), CUDA GPUs page (compute capabilities) and the toolkits' own
lists of supported architectures.
"""

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.errors import GpuError

Version = tuple[int, ...]


@dataclass(frozen=True)
class Gpu:
    """A GPU model: the words that find it in a driver's name for it, and the CUDA versions with machine code for it."""

    title: str
    name_contains: str
    oldest_cuda: Version
    newest_cuda: Version | None
    precisions: tuple[str, ...]


FP32, FP16 = ("fp32",), ("fp32", "amp-fp16")
AMPERE = ("fp32", "tf32", "amp-fp16", "amp-bf16")

GPUS: Mapping[str, Gpu] = {
    "k80": Gpu("K80", "K80", (8, 0), (11, 8), FP32),
    "p100": Gpu("P100", "P100", (8, 0), (12, 99), FP16),
    "v100": Gpu("V100", "V100", (9, 0), (12, 99), FP16),
    "t4": Gpu("T4", "T4", (10, 0), None, FP16),
    "a100": Gpu("A100", "A100", (11, 0), None, AMPERE),
    "h100": Gpu("H100", "H100", (11, 8), None, AMPERE),
    "h200": Gpu("H200", "H200", (11, 8), None, AMPERE),
}

CUDA: Mapping[str, Version] = {"cuda8": (8, 0), "cuda9": (9, 0), "cuda12": (12, 0), "cuda13": (13, 0)}
"""The platforms with a GPU, by the CUDA version that their images carry (at least)."""

OLDEST_DRIVER: Mapping[str, Version] = {
    "cuda8": (375, 26),
    "cuda9": (384, 81),
    "cuda12": (525,),
    "cuda13": (580,),
}
"""The oldest Linux driver for each platform."""

PLATFORMS = ("cpu", *CUDA)
PRECISIONS = AMPERE


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


def version_of(text: str) -> Version:
    """A driver's version: "470.57.02" → (470, 57, 2)."""
    return tuple(int(part) for part in text.split("."))


def gpu_of(name: str) -> str:
    """The short name of a GPU from the driver's: "Tesla V100-SXM2-16GB" → "v100"; "other" if no table knows it."""
    return next((short for short, gpu in GPUS.items() if gpu.name_contains in name.upper()), "other")


def text(version: Version) -> str:
    """A version as people write it."""
    return ".".join(map(str, version))


def hardware_reason(platform: str, gpu: str, precision: str) -> str | None:
    """Why no machine at all could run this combination, or None."""
    if (platform == "cpu") != (gpu == "none"):
        return "the platform cpu has no GPU" if platform == "cpu" else f"{platform} needs a GPU"
    if platform == "cpu":
        return None if precision == "fp32" else f"{precision} is measured on GPUs only"
    card, cuda = GPUS[gpu], CUDA[platform]
    if cuda < card.oldest_cuda:
        return f"CUDA {text(cuda)} has no machine code for {card.title}, which needs {text(card.oldest_cuda)} or newer"
    if card.newest_cuda and cuda > card.newest_cuda:
        return f"CUDA {text(cuda)} has dropped {card.title}; {cuda_before(card.newest_cuda)} was the last for it"
    return None if precision in card.precisions else f"{card.title} has no {precision}"


def cuda_before(newest: Version) -> str:
    """What a person reads: 12.x for an open-ended last version, 11.8 for an exact one."""
    return f"{newest[0]}.x" if newest[1] == 99 else text(newest)


def host_reason(platform: str, gpu: str, host: Host, n_gpus: int = 1) -> str | None:
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
