"""GPU models, CUDA versions and drivers as facts.

A model is the driver's name for a card, made short. What runs on it follows from its compute capability, so no table
has to know a card before it can be used.

Sources: NVIDIA's CUDA release notes (driver versions), its page CUDA GPUs (compute capabilities), and the lists of
supported architectures in the toolkits' own release notes.
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
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
"""Models that can be planned for without a machine that has them, oldest first; other cards report their own."""


class Toolkit(NamedTuple):
    """A CUDA version (at least), its oldest Linux driver, and the architectures its own libraries have code for."""

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
DIGITS = 6
"""How many hex digits of its full name's checksum distinguish a card whose short name can't say it all."""
NO_MODELS = ("none", "here")
"""Words that mean something else where a matrix file names a GPU."""
CAPABILITY = re.compile(r"-sm\d{2,4}$", re.ASCII)


@lru_cache(maxsize=4096)
def model_of(name: str) -> str:
    """The short name of a card from the driver's: "Tesla V100-SXM2-16GB" → "v100".

    "NVIDIA GeForce RTX 4090" → "rtx-4090"; a slice of a divided card, "NVIDIA A100-SXM4-40GB MIG 3g.20gb", is a model
    of its own, "a100-3g-20gb". Consumer cards keep the size of their memory where it is part of the name: chips differ.
    What a short name can't say in full ends, before a slice's profile, in digits of the whole's checksum, so that no
    two cards share one: letters other than a to z, too many of them, or a word that means something else here.
    """
    card, _, profile = without_signs(name.lower().replace("+", " plus ")).partition(" mig ")
    words = [word for word in re.split(r"[^a-z0-9.\x80-\U0010ffff]+", card) if word and word not in VENDOR]
    if "geforce" not in card:
        words = [word for word in words if not FORM.fullmatch(word)] or words
    told = "-".join(words), profile.strip()
    card, profile = (re.sub(r"[^a-z0-9]+", "-", part).strip("-") for part in told)
    plain = joined(card, profile)
    if plain in ("", *NO_MODELS):
        card = "unnamed"
        told = (" ".join(word for word in name.lower().split() if word not in VENDOR), "")
    elif CAPABILITY.search(plain):
        card, profile = plain, ""
    elif "".join(told).isascii():
        return shortened(card, profile)
    whole = joined(*told)
    return shortened(card or "unnamed", profile, checksum(whole)) if whole else card


def without_signs(name: str) -> str:
    """Return a name with a space in place of each sign that is no letter, no number, and none of ASCII's: ™, ®, ★."""
    return "".join(each if each.isascii() or unicodedata.category(each)[0] in "LMN" else " " for each in name)


def joined(card: str, profile: str) -> str:
    """Return the name of a card, or of its slice with this profile."""
    return "-".join(filter(None, (card, profile)))


def checksum(text: str) -> str:
    """Return the first digits of a text's SHA-256."""
    return sha256(text.encode(errors="backslashreplace")).hexdigest()[:DIGITS]


def shortened(card: str, profile: str, digits: str = "") -> str:
    """Join a card and its slice's profile, in at most ``LONGEST_MODEL`` characters; cutting makes no names equal.

    ``digits`` are put between them, and those of the whole's checksum if it has to be cut.
    """
    full = joined(card, profile)
    if not digits and len(full) <= LONGEST_MODEL:
        return full
    digits = digits or checksum(full)
    room = LONGEST_MODEL - len(digits) - 1
    if len(profile) >= room:  # no slice's is so long
        card, profile = full, ""
    kept = card[: room - len(profile) - bool(profile)].strip("-")
    return "-".join(filter(None, (kept, digits, profile)))


def exact(model: str, capability: Capability) -> str:
    """Return a model's name with its capability, to distinguish it from others of that name: "unnamed-sm90"."""
    return f"{model}-sm{capability[0]}{capability[1]}"


def is_named(model: str, name: str) -> bool:
    """Return whether a card with this driver's name is of a model, whose name may include its capability."""
    return model_of(name) in (model, CAPABILITY.sub("", model))


def title_of(model: str) -> str:
    """A model as people write it: "v100" → "V100", "rtx-2080-ti" → "RTX 2080 Ti", "a100-3g-20gb" → "A100 3g.20gb"."""
    card, _, profile = re.sub(r"-(\d+g)-(\d+gb\S*)$", r"/\1.\2", model).partition("/")
    words = ["Ti" if word == "ti" else word.upper() if is_code(word) else word.capitalize() for word in card.split("-")]
    return " ".join(filter(None, [*words, profile.replace("-plus-", "+")]))


def is_code(word: str) -> bool:
    """Return whether a word of a model is written in capitals: RTX, A10G, but not Laptop."""
    return len(word) <= 3 or any(letter.isdigit() for letter in word)


def rank_of(model: str) -> int:
    """Return a model's sort key, oldest first; unknown models come last."""
    return list(KNOWN).index(model) if model in KNOWN else len(KNOWN)


def version_of(text: str) -> Version:
    """A driver's version: "470.57.02" → (470, 57, 2)."""
    return tuple(int(part) for part in text.split("."))


def text(version: Version) -> str:
    """A version as people write it."""
    return ".".join(map(str, version))


def driver_text(version: Version) -> str:
    """A driver's version as NVIDIA writes it: the third part has two digits, 580.65.06."""
    return ".".join(f"{part:02d}" if place == 2 else str(part) for place, part in enumerate(version))


def axes_reason(platform: str, gpu: str, precision: str) -> str | None:
    """Return why no machine could run such a combination, or None."""
    if (platform == "cpu") != (gpu == "none"):
        return "the platform cpu has no GPU" if platform == "cpu" else f"{platform} needs a GPU"
    return f"{precision} is measured on GPUs only" if platform == "cpu" and precision != "fp32" else None


def precision_reason(model: str, capability: Capability, precision: str) -> str | None:
    """Return why a card can't compute in a precision, or None."""
    return f"{title_of(model)} has no {precision}" if capability < PRECISIONS[precision] else None
