"""Framework definitions → Dockerfile → bake file → image digests: what the rest of the program uses of them."""

from orchestrator.images.bakefile import bake, printed, workloads_digest
from orchestrator.images.building import build, explained, inspect
from orchestrator.images.definitions import Framework, chosen, frameworks, library_index
from orchestrator.images.image import Image, dockerfile, every_image, image_for, packages_of
from orchestrator.images.locks import lock
from orchestrator.images.sources import Sources

__all__ = [
    "Framework",
    "Image",
    "Sources",
    "bake",
    "build",
    "chosen",
    "dockerfile",
    "every_image",
    "explained",
    "frameworks",
    "image_for",
    "inspect",
    "library_index",
    "lock",
    "packages_of",
    "printed",
    "workloads_digest",
]
