"""Where packages come from on this machine."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from orchestrator.errors import BuildError
from orchestrator.images import cuda_sources, definitions
from orchestrator.images.bases import SOURCE, Base, bases_of
from orchestrator.images.cuda_sources import SourceName
from orchestrator.images.image import Image, packages_of
from orchestrator.images.pins import pinned
from orchestrator.images.proxies import NONE, Proxies
from orchestrator.system.words import advice

APT_MIRROR = "ROSETTA_APT_MIRROR"


@dataclass(frozen=True)
class Sources:
    """Where packages come from on this machine: certificate authorities, a pip.conf, a folder of wheels, proxies.

    ``cuda`` is a folder with one folder per platform, which has the libraries that images/cuda.yaml names;
    ``registry`` is a mirror of Docker Hub, from which base images are pulled. ``apt_mirror`` says whether there is one
    of Debian: its address may hold a password, and stays in ROSETTA_APT_MIRROR. ``cuda_source`` is the source of
    images/cuda.yaml that the user has chosen.
    """

    ca: Path | None = None
    pip_conf: Path | None = None
    wheels: Path | None = None
    cuda: Path | None = None
    proxies: Proxies = NONE
    registry: str = ""
    apt_mirror: bool = False
    cuda_source: SourceName | None = None

    @classmethod
    def from_environment(cls) -> "Sources":
        """Read ROSETTA_CA_BUNDLE, _PIP_CONF, _WHEELS, _CUDA, _CUDA_SOURCE and those for mirrors and proxies.

        Where they are not set, PIP_CERT or SSL_CERT_FILE and PIP_FIND_LINKS count if they name a file and a folder.
        Raises BuildError if one of our own names nothing.
        """
        links = os.environ.get("PIP_FIND_LINKS", "").split()
        return cls(
            ca=own("ROSETTA_CA_BUNDLE", Path.is_file)
            or first((os.environ.get(name, "") for name in ("PIP_CERT", "SSL_CERT_FILE")), Path.is_file),
            pip_conf=own("ROSETTA_PIP_CONF", Path.is_file),
            wheels=own("ROSETTA_WHEELS", Path.is_dir) or first(links, Path.is_dir),
            cuda=own("ROSETTA_CUDA", Path.is_dir),
            registry=mirror(),
            apt_mirror=mirrors_debian(),
            cuda_source=chosen_source(),
            proxies=Proxies.here(),
        )

    def holds(self, image: Image) -> Iterator[tuple[str, bool]]:
        """Each package of the image, as ``torch==2.13.0+cpu``, and whether the folder of wheels holds it."""
        there = [path.name for path in self.wheels.iterdir()] if self.wheels else []
        files = {tuple(file.split("-")[:2]) for file in there} | {
            tuple(file.removesuffix(".tar.gz").rsplit("-", 1)) for file in there
        }
        normal = {(re.sub(r"[-_.]+", "-", parts[0]).lower(), *parts[1:]) for parts in files}
        for package in packages_of(image):
            yield package, tuple(package.split("==")) in normal

    def contexts(self, image: Image, bases: Mapping[str, Base]) -> dict[str, str]:
        """Return the build contexts that replace stages of its Dockerfile: folders (wheels only if used), or a mirror.

        A local image without a digest replaces its base too, whatever digest that should have. Raises BuildError if
        there is a folder of CUDA's libraries that lacks the image's platform.
        """
        contexts = {}
        for name in bases_of(image, cuda=not self.cuda):
            if is_mirrored(name, self.registry):
                contexts[pinned(name)] = f"docker-image://{self.registry}/{official(pinned(name))}"
            elif name in bases and bases[name].stand_in and pinned(name) != name:
                contexts[pinned(name)] = f"docker-image://{name}"
        if any(here for _, here in self.holds(image)):
            contexts["wheels"] = str(self.wheels)
        if self.cuda and image.stage:
            folder = self.cuda / image.platform
            if not folder.is_dir():
                remedy = f"Put {', '.join(image.stage.toolkit[:2])} … into {folder}, or unset ROSETTA_CUDA."
                raise BuildError(f"ROSETTA_CUDA names {self.cuda}, which has no folder {image.platform}.", "", remedy)
            refuse_links_out_of(folder)
            contexts["cuda"] = str(folder)
        return contexts

    def pip_variables(self, image: Image) -> dict[str, str]:
        """Return pip's variables, which are also the build arguments of the same names.

        An unreachable index costs pip a minute and a half of retries, so none is asked for packages that are here.
        """
        held = dict(self.holds(image))
        variables = {}
        if all(held.values()):
            variables["PIP_NO_INDEX"] = "1"
        if image.spec.extra_index:
            outside = [here for package, here in held.items() if "+" in package or package in image.spec.unlocked_pins]
            elsewhere = all(outside) or self._names_extra_index()
            variables["PIP_EXTRA_INDEX_URL"] = "" if elsewhere else image.spec.extra_index
        return variables

    def cuda_variables(self, image: Image) -> dict[str, str]:
        """Return the build argument for CUDA's source, if the user has chosen one."""
        return {"CUDA_SOURCE": self.cuda_source} if self.cuda_source and image.stage else {}

    def cuda_labels(self, image: Image) -> dict[str, str]:
        """Return the label with the source of an image's CUDA, if its packages don't bring their own."""
        if not image.stage:
            return {}
        downloaded = self.cuda_source or definitions.cuda().default
        return {cuda_sources.LABEL: cuda_sources.FOLDER if self.cuda else downloaded}

    def _names_extra_index(self) -> bool:
        """Return whether a pip.conf sets extra indexes: it takes precedence over ours."""
        return self.pip_conf is not None and bool(
            re.search(r"(?m)^\s*extra-index-url", self.pip_conf.read_text(encoding="utf-8"))
        )


