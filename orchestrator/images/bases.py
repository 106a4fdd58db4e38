"""Base images: those an image is built on, their locked digests, and their local stand-ins."""

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from orchestrator.errors import BuildError
from orchestrator.images import definitions
from orchestrator.images.cuda_sources import SourceName
from orchestrator.images.definitions import Framework
from orchestrator.images.image import Image
from orchestrator.images.pins import FILE, digests, pinned, read_digests
from orchestrator.system import library_folders
from orchestrator.system.library_folders import LibraryFolder
from orchestrator.system.text_files import write_text

LABEL = "rosetta.base"
"""The label of an image that says what it was built on."""

SOURCE = "ROSETTA_CUDA_SOURCE"
"""The variable that names the source of CUDA: see images/cuda.yaml."""

PYTHON = "python:3.11-slim-bookworm"
"""The base of the orchestrator's own image and of the probe for GPUs."""

ORCHESTRATOR = Path("orchestrator", "Dockerfile")
ARGUMENT = re.compile(r"(?m)^ARG ROSETTA_BASE=.+$")

HEAD = """\
# The digests of the base images, by 'rosetta lock --bases', which asks their registry. A base without a line is taken
# by its tag, whatever that is on the day of the build.
"""


@dataclass(frozen=True)
class Base:
    """A base image as a build on this machine takes it.

    ``digest`` is that of a registry, or empty; ``stand_in`` is the id of a local image that no registry has and that
    has the tag, as where a base was imported by hand, or empty.
    """

    name: str
    digest: str = ""
    stand_in: str = ""

    def __str__(self) -> str:
        if self.stand_in:
            return f"{self.name} (stand-in {self.stand_in})"
        return f"{self.name}@{self.digest}" if self.digest else self.name


def bases_of(image: Image, cuda: bool = True) -> list[str]:
    """Return the tags of the images that an image is built from; ``cuda`` says whether CUDA's stage is built.

    For CUDA, the base of the source that the user has chosen counts.
    """
    every = [image.spec.base, *(copy.image for copy in image.spec.copies)]
    if image.stage and cuda:
        chosen = next(
            (name for name in get_args(SourceName) if name == os.environ.get(SOURCE)), definitions.cuda().default
        )
        every.append(definitions.cuda().sources[chosen].base)
    return list(dict.fromkeys(every))


def base_here(name: str, found: Mapping[str, Any] | None, mirrored: bool = False) -> Base:
    """Return the base that a build uses, given what the engine has ``found`` under its tag; ignored if ``mirrored``."""
    locked = digests().get(name, "")
    if found is None or mirrored or "@" in name:
        return Base(name, locked)
    repository = repository_of(name)
    known = [str(text).partition("@") for text in found.get("RepoDigests") or ()]
    theirs = [digest for where, _, digest in known if repository_of(where) == repository]
    if not theirs:
        return Base(name, stand_in=str(found["Id"]))
    return Base(name, locked or theirs[0])


def described(names: Iterable[str], bases: Mapping[str, Base], built: str = "") -> str:
    """Return the bases of an image as its label and its rows record them.

    For a base that is neither locked nor here, the label of an image ``built`` on it is used.
    """
    before = {re.split(r"[@ ]", text)[0]: text for text in built.split(", ")}
    every = ((name, bases.get(name) or Base(name, digests().get(name, ""))) for name in names)
    return ", ".join(before.get(name, name) if str(base) == name else str(base) for name, base in every)


def unlocked(text: str) -> list[str]:
    """Return the bases in a description that have no digest."""
    return [base for base in text.split(", ") if base and "@sha256:" not in base]


def repository_of(name: str) -> str:
    """Return an image's repository without tag and digest, for Docker Hub also without host: ``ghcr.io/me/base``."""
    short = re.sub(r"^(docker\.io/)?(library/)?", "", name.partition("@")[0])
    head, slash, tail = short.rpartition("/")
    return f"{head}{slash}{tail.partition(':')[0]}"


# --- The lock -------------------------------------------------------------------------------------------------------
def wanted_bases(frameworks: Sequence[Framework]) -> dict[LibraryFolder, list[str]]:
    """Return the bases to lock, by the folder that locks them; own folders lock only what the program does not."""
    program = library_folders.PROGRAM
    wanted: dict[LibraryFolder, set[str]] = {}
    for framework in frameworks:
        for platform in framework.platforms:
            image = Image(framework, platform)
            names = bases_of(image, cuda=False)
            names += [source.base for source in definitions.cuda().sources.values()] if image.stage else []
            wanted.setdefault(framework.folder, set()).update(name for name in names if "@" not in name)
    if program in wanted:
        wanted[program].add(PYTHON)
    ours = wanted.get(program, set()) | read_digests(program.locks / FILE).keys()
    return {folder: sorted(names if folder == program else names - ours) for folder, names in wanted.items()}


def lock_bases(
    folder: LibraryFolder, names: Collection[str], digest_of: Callable[[str], str | None], anew: bool
) -> Path:
    """Write the digests of a folder's bases; those already locked are kept unless ``anew``.

    Raises BuildError, and writes nothing, for a base that its registry does not have.
    """
    path = folder.locks / FILE
    locked = read_digests(path)
    for name in sorted(names):
        if anew or name not in locked:
            digest = digest_of(name)
            if digest is None:
                raise BuildError(f"The registry has no {name}.", remedy="Correct 'base' or 'copies' in images/.")
            locked[name] = digest
    write_text(path, HEAD + "".join(f"{name}@{digest}\n" for name, digest in sorted(locked.items())))
    library_folders.forget()
    return path


def write_own_base() -> Path:
    """Write the locked digest into the Dockerfile of the orchestrator's own image, which compose builds."""
    path = library_folders.PROGRAM.path / ORCHESTRATOR
    write_text(path, ARGUMENT.sub(f"ARG ROSETTA_BASE={pinned(PYTHON)}", path.read_text(encoding="utf-8")))
    return path
