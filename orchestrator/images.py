"""Framework definitions → Dockerfile → bake file → image digests."""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from orchestrator import ROOT, contract
from orchestrator.compatibility import PLATFORMS
from orchestrator.errors import BuildError, DiskError, EngineError, MatrixError, RosettaError

DEFINITIONS = ROOT / "images"
LOCKS = DEFINITIONS / "locks"
WORKLOADS = ROOT / "workloads"

Line = Annotated[str, StringConstraints(pattern=r"^[^\n]+$")]
Quotable = Annotated[str, StringConstraints(pattern=r'^[^"\\$\n]*$')]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class Strict(BaseModel):
    """Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Library(Strict):
    """A row of the tables."""

    title: Quotable
    docs: Annotated[str, StringConstraints(pattern=r"^https://")]


class Source(Strict):
    """A folder of another image, as a compiler that has no package for Debian; it gets the same path here."""

    image: Line
    path: Annotated[str, StringConstraints(pattern=r"^/\S+$")]


class Recipe(Strict):
    """What an image is made of. A platform takes from its framework what it does not say itself.

    ``copies`` are folders of other images, ``packages`` Debian's, ``setup`` further shell lines run as root, ``build``
    what packages without a wheel need to be built, ``needs_container`` says why a virtual environment can't do the
    same, and ``unverified`` why nobody has seen it work: no cell of it is run.
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


class Platform(Recipe):
    """One image: ``extra_index`` is where the packages lie that PyPI does not have."""

    version: Annotated[str, StringConstraints(pattern=r"^[0-9][0-9a-z.+]*$")]
    requirements: Annotated[tuple[Line, ...], Field(min_length=1)]
    extra_index: str = ""


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
        return self


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
        """Everything that the YAML says about this image."""
        return self.framework.platforms[self.platform]

    @property
    def tag(self) -> str:
        """What ``docker run`` calls it: ``rosetta/pytorch:2.13.0-cpu``."""
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
        return self.spec.needs_container

    @property
    def lock_path(self) -> Path:
        """Its packages, all of them, with hashes."""
        return LOCKS / f"{self.name}.txt"

    @property
    def locks(self) -> tuple[Path, ...]:
        """The files to install, one after the other: what builds packages, where any has to be built, comes first."""
        return (*([LOCKS / f"{self.name}.build.txt"] if self.spec.build else []), self.lock_path)

    @cached_property
    def recipe(self) -> str:
        """Content hash of everything in the image but the workloads, comments left out: 16 hexadecimal digits."""
        lines = [line for line in dockerfile(self).splitlines() if not line.startswith("#")]
        lines += [line for path in self.locks for line in read_lock(path) if not line.lstrip().startswith("#")]
        return digest("\n".join(lines).encode())

    def pip_installs(self, locks: Path = LOCKS, wheels: Path | None = None) -> list[list[str]]:
        """The arguments of the calls of ``pip install`` that install it, for ``locks`` and ``wheels`` as pip sees them.

        Indexes, proxies and authorities are not among them: they are given to pip by ``Sources``.
        """
        links = [f"--find-links={wheels}"] if wheels else []
        installs = [[*links, "--require-hashes", "--no-deps", f"--requirement={locks / p.name}"] for p in self.locks]
        for install in installs[:-1]:
            install.append("--only-binary=:all:")
        installs[-1].append("--no-build-isolation" if self.spec.build else "--only-binary=:all:")
        return installs