def refuse_links_out_of(folder: Path) -> None:
    """Raise BuildError if a library in a folder is a link that leads out of it: a build sees the folder alone."""
    for path in (path for path in sorted(folder.glob("lib*.so*")) if path.is_symlink()):
        within = path.is_file() and path.resolve().is_relative_to(folder.resolve())
        if path.readlink().is_absolute() or not within:
            what = f"{path} leads to no file within its folder, and a build sees no other."
            raise BuildError(what, remedy="Copy the library there, or link it relatively.")


def mirror() -> str:
    """The registry in ROSETTA_REGISTRY_MIRROR; raises BuildError for what is none, or has a password in it."""
    value = os.environ.get("ROSETTA_REGISTRY_MIRROR", "")
    if value and not re.fullmatch(r"[a-z0-9.-]+(:\d+)?(/[a-z0-9._-]+)*", value):
        raise BuildError(
            "ROSETTA_REGISTRY_MIRROR is not HOST or HOST/PATH.", remedy="Give credentials to 'docker login'."
        )
    return value


def is_mirrored(base: str, registry: str) -> bool:
    """Whether a base is Docker Hub's, and ``registry`` a mirror of it."""
    return bool(registry) and "." not in base.partition("/")[0].partition(":")[0]


def asked_for(base: str) -> str:
    """Return the name under which a registry is asked for a base: its tag there."""
    place = mirror()
    return f"{place}/{official(base)}" if is_mirrored(base, place) else base


def chosen_source() -> SourceName | None:
    """The source of CUDA in ROSETTA_CUDA_SOURCE; raises BuildError for one that images/cuda.yaml does not have."""
    value = os.environ.get(SOURCE, "")
    for name in get_args(SourceName):
        if value == name:
            return name  # type: ignore[no-any-return]
    if value:
        raise BuildError(
            "ROSETTA_CUDA_SOURCE is not a known source of CUDA.", remedy=advice(value, get_args(SourceName))
        )
    return None


def mirrors_debian() -> bool:
    """Whether ROSETTA_APT_MIRROR names a mirror of Debian; raises BuildError for what can't be one."""
    value = os.environ.get(APT_MIRROR, "")
    if value and not re.fullmatch(r"https?://[^\s|&\\]+", value):
        raise BuildError(f"{APT_MIRROR} is not an http(s) URL.", remedy="Write it like https://HOST/debian.")
    return bool(value)


def official(base: str) -> str:
    """The whole name of an image on Docker Hub: ``library/python:3.11-slim-bookworm``."""
    return base if "/" in base else f"library/{base}"


def own(variable: str, fits: Callable[[Path], bool]) -> Path | None:
    """The path in one of this program's own variables; raises BuildError if there is no such file or folder."""
    value = os.environ.get(variable)
    if not value:
        return None
    path = Path(value).expanduser().absolute()
    if not fits(path):
        raise BuildError(f"{variable} names {value}, which does not exist.", remedy=f"Correct {variable}, or unset it.")
    return path


def first(values: Iterable[str], fits: Callable[[Path], bool]) -> Path | None:
    """The first of the paths that fits."""
    return next((Path(value).absolute() for value in values if value and fits(Path(value))), None)
