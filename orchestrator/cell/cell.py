"""One point of the matrix."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

OWN = "own"
"""The platform of cells that run in an installation that is not ours."""

TUNED = "tuned"
"""The variant that uses all that today's library offers: measured beside the reference, never against it."""

RESIZED_CROP = "resized-crop"
"""The variant of DenseNet-121 that trains on parts of images of any size and shape, as two notebooks of 2018 did."""

PROVED_BY_REFERENCE = ("pretrained", RESIZED_CROP)
"""Variants that differ from the reference in nothing that parity looks at: in their weights, or in what they train on.

The reference's proof stands for them.
"""


@dataclass(frozen=True)
class Cell:
    """One point of the matrix. ``epochs`` and ``samples`` are None for the published length.

    With ``parity`` it is not timed, but compared with the reference: a few steps from given weights. ``weights`` is the
    SHA-256 of a file of weights from which it starts instead of its own or the given ones.
    """

    library: str
    workload: str
    platform: str = "cpu"
    gpu: str = "none"
    n_gpus: int = 1
    precision: str = "fp32"
    variant: str = "reference"
    data: str = "real"
    repeat: int = 0
    epochs: int | None = None
    samples: int | None = None
    parity: bool = False
    weights: str = ""

    @property
    def id(self) -> str:
        """The short name, as typed: ``pytorch/rnn/cpu``, ``pytorch/rnn/cuda12/h200/amp-bf16``, ``…/cuda12/v100x4``."""
        many = f"x{self.n_gpus}" if self.n_gpus > 1 else ""
        device = (self.gpu if self.gpu != DEFAULTS["gpu"] else "") + many
        parts = [self.library, self.workload, self.platform, *filter(None, [device])]
        for axis in ("precision", "variant"):
            value = getattr(self, axis)
            if value != DEFAULTS[axis]:
                parts.append(value)
        return "/".join(parts)

    @property
    def address(self) -> str:
        """Every axis written out, so that a selector can name any of them."""
        return "/".join(str(getattr(self, axis)) for axis in AXES)


AXES = tuple(field.name for field in fields(Cell) if field.name not in ("epochs", "samples", "parity", "weights"))
"""The axes of the matrix, in the order of a cell's address."""

DEFAULTS: Mapping[str, Any] = {axis: vars(Cell)[axis] for axis in AXES if axis in vars(Cell)}
"""The default value of each axis."""


def proved_as(variant: str) -> str:
    """Return the variant whose comparison with the reference stands for one: its own, or that of the reference."""
    return str(DEFAULTS["variant"]) if variant in PROVED_BY_REFERENCE else variant
