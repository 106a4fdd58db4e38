"""The files of images/: what is installed, for which platforms, and which libraries it serves."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    PrivateAttr,
    RootModel,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from orchestrator.cell.strict import Strict, in_words
from orchestrator.errors import MatrixError
from orchestrator.images.cuda_sources import ADDRESS, Cuda, File, Line, Name, Quotable, without_login
from orchestrator.system import library_folders, yaml_files
from orchestrator.system.gpus import PLATFORMS
from orchestrator.system.library_folders import LibraryFolder, remembered
from orchestrator.system.words import advice, did_you_mean

CUDA, DOCUMENTATION = "cuda.yaml", "documentation.yaml"
"""The files of images/ that define no framework."""

Architecture = Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{1,2}[af]?$")]
"""A compute capability in one word: 75, 90a."""

Unlocked = Annotated[
    str, AfterValidator(without_login), StringConstraints(pattern=rf"^([\w.-]+==[\w.+!]+|{ADDRESS}\.whl)$")
]
"""A package by its version, or the address of its wheel."""

Part = Literal["toolkit", "cudnn"]
Precision = Literal["fp32", "tf32", "amp-fp16", "amp-bf16"]


def complaint(cause: str, remedy: str) -> PydanticCustomError:
    """Return an error for a validator to raise, which ``read`` turns into a MatrixError with file and key."""
    return PydanticCustomError("rosetta", "{cause}", {"cause": cause, "remedy": remedy})


class Link(Strict):
    """Which calls a library documents at which address.

    ``calls`` is a regular expression for the whole name of a call. In ``page``, {0} and {1} are its groups in lower
    case, {Name} is the last group, {Path} the same with slashes for dots, {name} the whole name, {path} that with
    slashes. Without a group, {Name} and {Path} stand for the whole name.
    """

    calls: Line
    page: Line

    @field_validator("calls")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise complaint(
                f"{pattern} is not a valid regular expression: {error}", "Write it in single quotes."
            ) from None
        return pattern

    @field_validator("page")
    @classmethod
    def _is_an_address(cls, page: str) -> str:
        if not re.match(r"https://[^\s/{}]+/", page):
            raise complaint(f"{page} is not an https address", "It must begin like https://docs.example.org/.")
        return page

    @model_validator(mode="after")
    def _fill_in(self) -> "Link":
        """Refuse a placeholder that ``address`` can't fill."""
        known = ["name", "path", "Name", "Path", *map(str, range(re.compile(self.calls).groups))]
        try:
            fields = list(Formatter().parse(self.page))
        except ValueError as error:
            raise complaint(f"the page {self.page} can't be filled in: {error}", "Close each brace.") from None
        for _, field, form, conversion in fields:
            if field is not None and (field not in known or form or conversion):
                remedy = f"Allowed: {', '.join(f'{{{word}}}' for word in known)}."
                raise complaint(f"the page has {{{field}}}, which {self.calls} does not provide", remedy)
        return self

    def address(self, name: str) -> str | None:
        """Return the page of a call by its whole name, ``torch.nn.Linear``; None if this rule does not match it."""
        match = re.fullmatch(self.calls, name)
        if match is None:
            return None
        groups = [group or "" for group in match.groups()]
        last = (groups or [name])[-1]
        words = {"Name": last, "Path": last.replace(".", "/"), "name": name, "path": name.replace(".", "/")}
        return self.page.format(*map(str.lower, groups), **words)


class SharedLinks(Strict):
    """Rules of images/documentation.yaml, for several libraries; there, pages are written without their ``root``."""

    root: Annotated[str, StringConstraints(pattern=r"^https://\S+/$")]
    rules: Annotated[tuple[Link, ...], Field(min_length=1)]

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, content: Any) -> Any:
        """Give every page its root."""
        if not isinstance(content, dict) or not isinstance(content.get("rules"), list):
            return content
        root, rules = content.get("root"), content["rules"]
        whole = [{**rule, "page": f"{root}{rule.get('page')}"} if isinstance(rule, dict) else rule for rule in rules]
        return {**content, "rules": whole}


class Documentation(RootModel[dict[Name, SharedLinks]]):
    """The file images/documentation.yaml."""


