"""Images → the file that ``docker buildx bake`` builds them from."""

import json
import re
from collections.abc import Sequence
from typing import Any

from orchestrator.images.image import Image, digest, dockerfile
from orchestrator.images.sources import APT_MIRROR, Sources
from orchestrator.system.checkout import ROOT

WORKLOADS = ROOT / "workloads"


def bake(images: Sequence[Image], sources: Sources | None = None) -> dict[str, Any]:
    """What ``docker buildx bake -f -`` takes as JSON: a target per image, the group "default" with all of them."""
    sources = sources or Sources.from_environment()
    workloads = workloads_digest()
    return {
        "group": {"default": {"targets": [image.name for image in images]}},
        "target": {image.name: target(image, sources, workloads) for image in images},
    }


def target(image: Image, sources: Sources, workloads: str) -> dict[str, Any]:
    """The target of one image."""
    secrets = [f"id={name},src={path}" for name, path in (("ca", sources.ca), ("pip_conf", sources.pip_conf)) if path]
    if sources.apt_mirror:
        secrets.append(f"id=apt_mirror,env={APT_MIRROR}")
    return {
        "context": str(ROOT),
        "contexts": sources.contexts(image),
        "dockerfile-inline": dockerfile(image),
        "args": {**sources.pip_variables(image), **dict(sources.proxies)},
        "secret": secrets,
        "labels": {"rosetta.recipe": image.recipe, "rosetta.workloads": workloads},
        "tags": [image.tag],
        "platforms": ["linux/amd64"],
        "output": ["type=docker"],
    }


def printed(images: Sequence[Image]) -> str:
    """Dockerfiles and bake file as text; credentials of proxies are left out."""
    parts = [f"# ----- {image.name}.Dockerfile\n{dockerfile(image)}" for image in images]
    file = re.sub(r"//[^/@\"]+@", "//***@", json.dumps(bake(images), indent=2))
    return "\n".join([*parts, f"# ----- bake.json, for: docker buildx bake --file bake.json\n{file}"])


def workloads_digest() -> str:
    """Content hash of all that is copied into the last layer."""
    files = {path.relative_to(WORKLOADS): path for path in sorted(WORKLOADS.rglob("*")) if path.is_file()}
    content = [
        (name.as_posix(), digest(path.read_bytes()))
        for name, path in files.items()
        if not any(part == "__pycache__" or part.startswith(".") for part in name.parts)
    ]
    return digest(json.dumps(content).encode())