@dataclass(frozen=True)
class Sources:
    """Where packages come from on this machine: a proxy's authorities, a pip.conf, a folder of wheels, proxies."""

    ca: Path | None = None
    pip_conf: Path | None = None
    wheels: Path | None = None
    proxies: tuple[tuple[str, str], ...] = ()

    @classmethod
    def from_environment(cls) -> "Sources":
        """Read ROSETTA_CA_BUNDLE, ROSETTA_PIP_CONF, ROSETTA_WHEELS and the usual variables for proxies.

        Where they are not set, PIP_CERT or SSL_CERT_FILE and PIP_FIND_LINKS count if they name a file and a folder.
        Raises BuildError if one of our own names nothing.
        """
        links = os.environ.get("PIP_FIND_LINKS", "").split()
        return cls(
            ca=own("ROSETTA_CA_BUNDLE", Path.is_file)
            or first((os.environ.get(name, "") for name in ("PIP_CERT", "SSL_CERT_FILE")), Path.is_file),
            pip_conf=own("ROSETTA_PIP_CONF", Path.is_file),
            wheels=own("ROSETTA_WHEELS", Path.is_dir) or first(links, Path.is_dir),
            proxies=tuple((name, os.environ[name]) for name in PROXIES if os.environ.get(name)),
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

    def pip_variables(self, image: Image) -> dict[str, str]:
        """What pip is told by variables, and a build by arguments of the same names.

        An index that is out of reach costs pip a minute and a half of tries, so none is asked for what is here.
        """
        held = dict(self.holds(image))
        variables = {}
        if all(held.values()):
            variables["PIP_NO_INDEX"] = "1"
        if image.spec.extra_index:
            elsewhere = all(here for package, here in held.items() if "+" in package) or self._names_extra_index()
            variables["PIP_EXTRA_INDEX_URL"] = "" if elsewhere else image.spec.extra_index
        return variables

    def _names_extra_index(self) -> bool:
        """A pip.conf with extra indexes has the last word on them."""
        return self.pip_conf is not None and bool(re.search(r"(?m)^\s*extra-index-url", self.pip_conf.read_text()))


PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


def own(variable: str, fits: Callable[[Path], bool]) -> Path | None:
    """The path in one of this program's own variables; raises BuildError if there is no such file or folder."""
    value = os.environ.get(variable)
    if not value:
        return None
    path = Path(value).expanduser().absolute()
    if not fits(path):
        raise BuildError(f"{variable} names {value}, which is not there.", remedy=f"Correct {variable}, or unset it.")
    return path


def first(values: Iterable[str], fits: Callable[[Path], bool]) -> Path | None:
    """The first of the paths that fits."""
    return next((Path(value).absolute() for value in values if value and fits(Path(value))), None)


def digest(content: bytes) -> str:
    """16 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()[:16]


# --- Definitions ----------------------------------------------------------------------------------------------------
def read_framework(path: Path) -> Framework:
    """Read and validate a file of images/; raises MatrixError with file and key."""
    import yaml

    try:
        # BaseLoader leaves every scalar as text: YAML itself would read 3.10 and 9.0 as numbers.
        content = yaml.load(path.read_text(), Loader=getattr(yaml, "CBaseLoader", yaml.BaseLoader))
        framework = Framework.model_validate(content)
    except yaml.YAMLError as error:
        raise MatrixError(f"{path} is not valid YAML: {error}") from None
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(map(str, problem["loc"])) or "the file"
        what = "unknown key" if problem["type"] == "extra_forbidden" else problem["msg"]
        raise MatrixError(f"{path}: {key}: {what}.") from None
    if framework.framework != path.stem:
        raise MatrixError(f"{path}: framework: {framework.framework} must have the name of its file.")
    return framework


@cache
def frameworks() -> Mapping[str, Framework]:
    """All files of images/, by framework."""
    return {path.stem: read_framework(path) for path in sorted(DEFINITIONS.glob("*.yaml"))}


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


@cache
def image_for(library: str, platform: str) -> Image | None:
    """The image in which a library runs on a platform, or None."""
    framework = library_index().get(library)
    return Image(framework, platform) if framework and platform in framework.platforms else None


def every_image() -> list[Image]:
    """All images that can be built."""
    return [Image(framework, platform) for framework in frameworks().values() for platform in framework.platforms]


# --- Locks ----------------------------------------------------------------------------------------------------------
def read_lock(path: Path) -> list[str]:
    """The lines of a lock; raises BuildError if there is none."""
    try:
        return path.read_text().splitlines()
    except FileNotFoundError:
        name = path.name.rsplit("-", 1)[0]
        raise BuildError(f"{path} is missing.", remedy=f"Make it with 'rosetta lock {name}'.") from None


def packages_of(image: Image) -> list[str]:
    """The packages of an image as ``name==version``."""
    return [line.split()[0] for path in image.locks for line in read_lock(path) if re.match(r"\w", line)]


def lock(framework: str, platform: str, upgrade: bool = False) -> list[Path]:
    """Resolve the requirements of an image into its locks: every package, one version, the hashes of its files.

    Versions that a lock already has are kept unless ``upgrade``. Needs uv, which is among the tools for development.
    Raises BuildError.
    """
    image = Image(frameworks()[framework], platform)
    inputs = [image.spec.build] if image.spec.build else []
    for path, requirements in zip(image.locks, [*inputs, image.spec.requirements], strict=True):
        resolve(image, requirements, path, upgrade)
    return list(image.locks)


def resolve(image: Image, requirements: Sequence[str], path: Path, upgrade: bool) -> None:
    """Have uv write one lock."""
    beside = Path(sys.executable).parent  # the environment need not be activated
    uv = shutil.which("uv", path=os.pathsep.join([str(beside), os.environ.get("PATH", "")]))
    if uv is None:
        raise BuildError("uv is not installed.", remedy="It comes with the tools for development: make dev.")
    sources = Sources.from_environment()
    command = [uv, "pip", "compile", "-", "--quiet", "--generate-hashes", "--no-header", "--no-annotate"]
    command += ["--python-version", image.python, "--python-platform", "x86_64-manylinux_2_28"]
    command += ["--output-file", str(path), *(["--upgrade"] if upgrade else [])]
    built = path == image.lock_path != image.locks[0]
    pins = str(image.locks[0])
    command += ["--constraints", pins, "--build-constraints", pins] if built else ["--only-binary", ":all:"]
    if sources.wheels:
        command += ["--find-links", str(sources.wheels)]
    elif image.spec.extra_index:
        command += ["--extra-index-url", image.spec.extra_index, "--index-strategy", "unsafe-best-match"]
    text = "\n".join(requirements)
    variables = {**os.environ, **({"SSL_CERT_FILE": str(sources.ca)} if sources.ca else {})}
    done = subprocess.run(command, input=text, env=variables, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BuildError(f"The requirements of {image.name} could not be resolved.", done.stderr.strip())
    name = image.framework.framework
    path.write_text(f"# All that images/{name}.yaml asks for, by 'rosetta lock {name}'.\n{path.read_text()}")


# --- Dockerfile and bake file ---------------------------------------------------------------------------------------
@cache
def template() -> Any:
    """images/Dockerfile.j2; a name that it can't fill is an error."""
    import jinja2

    loader = jinja2.FileSystemLoader(DEFINITIONS)
    environment = jinja2.Environment(
        loader=loader, undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True, autoescape=False
    )
    return environment.get_template("Dockerfile.j2")


def dockerfile(image: Image) -> str:
    """The Dockerfile of an image, to be built with the checkout as its context; raises MatrixError."""
    import jinja2

    framework, spec = image.framework, image.spec
    try:
        text: str = template().render(
            dict(spec),
            name=image.name,
            contract=contract.CONTRACT,
            framework=framework.framework,
            license=framework.license,
            platform=image.platform,
            titles=[library.title for library in framework.libraries.values()],
            system_steps=[*apt_steps(spec.packages), *spec.setup],
            locks=[path.name for path in image.locks],
            pip_steps=[
                shlex.join(["pip", "--disable-pip-version-check", "install", *arguments])
                for arguments in image.pip_installs(Path("/locks"), Path("/wheels"))
            ],
        )
    except jinja2.TemplateError as error:
        raise MatrixError(f"{DEFINITIONS / 'Dockerfile.j2'} can't be filled for {image.name}: {error}.") from None
    return text


def apt_steps(packages: Sequence[str]) -> list[str]:
    """Shell lines that install Debian packages and leave no lists behind."""
    if not packages:
        return []
    install = shlex.join(["apt-get", "install", "-y", "--no-install-recommends", *packages])
    return ["apt-get update", install, "rm -rf /var/lib/apt/lists/*"]


def bake(images: Sequence[Image], sources: Sources | None = None) -> dict[str, Any]:
    """What ``docker buildx bake -f -`` takes as JSON: a target per image, the group "default" with all of them."""
    sources = sources or Sources.from_environment()
    workloads = workloads_digest()
    return {
        "group": {"default": {"targets": [image.name for image in images]}},
        "target": {image.name: target(image, sources, workloads) for image in images},
    }


def target(image: Image, sources: Sources, workloads: str) -> dict[str, Any]:
    """The target of one image. A folder of wheels is handed over only to an image that finds something in it."""
    secrets = {"ca": sources.ca, "pip_conf": sources.pip_conf}
    useful = any(here for _, here in sources.holds(image))
    return {
        "context": str(ROOT),
        "contexts": {"wheels": str(sources.wheels)} if useful else {},
        "dockerfile-inline": dockerfile(image),
        "args": {**sources.pip_variables(image), **dict(sources.proxies)},
        "secret": [f"id={name},src={path}" for name, path in secrets.items() if path],
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


# --- Building -------------------------------------------------------------------------------------------------------
def build(images: Sequence[Image], *, progress: Callable[[str], None]) -> dict[str, str]:
    """Build, side by side, those images that are missing or out of date; returns the id of each image by its tag.

    ``progress`` is given a line of text whenever a step begins or ends. Raises BuildError, DiskError or EngineError
    with the likely cause; KeyboardInterrupt stops the build.
    """
    images = list(dict.fromkeys(images))
    workloads = workloads_digest()
    there = inspect([image.tag for image in images])
    stale = [image for image in images if not is_current(there.get(image.tag), image, workloads)]
    if stale:
        run_bake(bake(stale), progress)
        there = inspect([image.tag for image in images])
    return {image.tag: there[image.tag]["Id"] for image in images}


def is_current(found: Mapping[str, Any] | None, image: Image, workloads: str) -> bool:
    """Whether this image was built from the recipe and the scripts of now."""
    labels = (found or {}).get("Config", {}).get("Labels") or {}
    return bool(labels.get("rosetta.recipe") == image.recipe and labels.get("rosetta.workloads") == workloads)


def inspect(tags: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What the engine knows of the images that it has, by tag; raises EngineError without one."""
    if not tags:
        return {}
    try:
        done = subprocess.run(["docker", "image", "inspect", *tags], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise EngineError("The command 'docker' is missing.", remedy="Install Docker with its buildx plugin.") from None
    if done.returncode != 0 and "No such image" not in done.stderr:
        raise explained(done.stderr)
    return {tag: found for found in json.loads(done.stdout or "[]") for tag in found["RepoTags"]}


def run_bake(file: Mapping[str, Any], progress: Callable[[str], None]) -> None:
    """Run ``docker buildx bake`` to its end and hand on its progress; raises BuildError with the end of its log."""
    # The builder "default" is the engine itself: it sees local base images and keeps what it builds.
    command = ["docker", "buildx", "bake", "--builder=default", "--progress=plain", "--provenance=false", "--file=-"]
    variables = {**os.environ, "BUILDX_BAKE_ENTITLEMENTS_FS": "0"}  # secrets and wheels may lie outside the checkout
    with running(command, json.dumps(file), variables) as process:
        log, steps = [], Steps()
        assert process.stdout is not None
        for line in process.stdout:
            log.append(line.rstrip())
            said = steps.read(log[-1])
            if said:
                progress(said)
    if process.returncode != 0:
        raise explained("\n".join(log))


@contextmanager
def running(command: Sequence[str], text: str, variables: Mapping[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """A process with ``text`` as its input and one stream of output; ended, if need be, on the way out."""
    with tempfile.TemporaryFile("w+") as stdin:
        stdin.write(text)
        stdin.seek(0)
        process = subprocess.Popen(
            command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(variables)
        )
    with process:
        try:
            yield process
            process.wait()
        finally:
            stop(process)


def stop(process: "subprocess.Popen[str]") -> None:
    """End a process that has not ended: politely, so that the engine stops building, then by force."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()


class Steps:
    """Turns BuildKit's log into what a person wants to know: which image is at which step, and how long that took."""

    BEGINS = re.compile(r"^#(\d+) \[(?:\S+ )?(\S+) +\d+/\d+\] (.+)$")
    DOWNLOAD = re.compile(r"^#(\d+) [0-9.]+ +Downloading (?:\S+/)?(\S+) (\([0-9.]+ [MG]B\))")
    ENDS = re.compile(r"^#(\d+) (?:DONE ([0-9.]+)s|(CACHED)|(ERROR))")
    TITLES: Mapping[str, str] = {
        "FROM": "base image",
        "apt-get": "system packages",
        "--require-hashes": "framework",
        "COPY --chmod": "workloads",
    }

    def __init__(self) -> None:
        self._steps: dict[str, str] = {}
        self._ended: set[str] = set()

    def read(self, line: str) -> str | None:
        """What a line of the log tells a person, or None."""
        if begins := self.BEGINS.match(line):
            return self._begin(*begins.groups())
        found = self.DOWNLOAD.match(line) or self.ENDS.match(line)
        if not found or found[1] not in self._steps or found[1] in self._ended:
            return None
        if found.re is self.DOWNLOAD:
            return f"{self._steps[found[1]]}: {found[2]} {found[3]}"
        self._ended.add(found[1])
        step, (seconds, cached, error) = self._steps[found[1]], found.groups()[1:]
        if cached or error:
            return f"{step}: {'unchanged' if cached else 'failed'}"
        return f"{step}: done in {float(seconds):,.0f} s" if float(seconds) >= 1 else None

    def _begin(self, number: str, image: str, instruction: str) -> str | None:
        title = next((words for needle, words in self.TITLES.items() if needle in instruction), None)
        if title is None or number in self._steps:
            return None
        self._steps[number] = f"{image}: {title}"
        return self._steps[number]


CAUSES: Sequence[tuple[str, type[RosettaError], str, str]] = (
    (
        r"No space left on device",
        DiskError,
        "The engine's disk is full.",
        "Make room, for instance with 'docker builder prune'.",
    ),
    (
        r"Cannot connect to the Docker daemon|permission denied while trying to connect|error during connect",
        EngineError,
        "No Docker engine answers.",
        "Start Docker, or use --engine process.",
    ),
    (
        r"is not a docker command|unknown (shorthand )?flag|unknown command",
        EngineError,
        "Docker's buildx plugin is missing or too old.",
        "Install docker-buildx 0.10 or newer.",
    ),
    (
        r"DO NOT MATCH THE HASHES",
        BuildError,
        "A package is not the one that the lock names: a broken download, or a mirror that changes files.",
        "Try again; if it stays so, look at the index or the folder of wheels that pip was given.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|certificate signed by unknown authority",
        BuildError,
        "The network inspects TLS with an authority that the image does not know.",
        "Name a file with its certificate in ROSETTA_CA_BUNDLE.",
    ),
    (
        r"failed to resolve source metadata|pull access denied|registry-1\.docker\.io",
        BuildError,
        "The base image could not be pulled.",
        "Check the network, or load the image by hand with 'docker load'.",
    ),
    (
        r"Temporary failure|Network is unreachable|Failed to establish a new connection|NewConnectionError"
        r"|ConnectTimeout|ReadTimeout|Connection refused|Could not connect to",
        BuildError,
        "The network is out of reach.",
        "Behind a proxy set HTTPS_PROXY, ROSETTA_PIP_CONF and ROSETTA_CA_BUNDLE; without internet ROSETTA_WHEELS.",
    ),
    (
        r"does not have a Release file|404 +Not Found",
        BuildError,
        "Debian has moved the packages of this release to its archive.",
        "Pull the base image again; if it stays so, it needs a newer base in images/.",
    ),
    (
        r"No matching distribution found|requires a different Python|is not a supported wheel",
        BuildError,
        "The index has no package of the locked version for this Python.",
        "Check the index that pip was given, and that the lock was made for the Python of the image.",
    ),
)
"""What stands in the log, the kind of failure, its likely cause, and the remedy; the first that matches."""


def explained(log: str) -> RosettaError:
    """The error for a failed build, from its log."""
    tail = end_of(log)
    for pattern, kind, cause, remedy in CAUSES:
        if re.search(pattern, log):
            return kind("Building the images failed. " + cause, tail, remedy)
    return BuildError("Building the images failed.", tail)


def end_of(log: str) -> str:
    """The last lines of the step that failed, as BuildKit quotes them between rulers; else of the whole log."""
    quoted = re.findall(r"(?ms)^------\n( > \[.*?)^------$", log)
    lines = (quoted[-1] if quoted else log).splitlines()
    return "\n".join(line[:300] for line in lines[-20:] if line.strip())