class Library(Strict):
    """A row of the tables. ``precisions`` are those that its scripts can run in.

    ``package`` is what it is called among the requirements, where the version of its image is not its own. ``links``
    say where the calls of its scripts are documented; a name stands for rules of images/documentation.yaml.
    """

    title: Quotable
    docs: Annotated[str, StringConstraints(pattern=r"^https://")]
    precisions: tuple[Precision, ...] = ("fp32",)
    package: str = ""
    links: tuple[Link, ...] = ()

    @field_validator("links", mode="before")
    @classmethod
    def _look_up(cls, links: Any) -> Any:
        """Put the rules in place of their name."""
        if not isinstance(links, str):
            return links
        shared = documentation()
        if links not in shared:
            raise complaint(f"{DOCUMENTATION} has no rules '{links}'", advice(links, shared))
        return shared[links].rules


class Source(Strict):
    """A folder of another image, such as a compiler without a Debian package; it keeps its path."""

    image: Line
    path: Annotated[str, StringConstraints(pattern=r"^/\S+$")]


class Compiled(Strict):
    """Software that no index has, compiled in a stage of its own: its source, Debian's packages for it, and the steps.

    The steps run in the folder of the source, with the packages of ``build``, and put what the image takes under
    /compiled, with its paths in the image.
    """

    source: File
    packages: tuple[Line, ...]
    steps: Annotated[tuple[Line, ...], Field(min_length=1)]


class Recipe(Strict):
    """The contents of an image. A platform inherits from its framework what it does not set itself.

    ``copies`` are folders of other images, ``packages`` Debian's, ``setup`` further shell lines run as root, ``build``
    the build requirements of packages without a wheel, ``needs_container`` says why a virtual environment can't do the
    same, and ``unverified`` why nobody has seen it work: its cells run only if asked for. ``cuda`` are the parts of
    CUDA that the packages do not bring, from the stage of images/cuda.yaml. ``nvidia`` are the folders of NVIDIA's
    wheels that the loader must search, for packages that ask for their libraries by name alone. ``compiled`` is built
    from source.
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
    nvidia: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")], ...] = ()
    compiled: Compiled | None = None


class Platform(Recipe):
    """One image: ``extra_index`` has the packages that PyPI does not have.

    ``unlocked`` are those of them whose SHA-256 is unknown, as that index was out of reach when the lock was made: a
    build takes them by version, from there alone, and verifies them by what the index says over TLS.
    ``architectures`` and ``ptx`` say what its framework has code for, as ``rosetta build`` finds it in the libraries;
    a built image's own label overrides them.
    """

    version: Annotated[str, StringConstraints(pattern=r"^[0-9][0-9a-z.+]*$")]
    requirements: Annotated[tuple[Line, ...], Field(min_length=1)]
    extra_index: Annotated[str, AfterValidator(without_login), StringConstraints(pattern=rf"^({ADDRESS})?$")] = ""
    unlocked: tuple[Unlocked, ...] = ()
    architectures: tuple[Architecture, ...] = ()
    ptx: tuple[Architecture, ...] = ()

    @property
    def unlocked_pins(self) -> list[str]:
        """The unlocked packages as ``name==version``, even where they are given as a wheel's URL."""
        wheels = (re.search(r"/([^/-]+)-([^/-]+)-[^/]+\.whl$", text) for text in self.unlocked)
        return [f"{wheel[1]}=={wheel[2]}" if wheel else text for text, wheel in zip(self.unlocked, wheels, strict=True)]

    def pin(self, package: str) -> str | None:
        """The version of a package that the requirements pin; None if they don't."""
        pins = (re.match(r"([\w.-]+)(?:\[.*\])?={2,3}([\w.!]+)", requirement) for requirement in self.requirements)
        return next((pin[2] for pin in pins if pin and normal(pin[1]) == normal(package)), None)


