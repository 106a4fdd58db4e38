"""One platform of a framework: its Dockerfile, its locks, and the content hash of both."""

import hashlib
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from orchestrator.cell import contract
from orchestrator.errors import BuildError, MatrixError
from orchestrator.images import definitions
from orchestrator.images.cuda_sources import Stage
from orchestrator.images.definitions import Framework, Platform, frameworks, library_index
from orchestrator.images.pins import pinned
from orchestrator.system import library_folders
from orchestrator.system.library_folders import LibraryFolder, remembered
from orchestrator.system.terminal import quoted
from orchestrator.system.text_files import read_text

EPOCH = 1_577_836_800
"""The timestamp of images and of all files that their layers add, in seconds since 1970: 2020-01-01. It never changes,
so that equal content has an equal digest; wheels can have none before 1980."""

FIXED_TIMES = "fixed-times.sh"
APT_SNAPSHOT = "ROSETTA_APT_SNAPSHOT"


@dataclass(frozen=True)
class Image:
    """One platform of a framework."""

    framework: Framework
    platform: str

    @property
    def name(self) -> str:
        """Short and unique: ``pytorch-cpu``."""
        return f"{self.framework.framework}-{self.platform}"

    @property
    def spec(self) -> Platform:
        """Its section of the framework's YAML file."""
        return self.framework.platforms[self.platform]

    @property
    def tag(self) -> str:
        """The image's tag, as for ``docker run``: ``rosetta/pytorch:2.13.0-cpu``."""
        return f"rosetta/{self.framework.framework}:{self.spec.version.replace('+', '-')}-{self.platform}"

    @property
    def python(self) -> str:
        """The version of Python: "3.11"."""
        return self.spec.python

    @property
    def environment(self) -> Mapping[str, str]:
        """Variables that the framework needs."""
        return self.spec.environment

    @property
    def needs_container(self) -> str:
        """Why a virtual environment can't stand in for it; empty if one can."""
        bare = f"its packages leave the libraries of {self.platform} to the image"
        return self.spec.needs_container or (bare if self.library_path else "")

    @property
    def library_path(self) -> str:
        """LD_LIBRARY_PATH for CUDA's libraries; empty if the packages find them themselves."""
        wheels = f"/usr/local/lib/python{self.python}/site-packages/nvidia"
        stage = ["/usr/local/cuda/lib64"] if self.spec.cuda else []
        return ":".join([*stage, *(f"{wheels}/{name}/lib" for name in self.spec.nvidia)])

    @property
    def stage(self) -> Stage | None:
        """The stage with the parts of CUDA that its packages lack; None if they lack none. Raises MatrixError."""
        if not self.spec.cuda:
            return None
        stage = definitions.cuda().stages.get(self.platform)
        if stage is None:
            raise MatrixError(f"{definitions.CUDA} has no stage {self.platform}, which {self.name} needs.")
        return stage

    @property
    def lock_path(self) -> Path:
        """The lock of all its packages, with hashes."""
        return self.framework.folder.locks / f"{self.name}.txt"

    @property
    def locks(self) -> tuple[Path, ...]:
        """The locks to install in order: first the build requirements, if any package has to be built."""
        locks = self.framework.folder.locks
        return (*([locks / f"{self.name}.build.txt"] if self.spec.build else []), self.lock_path)

    @cached_property
    def recipe(self) -> str:
        """Content hash of everything in the image but the workloads, without comments: 16 hexadecimal digits."""
        lines = [line for line in dockerfile(self).splitlines() if not line.startswith("#")]
        lines += [line for path in self.locks for line in read_lock(path) if not line.lstrip().startswith("#")]
        lines.append((library_folders.PROGRAM.images / FIXED_TIMES).read_text(encoding="utf-8"))
        return digest("\n".join(lines).encode())

    @property
    def workload_folders(self) -> tuple[LibraryFolder, ...]:
        """The sources of its scripts: the program, and the user's own folders with scripts for its libraries."""
        own = (folder for folder in library_folders.library_folders() if folder != library_folders.PROGRAM)
        return (library_folders.PROGRAM, *(folder for folder in own if self._serves(folder)))

    def _serves(self, folder: LibraryFolder) -> bool:
        names = (path.stem.replace("_", "-") for path in folder.workloads.glob("*/*.*"))
        return any(f"{name}-".startswith(f"{library}-") for name in names for library in self.framework.libraries)

    @property
    def columns(self) -> dict[str, str]:
        """The columns of a row that describe it."""
        return {"image": self.tag, "recipe": self.recipe, "framework": self.framework.framework}

    def pip_installs(self, locks: Path | None = None, wheels: Path | None = None) -> list[list[str]]:
        """Return the arguments of each ``pip install`` call; ``locks`` and ``wheels`` are folders as pip sees them.

        The locks are those of ``self.locks`` unless another folder is named.

        Indexes, proxies and certificate authorities are not included: ``Sources`` gives them to pip.
        """
        links = [f"--find-links={wheels}"] if wheels else []
        locks = locks or self.framework.folder.locks
        installs = [[*links, "--require-hashes", "--no-deps", f"--requirement={locks / p.name}"] for p in self.locks]
        for install in installs[:-1]:
            install.append("--only-binary=:all:")
        installs[-1].append("--no-build-isolation" if self.spec.build else "--only-binary=:all:")
        if self.spec.unlocked:
            index = [f"--index-url={self.spec.extra_index}"] if self.spec.extra_index else []
            installs.append([*links, "--no-deps", "--only-binary=:all:", *index, *self.spec.unlocked])
        return installs


