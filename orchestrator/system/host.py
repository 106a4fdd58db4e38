"""What a machine has: its GPUs and their driver; and why a combination can't run on it."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import GpuError
from orchestrator.system.gpus import CUDA, KNOWN, Capability, Version, model_of, text, title_of, version_of

PRETENDED = ("GPU-pretended-", "MIG-pretended-")
"""How the UUIDs of pretended GPUs and slices begin, so that no real driver ever hands out a GPU for one."""


@dataclass(frozen=True)
class Device:
    """A GPU of a machine, or a slice of one, as its driver tells it; None is what it won't say.

    ``memory`` in bytes, ``power_limit`` in watts. With ``mig`` it is divided into slices, and nobody can have the whole
    of it. ``others`` counts processes that are on it.
    """

    name: str
    uuid: str
    memory: int | None = None
    power_limit: float | None = None
    mig: bool = False
    capability: Capability | None = None
    others: int | None = None

    @property
    def model(self) -> str:
        """The card's short name."""
        return model_of(self.name)


@dataclass(frozen=True)
class Host:
    """What a machine has: GPUs, and the driver's version, empty without one; then ``lacks`` may say why.

    One that is ``imagined`` has not even a pretended driver: cells are planned for it, and nothing is proved there.
    Several machines as one have ``nodes``, and a driver only by each of these.
    """

    devices: tuple[Device, ...] = ()
    driver: Version = ()
    lacks: str = ""
    imagined: bool = False
    nodes: tuple["Host", ...] = ()

    @property
    def pretended(self) -> bool:
        """Whether its GPUs are none: a test has made them up."""
        return any(device.uuid.startswith(PRETENDED) for device in self.devices)

    @property
    def models(self) -> tuple[str, ...]:
        """The models that a cell can have, each once, in the driver's order."""
        return tuple(dict.fromkeys(device.model for device in self.devices if not device.mig))

    def of_model(self, model: str) -> tuple[Device, ...]:
        """The GPUs of a model that a cell can have as a whole."""
        return tuple(device for device in self.devices if device.model == model and not device.mig)

    def capability_of(self, model: str) -> Capability | None:
        """The compute capability of a model, as its driver tells it or as it is known; None if neither does."""
        told = (device.capability for device in self.devices if device.model == model and device.capability)
        return next(told, KNOWN.get(model))


def pretended_host() -> Host | None:
    """The machine that ROSETTA_HOST names, to plan for GPUs that are not there; None if it is not set.

    The file is ``{"driver": "470.57", "gpus": [{"name": …, "uuid": "GPU-pretended-…", "capability": [7, 0]}, …]}``.
    Raises GpuError if it is anything else.
    """
    name = os.environ.get("ROSETTA_HOST")
    if not name:
        return None
    try:
        content = json.loads(Path(name).read_text(encoding="utf-8"))
        devices = tuple(Device(**{**gpu, "capability": capability_in(gpu)}) for gpu in content["gpus"])
        driver = version_of(content["driver"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise GpuError(
            f"ROSETTA_HOST: {name} describes no machine: {error!r}.", remedy="See docs/running.md."
        ) from None
    wrong = [device.uuid for device in devices if not device.uuid.startswith(PRETENDED)]
    if wrong or len({device.uuid for device in devices}) < len(devices):
        raise GpuError(
            f"ROSETTA_HOST: {name} names a GPU twice, or as if it were real.",
            remedy=f"The UUID of a pretended GPU begins with {PRETENDED[0]}.",
        )
    return Host(devices, driver, imagined=True)


def capability_in(gpu: dict[str, object]) -> Capability | None:
    """The capability of a pretended GPU, if its file gives one; raises ValueError or TypeError for what is none."""
    told = gpu.get("capability")
    if told is None:
        return None
    if not isinstance(told, list) or len(told) != 2 or not all(isinstance(part, int) for part in told):
        raise ValueError(f"no compute capability: {told!r}")
    return told[0], told[1]


def described(host: Host) -> list[str]:
    """What was found, a line for each model of GPU: "2 × Tesla V100-SXM2-16GB (v100), driver 470.57"."""
    if host.nodes:
        return [f"{number} × {line}" if number > 1 else line for line, number in counted_lines(host.nodes).items()]
    if not host.devices:
        return [f"no GPU: {host.lacks or 'no NVIDIA driver on this machine'}"]
    models = Counter((device.name, device.model) for device in host.devices if not device.mig)
    lines = [f"{count} × {name} ({model}), driver {text(host.driver)}" for (name, model), count in models.items()]
    busy = sum(bool(device.others) for device in host.devices)
    return lines + ([f"somebody else's processes are on {busy} of them"] if busy else [])


def counted_lines(nodes: Sequence[Host]) -> Counter[str]:
    """What several machines have, equal ones counted together."""
    return Counter(line for node in nodes for line in described(node))


def together(nodes: Sequence[Host]) -> Host:
    """Several machines as one; raises GpuError if some pretend their GPUs and others have real ones."""
    with_gpus = [node for node in nodes if node.devices]
    pretending = [node for node in with_gpus if node.pretended]
    if 0 < len(pretending) < len(with_gpus):
        raise GpuError(
            "Some nodes of the cluster pretend GPUs, others have real ones.", remedy="Unset ROSETTA_HOST on the nodes."
        )
    devices = tuple(device for node in nodes for device in node.devices)
    return Host(devices, imagined=any(node.imagined for node in nodes), nodes=tuple(nodes))


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
        return host.lacks or f"no NVIDIA driver{where}"
    there = len(host.of_model(gpu))
    if 0 < there < n_gpus:
        return f"{there} × {title_of(gpu)}{where}, {n_gpus} are needed"
    if not there:
        divided = any(device.model == gpu for device in host.devices)
        return f"no {title_of(gpu)}{where}" + (" that is not divided by MIG" if divided else "")
    oldest = CUDA[platform].oldest_driver
    if host.driver < oldest:
        return f"driver {text(host.driver)} is too old for {platform}, which needs {text(oldest)}"
    return None
