"""Make the bake file from which ``docker buildx bake`` builds images."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from orchestrator.images import proxies
from orchestrator.images.bases import LABEL, Base, bases_of, described
from orchestrator.images.image import EPOCH, Image, digest, dockerfile, workloads_step
from orchestrator.images.sources import APT_MIRROR, Sources
from orchestrator.system import library_folders
from orchestrator.system.addresses import without_secrets

WITHOUT_HIDDEN = r"find . -mindepth 1 \( -name '.*' -o -name __pycache__ \) -prune -exec rm -r {} +"
"""Removes what ``files_in`` leaves out, from the user's own scripts; for the program's, .dockerignore does."""


def bake(
    images: Sequence[Image], sources: Sources | None = None, bases: Mapping[str, Base] = MappingProxyType({})
) -> dict[str, Any]:
    """Return the input of ``docker buildx bake -f -``: a target per image, and the group "default" of all of them.

    ``bases`` maps names of bases to what the engine has of them.
    """
    sources = sources or Sources.from_environment()
    return {
        "group": {"default": {"targets": [image.name for image in images]}},
        "target": {image.name: target(image, sources, bases) for image in images},
    }


def target(image: Image, sources: Sources, bases: Mapping[str, Base]) -> dict[str, Any]:
    """The target of one image."""
    secrets = [f"id={name},src={path}" for name, path in (("ca", sources.ca), ("pip_conf", sources.pip_conf)) if path]
    if sources.apt_mirror:
        secrets.append(f"id=apt_mirror,env={APT_MIRROR}")
    if sources.proxies.are_secret:
        secrets.append(f"id={proxies.SECRET},env={proxies.VARIABLE}")
    own = own_workloads(image)
    steps = [workloads_step(f"from={name}", f"{WITHOUT_HIDDEN} && ") for name in own]
    text = proxies.with_secret(dockerfile(image)) if sources.proxies.are_secret else dockerfile(image)
    locks = {"locks": str(image.framework.folder.locks)} if image.framework.is_own else {}
    return {
        "context": str(library_folders.PROGRAM.path),
        "contexts": {**sources.contexts(image, bases), **locks, **own},
        "dockerfile-inline": "".join([text, *steps]),
        "args": {
            "SOURCE_DATE_EPOCH": str(EPOCH),
            **sources.pip_variables(image),
            **sources.cuda_variables(image),
            **sources.proxies.arguments,
        },
        "secret": secrets,
        "labels": {
            "rosetta.recipe": image.recipe,
            "rosetta.workloads": workloads_digest(image),
            LABEL: described(bases_of(image), bases),
            **sources.cuda_labels(image),
        },
        "tags": [image.tag],
        "platforms": ["linux/amd64"],
        "output": ["type=docker"],
    }


def printed(images: Sequence[Image]) -> str:
    """Dockerfiles and bake file as text; credentials of proxies are left out."""
    parts = [f"# ----- {image.name}.Dockerfile\n{dockerfile(image)}" for image in images]
    file = without_secrets(json.dumps(bake(images), indent=2))
    return "\n".join([*parts, f"# ----- bake.json, for: docker buildx bake --file bake.json\n{file}"])


def own_workloads(image: Image) -> dict[str, str]:
    """Return the build contexts by name of the user's own scripts, which are added to the program's."""
    return {f"workloads{number}": str(folder.workloads) for number, folder in enumerate(image.workload_folders[1:], 1)}


def workloads_digest(image: Image) -> str:
    """Return a content hash of everything that is copied into the last layers."""
    content = [
        (name.as_posix(), digest(path.read_bytes()))
        for folder in image.workload_folders
        for name, path in files_in(folder.workloads)
    ]
    return digest(json.dumps(content).encode())


def files_in(workloads: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the relative names of a workloads folder's files, with the files, without caches and hidden ones."""
    for path in sorted(workloads.rglob("*")):
        name = path.relative_to(workloads)
        if path.is_file() and not any(part == "__pycache__" or part.startswith(".") for part in name.parts):
            yield name, path
