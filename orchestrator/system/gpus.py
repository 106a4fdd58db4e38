"""GPU models, CUDA versions and drivers as tables of facts, and which of them go together.

Sources: NVIDIA's CUDA release notes (driver versions), CUDA GPUs page (compute capabilities) and the toolkits' own
lists of supported architectures.
"""

from collections.abc import Mapping
from dataclasses import dataclass

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
