"""Examine an image: from outside through the engine, and from inside by a small script in a container of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import docker
from docker.errors import ImageNotFound
from pydantic import Field, NonNegativeInt, StringConstraints, ValidationError

from orchestrator.cell.strict import Strict
from orchestrator.engines.scripts import run_script
from orchestrator.errors import BuildError
from orchestrator.images import cuda_sources
from orchestrator.images.image import Image
from orchestrator.system.checkout import origin

SCRIPT = Path(__file__).with_name("inventory.py")

NVIDIA = (
    "CUDA and cuDNN are NVIDIA's and come under its terms: https://docs.nvidia.com/cuda/eula and"
    " https://docs.nvidia.com/deeplearning/cudnn/latest/reference/eula.html"
)
ANACONDA = (
    "CUDA was taken from Anaconda's channels, under Anaconda's terms of service: organisations of more than 200 people"
    " need a licence, and passing it on may need another"
)
CUDA_WHEELS = ("-cu11", "-cu12", "-cu13")
"""Suffixes of NVIDIA's wheel names."""

Text = Annotated[str, StringConstraints(max_length=500)]


Sum = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Package(Strict):
    """Something that is installed: a package, ``python`` itself, or a library.

    ``bundled`` is a library that lies ``within`` a package, or is linked into it; ``file`` one that no package brought,
    ``within`` a folder. ``sha256`` is that of its file, or of a package's list of its files and their checksums.
    """

    kind: Literal["deb", "pypi", "cran", "python", "bundled", "file"]
    name: Text
    version: Text | None
    licence: Text | None
    sha256: Sum | None = None
    within: Text | None = None


class Inventory(Strict):
    """What the script found inside an image."""

    python: Text
    packages: Annotated[list[Package], Field(max_length=20_000)]
    sizes: Mapping[Text, NonNegativeInt] = Field(default_factory=dict)
    """Bytes of all files, by the kind of package that they belong to; ``nobody`` for the rest."""


@dataclass(frozen=True)
class Examined:
    """An image as it is here: ``size`` in bytes, ``layers`` as what made each and its bytes, first to last."""

    image: Image
    id: str
    size: int
    labels: Mapping[str, str]
    layers: Sequence[tuple[str, int]]
    inventory: Inventory

    def version_of(self, *names: str) -> str:
        """The version of the first of some Python packages, or nothing."""
        packages = [package for package in self.inventory.packages if package.kind == "pypi"]
        found = {package.name.lower(): package.version or "" for package in packages}
        return next((found[name] for name in names if name in found), "")


def examine(api: docker.APIClient, image: Image) -> Examined:
    """Look at an image; raises BuildError if it is not here."""
    try:
        found = api.inspect_image(image.tag)
    except ImageNotFound:
        raise BuildError(f"There is no image {image.tag}.", remedy="Build it: 'rosetta build'.") from None
    history = [(step_of(str(step["CreatedBy"])), int(step["Size"])) for step in reversed(api.history(found["Id"]))]
    return Examined(
        image,
        str(found["Id"]),
        int(found["Size"]),
        found["Config"]["Labels"] or {},
        [(step, size) for step, size in history if size],
        inventory_of(api, found["Id"]),
    )


def step_of(command: str) -> str:
    """Say in a few words what made a layer: never the whole command, which may name the builder's own paths."""
    words = command.split("/bin/sh -c", 1)[-1].split()
    return " ".join(words[:2]) if words[:1] == ["COPY"] else (" ".join(words[:1]) or "base image")


def inventory_of(api: docker.APIClient, image: str) -> Inventory:
    """Return what the script finds in an image; raises BuildError if its output is invalid."""
    said = run_script(api, image, SCRIPT)
    try:
        return Inventory.model_validate_json(said, strict=True)
    except ValidationError:
        raise BuildError(
            f"{image} did not report what is installed in it.", said[:300].decode(errors="replace")
        ) from None


def labels_of(found: Examined, commit: tuple[str, bool] | None) -> dict[str, str]:
    """Return the labels that the published image gets in addition to its own; empty values are left out."""
    image, stage = found.image, found.image.stage
    conda = dict(package.split("=", 1) for package in stage.packages) if stage else {}
    if "cudnn" not in image.spec.cuda:
        conda.pop("cudnn", None)  # the stage has it, but this image took none of it
    gpu = image.platform != "cpu"
    runtimes = [f"nvidia-cuda-runtime{suffix}" for suffix in ("", *CUDA_WHEELS)]
    cudnn = found.version_of(*(f"nvidia-cudnn{suffix}" for suffix in CUDA_WHEELS))
    labels = {
        "org.opencontainers.image.version": image.spec.version,
        "org.opencontainers.image.source": origin(),
        "org.opencontainers.image.revision": commit[0] + ("-changed" if commit[1] else "") if commit else "",
        "rosetta.python": found.inventory.python,
        "rosetta.cuda": gpu and (found.version_of(*runtimes) or conda.get("cudatoolkit") or image.platform[4:]),
        "rosetta.cudnn": gpu and (cudnn or conda.get("cudnn")),
        "rosetta.licence-notes": ". ".join(notes_of(found)),
    }
    return {name: str(value) for name, value in labels.items() if value}


def notes_of(found: Examined) -> list[str]:
    """Return notes on the terms that come with an image, apart from the licences of its packages."""
    from_anaconda = found.image.stage and found.labels.get(cuda_sources.LABEL) == "anaconda"
    return [NVIDIA] * (found.image.platform != "cpu") + [ANACONDA] * bool(from_anaconda)


def page_about(name: str, found: Examined, labels: Mapping[str, str]) -> str:
    """Return Markdown about an image: its labels, layers, files and packages."""
    lines = [f"# {name}", "", f"Image `{found.id}`, {found.size / 2**20:,.0f} MB.", "", "| label | |", "| --- | --- |"]
    lines += [f"| `{key}` | {escaped(value)} |" for key, value in sorted({**found.labels, **labels}.items())]
    lines += ["", "## Layers", "", "| made by | MB |", "| --- | ---: |"]
    lines += [f"| {escaped(step)} | {size / 2**20:,.1f} |" for step, size in found.layers]
    lines += ["", "## Files by origin", "", "| | MB |", "| --- | ---: |"]
    lines += [f"| {escaped(kind)} | {size / 2**20:,.1f} |" for kind, size in sorted(found.inventory.sizes.items())]
    lines += ["", "## Packages", "", "| | name | version | licence | within |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {' | '.join(escaped(text or '') for text in (p.kind, p.name, p.version, p.licence, p.within))} |"
        for p in found.inventory.packages
    ]
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Escape others' text for a Markdown table: no markup, no line breaks."""
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|" else letter for letter in " ".join(text.split()))
