"""The files of images/: what is installed, for which platforms, and which libraries it serves."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, StringConstraints, ValidationError, model_validator

from orchestrator.cell.strict import Strict
from orchestrator.errors import MatrixError
from orchestrator.system.checkout import ROOT
from orchestrator.system.gpus import GPUS, PLATFORMS

DEFINITIONS = ROOT / "images"
CUDA = "cuda.yaml"
"""The one file of the folder that defines no framework."""

Line = Annotated[str, StringConstraints(pattern=r"^[^\n]+$")]
Quotable = Annotated[str, StringConstraints(pattern=r'^[^"\\$\n]*$')]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Soname = Annotated[str, StringConstraints(pattern=r"^lib[\w.+-]+\.so[\d.]*$")]
Part = Literal["toolkit", "cudnn"]
Precision = Literal["fp32", "tf32", "amp-fp16", "amp-bf16"]


class Library(Strict):
    """A row of the tables. ``precisions`` are those that its scripts can run in."""

    title: Quotable
    docs: Annotated[str, StringConstraints(pattern=r"^https://")]
    precisions: tuple[Precision, ...] = ("fp32",)


class Source(Strict):
    """A folder of another image, as a compiler that has no package for Debian; it gets the same path here."""

    image: Line
    path: Annotated[str, StringConstraints(pattern=r"^/\S+$")]


class Recipe(Strict):
    """What an image is made of. A platform takes from its framework what it does not say itself.

    ``copies`` are folders of other images, ``packages`` Debian's, ``setup`` further shell lines run as root, ``build``
    what packages without a wheel need to be built, ``needs_container`` says why a virtual environment can't do the
    same, and ``unverified`` why nobody has seen it work: no cell of it is run unless asked for. ``cuda`` are the parts
    of CUDA that the packages do not bring, from the stage of images/cuda.yaml.
    """

    python: Annotated[str, StringConstraints(pattern=r"^3\.\d+$")]
    base: Line
    copies: tuple[Source, ...] = ()
    packages: tuple[Line, ...] = ()
    setup: tuple[Line, ...] = ()
    environment: dict[Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")], Quotable] = {}
    build: tuple[Line, ...] = ()
    needs_container: str = ""
    unverified: str = ""
    cuda: tuple[Part, ...] = ()


class Platform(Recipe):
    """One image: ``extra_index`` is where the packages lie that PyPI does not have.

    ``unavailable_gpus`` says why its packages have no machine code for a GPU that its CUDA version still drives.
    """

    version: Annotated[str, StringConstraints(pattern=r"^[0-9][0-9a-z.+]*$")]
    requirements: Annotated[tuple[Line, ...], Field(min_length=1)]
    extra_index: str = ""
    unavailable_gpus: dict[Name, Line] = {}


class Framework(Recipe):
    """A file of images/: what is installed, for which platforms, and which libraries it serves."""

    framework: Name
    license: Line
    libraries: Annotated[dict[Name, Library], Field(min_length=1)]
    platforms: dict[Name, Platform]
    unavailable: dict[Name, Line] = {}

    def __hash__(self) -> int:
        return hash(self.framework)

    @model_validator(mode="before")
    @classmethod
    def _hand_down(cls, content: Any) -> Any:
        """Give every platform what the framework says for all."""
        if not isinstance(content, dict) or not isinstance(content.get("platforms"), dict):
            return content
        common = {key: value for key, value in content.items() if key in Recipe.model_fields}
        platforms = {
            name: {**common, **own} if isinstance(own, dict) else own for name, own in content["platforms"].items()
        }
        return {**content, "platforms": platforms}

    @model_validator(mode="after")
    def _know_platforms(self) -> "Framework":
        for name in (*self.platforms, *self.unavailable):
            if name not in PLATFORMS:
                raise ValueError(f"unknown platform '{name}'; there are {', '.join(PLATFORMS)}")
        for gpu in (gpu for platform in self.platforms.values() for gpu in platform.unavailable_gpus):
            if gpu not in GPUS:
                raise ValueError(f"unknown GPU '{gpu}'; there are {', '.join(GPUS)}")
        return self


class Stage(Strict):
    """CUDA for one platform: the conda packages, and the libraries that they have, by the names they are loaded by."""

    packages: tuple[Quotable, ...]
    toolkit: tuple[Soname, ...]
    cudnn: tuple[Soname, ...]


class Cuda(Strict):
    """The file images/cuda.yaml: an image with micromamba, the channels to take CUDA from, a stage per platform."""

    base: Line
    channels: tuple[Line, ...]
    stages: dict[Name, Stage]


Model = TypeVar("Model", bound=Strict)


def read(path: Path, model: type[Model]) -> Model:
    """Read and validate a YAML file; raises MatrixError with file and key."""
    import yaml

    try:
        # BaseLoader leaves every scalar as text: YAML itself would read 3.10 and 9.0 as numbers.
        content = yaml.load(path.read_text(), Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
        return model.model_validate(content)
    except yaml.YAMLError as error:
        raise MatrixError(f"{path} is not valid YAML: {error}") from None
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(map(str, problem["loc"])) or "the file"
        what = "unknown key" if problem["type"] == "extra_forbidden" else problem["msg"]
        raise MatrixError(f"{path}: {key}: {what}.") from None


def read_framework(path: Path) -> Framework:
    """Read a framework's file of images/; raises MatrixError with file and key."""
    framework = read(path, Framework)
    if framework.framework != path.stem:
        raise MatrixError(f"{path}: framework: {framework.framework} must have the name of its file.")
    return framework


@cache
def frameworks() -> Mapping[str, Framework]:
    """All files of images/, by framework."""
    return {path.stem: read_framework(path) for path in sorted(DEFINITIONS.glob("*.yaml")) if path.name != CUDA}


@cache
def cuda() -> Cuda:
    """The file images/cuda.yaml."""
    return read(DEFINITIONS / CUDA, Cuda)


@cache
def library_index() -> Mapping[str, Framework]:
    """The framework that serves each library; raises MatrixError if two claim one."""
    index: dict[str, Framework] = {}
    for framework in frameworks().values():
        for library in framework.libraries:
            if library in index:
                raise MatrixError(f"{library} is defined by {index[library].framework} and by {framework.framework}.")
            index[library] = framework
    return index