@remembered
def image_for(library: str, platform: str) -> Image | None:
    """The image in which a library runs on a platform, or None."""
    framework = library_index().get(library)
    return Image(framework, platform) if framework and platform in framework.platforms else None


def every_image() -> list[Image]:
    """All images that can be built."""
    return [Image(framework, platform) for framework in frameworks().values() for platform in framework.platforms]


def read_lock(path: Path) -> list[str]:
    """The lines of a lock; raises BuildError if there is none, or it is no text."""
    if not path.exists():
        name = path.name.rsplit("-", 1)[0]
        raise BuildError(f"{path} is missing.", remedy=f"Make it with {quoted('rosetta', 'lock', name)}.")
    return read_text(path, BuildError).splitlines()


def packages_of(image: Image) -> list[str]:
    """The packages of an image as ``name==version``."""
    locked = [line.split()[0] for path in image.locks for line in read_lock(path) if re.match(r"\w", line)]
    return [*locked, *image.spec.unlocked_pins]


@remembered
def template() -> Any:
    """Return the template images/Dockerfile.j2; an undefined name in it is an error."""
    import jinja2

    loader = jinja2.FileSystemLoader(library_folders.PROGRAM.images)
    environment = jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    environment.filters["pinned"] = pinned
    return environment.get_template("Dockerfile.j2")


def dockerfile(image: Image) -> str:
    """The Dockerfile of an image, to be built in the contexts of bakefile.py; raises MatrixError."""
    import jinja2

    framework, spec, stage = image.framework, image.spec, image.stage
    try:
        text: str = template().render(
            dict(spec),
            stage=stage,
            cuda_source=definitions.cuda() if stage else None,
            nvidia_tools=tools_step(["ca-certificates", "curl", "gpg"]),
            compiled_tools=tools_step(["ca-certificates", "curl", *(spec.compiled.packages if spec.compiled else ())]),
            library_path=image.library_path,
            cuda_layers=[getattr(stage, part) for part in spec.cuda],
            name=image.name,
            contract=contract.RECEIVED,
            framework=framework.framework,
            license=framework.license,
            platform=image.platform,
            titles=[library.title for library in framework.libraries.values()],
            epoch=EPOCH,
            apt_snapshot=apt_snapshot(),
            system_steps=[f". /{FIXED_TIMES}", *apt_steps(spec.packages), *spec.setup, "fix_times"],
            own_locks=framework.is_own,
            locks=[path.name for path in image.locks],
            pip_steps=pip_steps(image),
            workloads_step=workloads_step("source=workloads").rstrip(),
        )
    except jinja2.TemplateError as error:
        path = library_folders.PROGRAM.images / "Dockerfile.j2"
        raise MatrixError(f"{path} can't be filled for {image.name}: {error}.") from None
    return text


def apt_snapshot() -> str:
    """Return the snapshot time of Debian's packages, from ROSETTA_APT_SNAPSHOT, or ""; raises BuildError."""
    value = os.environ.get(APT_SNAPSHOT, "")
    if value and not re.fullmatch(r"\d{8}T\d{6}Z", value):
        raise BuildError(f"{APT_SNAPSHOT} is not a valid time.", remedy="Write it like 20260101T000000Z, in UTC.")
    return value


def tools_step(packages: Sequence[str]) -> str:
    """Return the step of a stage that installs Debian packages for later steps."""
    steps = " \\\n && ".join(apt_steps(packages))
    return (
        "# hadolint ignore=DL3008\nRUN --mount=type=secret,id=ca \\\n    --mount=type=secret,id=apt_mirror \\\n"
        "    --mount=type=bind,source=images/apt-mirror.sh,target=/apt-mirror.sh \\\n"
        f"    --mount=type=tmpfs,target=/run/apt \\\n    {steps}"
    )


def apt_steps(packages: Sequence[str]) -> list[str]:
    """Shell lines that install Debian packages and leave no lists behind."""
    if not packages:
        return []
    install = shlex.join(["apt-get", "install", "-y", "--no-install-recommends", *packages])
    return [". /apt-mirror.sh", "apt-get update", install, "rm -rf /var/lib/apt/lists/*"]


def pip_steps(image: Image) -> list[str]:
    """Shell lines that install all of an image's packages."""
    command = ["pip", "--disable-pip-version-check", "install", "--no-compile"]
    installs = [shlex.join([*command, *arguments]) for arguments in image.pip_installs(Path("/locks"), Path("/wheels"))]
    return ["take_over_packages", *installs, "compile_python"]


def workloads_step(source: str, then: str = "") -> str:
    """Return the step that adds scripts. A COPY would keep the checkout's file times."""
    return f"""\
RUN --mount=type=bind,source=images/{FIXED_TIMES},target=/{FIXED_TIMES} \\
    --mount=type=bind,{source},target=/from \\
    . /{FIXED_TIMES} && cp --recursive /from/. . && {then}chmod --recursive 755 . && fix_times
"""


def digest(content: bytes) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256."""
    return hashlib.sha256(content).hexdigest()[:16]
