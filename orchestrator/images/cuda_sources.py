"""Where CUDA comes from for packages that leave it to the image: what images/cuda.yaml says."""

from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, StringConstraints, field_validator

from orchestrator.cell.strict import Strict

Line = Annotated[str, StringConstraints(pattern=r"^[^\n]+$")]
Quotable = Annotated[str, StringConstraints(pattern=r'^[^"\\$\n]*$')]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Soname = Annotated[str, StringConstraints(pattern=r"^lib[\w.+-]+\.so[\d.]*$")]


ADDRESS = r"https?://[^\s\"'$`\\\\@]+"
"""An address as a Dockerfile takes it."""


def without_login(text: str) -> str:
    """Return a text that has no login; raises ValueError for one, which would stay in the history of an image."""
    if "@" in text:
        raise ValueError("may have no login, which would stay in the image: a pip.conf may (ROSETTA_PIP_CONF)")
    return text


Address = Annotated[str, AfterValidator(without_login), StringConstraints(pattern=rf"^{ADDRESS}$")]


class File(Strict):
    """A file to download, and its SHA-256."""

    url: Address
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Stage(Strict):
    """CUDA for one platform: each source's packages or files for it, and the libraries by their sonames.

    ``apt`` are NVIDIA's packages with their versions, ``files`` its installers, ``packages`` those of conda.
    """

    apt: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z0-9.+-]+=[A-Za-z0-9.+~:-]+$")], ...]
    files: tuple[File, ...]
    packages: tuple[Quotable, ...]
    toolkit: tuple[Soname, ...]
    cudnn: tuple[Soname, ...]

    @property
    def checked(self) -> list[str]:
        """The files as images/cuda-stage.sh takes them."""
        return [f"{file.sha256}={file.url}" for file in self.files]


class Key(Strict):
    """A key that signs a package archive: the name of its file there, and its fingerprint."""

    file: Annotated[str, StringConstraints(pattern=r"^[\w.-]+$")]
    fingerprint: Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{40}$")]


class CudaSource(Strict):
    """A source of CUDA: the image that downloads it, signed package archives, conda channels."""

    base: Line
    archives: tuple[Address, ...] = ()
    keys: tuple[Key, ...] = ()
    channels: tuple[Line, ...] = ()

    @property
    def trusted(self) -> list[str]:
        """The keys as images/cuda-stage.sh takes them."""
        return [f"{key.file}={key.fingerprint}" for key in self.keys]


SourceName = Literal["nvidia-apt", "nvidia-files", "anaconda"]

LABEL = "rosetta.cuda-source"
"""The label that says from which source an image's CUDA libraries came, or ``FOLDER``."""

FOLDER = "folder"


class Cuda(Strict):
    """The file images/cuda.yaml: the sources of CUDA, the default first, and a stage per platform."""

    sources: dict[SourceName, CudaSource]
    stages: dict[Name, Stage]

    @field_validator("sources")
    @classmethod
    def _are_all_there(cls, sources: dict[SourceName, CudaSource]) -> dict[SourceName, CudaSource]:
        if missing := set(get_args(SourceName)) - set(sources):
            raise ValueError(f"the source {min(missing)} is missing; the Dockerfile has a stage for it")
        return sources

    @property
    def default(self) -> SourceName:
        """The source that is used unless the user chooses another."""
        return next(iter(self.sources))