class Framework(Recipe):
    """A file of images/: what is installed, for which platforms, and which libraries it serves."""

    framework: Name
    license: Line
    libraries: Annotated[dict[Name, Library], Field(min_length=1)]
    platforms: dict[Name, Platform]
    unavailable: dict[Name, Line] = {}
    _folder: LibraryFolder = PrivateAttr(default_factory=lambda: library_folders.PROGRAM)

    @property
    def folder(self) -> LibraryFolder:
        """The folder with its file, its locks and its scripts."""
        return self._folder

    @property
    def is_own(self) -> bool:
        """Whether it is in a folder of the user's own."""
        return self._folder != library_folders.PROGRAM

    @property
    def path(self) -> Path:
        """Its file."""
        return self._folder.images / f"{self.framework}.yaml"

    def __hash__(self) -> int:
        return hash(self.framework)

    @model_validator(mode="before")
    @classmethod
    def _hand_down(cls, content: Any) -> Any:
        """Copy the framework's common settings into every platform."""
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
                raise ValueError(f"unknown platform '{name}'; known: {', '.join(PLATFORMS)}")
        if both := self.platforms.keys() & self.unavailable.keys():
            platform = min(both)
            raise complaint(f"{platform} is under both platforms and unavailable", "Remove it from one of them.")
        return self

    @model_validator(mode="after")
    def _know_packages(self) -> "Framework":
        for name, library in self.libraries.items():
            for platform, spec in self.platforms.items():
                if library.package and spec.pin(library.package) is None:
                    cause = f"the package of {name}, {library.package}, has no version on {platform}"
                    raise complaint(cause, f"Pin it among the requirements: {library.package}==VERSION.")
        return self

    def version(self, library: str, platform: str) -> str:
        """Return the version of a library on a platform: of its own package, else of the image."""
        spec = self.platforms[platform]
        return spec.pin(self.libraries[library].package) or spec.version


Model = TypeVar("Model", bound=BaseModel)
KEYS = {key for model in (Framework, Platform, Library, Link, Source, SharedLinks) for key in model.model_fields}


def normal(package: str) -> str:
    """The name of a package as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", package).lower()


def read(path: Path, model: type[Model]) -> Model:
    """Read and validate a YAML file; raises MatrixError with file and key."""
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise MatrixError(f"{path} can't be read.", "It is not a regular file.")
    content, _ = yaml_files.read(path)
    try:
        return model.model_validate(content)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(map(str, problem["loc"])) or "the file"
        remedy = problem.get("ctx", {}).get("remedy", "")
        what = in_words(problem)
        if problem["type"] == "extra_forbidden":
            what, remedy = "unknown key", did_you_mean(str(problem["loc"][-1]), KEYS)
        raise MatrixError(f"{path}: {key}: {what}.", remedy=remedy) from None


def read_framework(path: Path) -> Framework:
    """Read a framework's file of images/; raises MatrixError with file and key."""
    framework = read(path, Framework)
    if framework.framework != path.stem:
        raise MatrixError(f"{path}: framework: {framework.framework} must match the file name.")
    framework._folder = LibraryFolder(path.parent.parent)
    return framework


@remembered
def frameworks() -> Mapping[str, Framework]:
    """Return the framework files of images/ by name; raises MatrixError if two folders have one of the same name."""
    found: dict[str, Framework] = {}
    for folder in library_folders.library_folders():
        for path in sorted(folder.images.glob("*.yaml")):
            if path.name in (CUDA, DOCUMENTATION):
                continue
            if path.stem in found:
                raise MatrixError(
                    f"{found[path.stem].path} and {path} have the same name.", remedy="Rename one of them."
                )
            found[path.stem] = read_framework(path)
    return found


def chosen(names: Sequence[str]) -> Sequence[Framework]:
    """Return the named frameworks, or all if no name is given; raises MatrixError for an unknown name."""
    there = frameworks()
    for name in names:
        if name not in there:
            owner = library_index().get(name)
            remedy = f"The library {name} is in {owner.framework}." if owner else advice(name, there)
            raise MatrixError(f"images/{name}.yaml does not exist.", remedy=remedy)
    return [there[name] for name in names] if names else list(there.values())


@remembered
def cuda() -> Cuda:
    """The file images/cuda.yaml."""
    return read(library_folders.PROGRAM.images / CUDA, Cuda)


@remembered
def documentation() -> Mapping[str, SharedLinks]:
    """The rules of images/documentation.yaml by their names; raises MatrixError if two folders have one of a name."""
    found: dict[str, SharedLinks] = {}
    for path in (folder.images / DOCUMENTATION for folder in library_folders.library_folders()):
        rules = read(path, Documentation).root if path.is_file() else {}
        for name in found.keys() & rules.keys():
            raise MatrixError(f"{path} has rules {name}, which exist already.", remedy="Rename them.")
        found |= rules
    return found


@remembered
def library_index() -> Mapping[str, Framework]:
    """The framework that serves each library; raises MatrixError if two claim one."""
    index: dict[str, Framework] = {}
    for framework in frameworks().values():
        for library in framework.libraries:
            if library in index:
                both = f"{index[library].path} and by {framework.path}"
                raise MatrixError(f"The library {library} is defined by {both}.", remedy="Rename one of them.")
            index[library] = framework
    return index
