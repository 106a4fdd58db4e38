"""GPU models, CUDA versions and drivers as facts.

A model is the driver's name for a card, made short. What runs on it follows from its compute capability, so no table
has to know a card before it can be used.

Sources: NVIDIA's CUDA release notes (driver versions), its page CUDA GPUs (compute capabilities), and the lists of
supported architectures in the toolkits' own release notes.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

Version = tuple[int, ...]
Capability = tuple[int, int]

KNOWN: Mapping[str, Capability] = {
    "k80": (3, 7),
    "p100": (6, 0),
    "v100": (7, 0),
    "t4": (7, 5),
    "a100": (8, 0),
    "h100": (9, 0),
    "h200": (9, 0),
}
"""Models that are planned for whether a machine has them or not, oldest first; any other card tells its own."""


class Toolkit(NamedTuple):
    """A CUDA version (at least), the oldest Linux driver for it, and what its own libraries have machine code for."""

    version: Version
    oldest_driver: Version
    architectures: tuple[str, ...]


CUDA: Mapping[str, Toolkit] = {
    "cuda8": Toolkit((8, 0), (375, 26), ("20", "30", "35", "37", "50", "52", "60", "61")),
    "cuda9": Toolkit((9, 0), (384, 81), ("30", "35", "37", "50", "52", "60", "61", "70")),
    "cuda11": Toolkit(
        (11, 0), (450, 80, 2), ("35", "37", "50", "52", "60", "61", "70", "75", "80", "86", "89", "90")
    ),  # of 11.8; before it nothing knows 89 and 90
    "cuda12": Toolkit((12, 0), (525,), ("50", "52", "60", "61", "70", "75", "80", "86", "89", "90", "100", "120")),
    "cuda13": Toolkit((13, 0), (580,), ("75", "80", "86", "89", "90", "100", "120")),
}
"""The platforms with a GPU."""

PLATFORMS = ("cpu", *CUDA)

PRECISIONS: Mapping[str, Capability] = {"fp32": (0, 0), "tf32": (8, 0), "amp-fp16": (6, 0), "amp-bf16": (8, 0)}
"""The oldest capability that computes in each precision."""

VENDOR = {"nvidia", "tesla", "geforce", "gpu", "generation", "edition", "pretended"}
FORM = re.compile(r"pcie|sxm\d*|nvl|hbm\w*|\d+gb", re.ASCII)
"""Parts of a name that tell makers, connectors and sizes of memory, not chips."""

LONGEST_MODEL = 40
NO_MODELS = ("none", "here")
"""Words that mean something else where a matrix file names a GPU."""


def model_of(name: str) -> str:
    """The short name of a card from the driver's: "Tesla V100-SXM2-16GB" → "v100".

    "NVIDIA GeForce RTX 4090" → "rtx-4090"; a slice of a divided card, "NVIDIA A100-SXM4-40GB MIG 3g.20gb", is a model
    of its own, "a100-3g-20gb". Consumer cards keep the size of their memory where it is part of the name: chips differ.
    """
    card, _, profile = name.lower().partition(" mig ")
    words = [word for word in re.split(r"[^a-z0-9.]+", card) if word and word not in VENDOR]
    if "geforce" not in card:
        words = [word for word in words if not FORM.fullmatch(word)] or words
    model = re.sub(r"[^a-z0-9]+", "-", "-".join([*words, profile])).strip("-")[:LONGEST_MODEL].strip("-")
    return "unnamed" if model in ("", *NO_MODELS) else model


def title_of(model: str) -> str:
    """A model as people write it: "v100" → "V100", "rtx-2080-ti" → "RTX 2080 Ti", "a100-3g-20gb" → "A100 3g.20gb"."""
    card, _, profile = re.sub(r"-(\d+g)-(\d+gb\S*)$", r"/\1.\2", model).partition("/")
    words = ["Ti" if word == "ti" else word.upper() if is_code(word) else word.capitalize() for word in card.split("-")]
    return " ".join(filter(None, [*words, profile]))


def is_code(word: str) -> bool:
    """Whether a word of a model is written in capitals: RTX, A10G, but Laptop."""
    return len(word) <= 3 or any(letter.isdigit() for letter in word)


def rank_of(model: str) -> int:
    """Where a model stands among others, oldest first; those that are not known come last."""
    return list(KNOWN).index(model) if model in KNOWN else len(KNOWN)


def version_of(text: str) -> Version:
    """A driver's version: "470.57.02" → (470, 57, 2)."""
    return tuple(int(part) for part in text.split("."))


def text(version: Version) -> str:
    """A version as people write it."""
    return ".".join(map(str, version))


def axes_reason(platform: str, gpu: str, precision: str) -> str | None:
    """Why no machine at all could run such a combination, or None."""
    if (platform == "cpu") != (gpu == "none"):
        return "the platform cpu has no GPU" if platform == "cpu" else f"{platform} needs a GPU"
    return f"{precision} is measured on GPUs only" if platform == "cpu" and precision != "fp32" else None


def precision_reason(model: str, capability: Capability, precision: str) -> str | None:
    """Why a card can't compute in a precision, or None."""
    return f"{title_of(model)} has no {precision}" if capability < PRECISIONS[precision] else None
