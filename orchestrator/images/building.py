"""Build images that are missing or out of date, return their ids, and explain failures."""

import json
import os
import re
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from orchestrator.errors import (
    BuildError,
    DiskError,
    EngineError,
    EngineGoneError,
    RosettaError,
    UnreachableError,
)
from orchestrator.images import records
from orchestrator.images.bakefile import bake, workloads_digest
from orchestrator.images.bases import LABEL, PYTHON, Base, base_here, bases_of, described
from orchestrator.images.image import EPOCH, Image, digest
from orchestrator.images.pins import pinned
from orchestrator.images.proxies import Proxies
from orchestrator.images.sources import asked_for, is_mirrored, mirror
from orchestrator.system import library_folders
from orchestrator.system.addresses import without_secrets


def build_images(
    images: Sequence[Image], *, progress: Callable[[str], None], variables: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Build, in parallel, the images that are missing or out of date; returns the ids of all images by tag.

    An image that was not made here is out of date, whatever its labels say.

    ``progress`` gets a line of text whenever a step begins or ends. ``variables`` is the environment of docker's
    command, which tells it where the engine is. Raises BuildError, DiskError or EngineError with the likely cause;
    KeyboardInterrupt stops the build.
    """
    images = list(dict.fromkeys(images))
    there = inspect_images([image.tag for image in images], variables)
    bases = bases_here(images, variables)
    scripts = {image: workloads_digest(image) for image in images}
    stale = [image for image in images if not is_current(there.get(image.tag), image, scripts[image], bases)]
    if stale:
        made = run_bake(bake(stale, bases=bases), progress, variables)
        there = inspect_images([image.tag for image in images], variables)
        for image in stale:
            if there[image.tag]["Id"] not in made.get(image.name, ()):
                raise BuildError(
                    f"{image.tag} is not the image that was built: its name went to another one meanwhile."
                )
            records.note(there[image.tag]["Id"], image.recipe, scripts[image])
    return {image.tag: there[image.tag]["Id"] for image in images}


def build_probe(variables: Mapping[str, str] = os.environ) -> str:
    """Build the image that tells which GPUs an engine has, unless it is there; returns its tag. Raises BuildError."""
    program = library_folders.PROGRAM
    recipe = program.images / "probe.Dockerfile"
    copied = ("harness/__init__.py", "harness/nvml.py", "harness/visible_gpus.py")
    try:
        content = b"\0".join(path.read_bytes() for path in (recipe, *(program.workloads / name for name in copied)))
    except OSError as error:
        raise BuildError(f"The program's file {error.filename} is missing.", remedy="Reinstall the program.") from None
    base = str(base_here(PYTHON, inspect_images([PYTHON], variables).get(PYTHON), is_mirrored(PYTHON, mirror())))
    sum_of_content = digest(content + base.encode())
    tag = f"rosetta/probe:{sum_of_content}"
    there = inspect_images([tag], variables).get(tag)
    if there is None or records.made_of(there["Id"]) != (sum_of_content, ""):
        command = ["docker", "buildx", "build", "--builder=default", "--provenance=false", "--quiet", f"--tag={tag}"]
        if "@" in base or mirror():
            command.append(f"--build-context={PYTHON}=docker-image://{asked_for(pinned(PYTHON))}")
        command += [f"--file={recipe}", str(program.workloads)]
        records.note(built_quietly(command, variables), sum_of_content, "")
    return tag


def built_quietly(command: Sequence[str], variables: Mapping[str, str]) -> str:
    """Run a build without network or proxies and return the id that it prints; raises BuildError."""
    proxies = [f"--build-arg={name}={value}" for name, value in Proxies.here().arguments.items() if not value]
    done = subprocess.run([*command, *proxies], env=dict(variables), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise explained(done.stderr)
    return done.stdout.strip()


def add_labels(source: str, target: str, labels: Mapping[str, str], variables: Mapping[str, str] = os.environ) -> str:
    """Add labels to an image that was made here, given by id, and tag the result; equal labels give an equal id.

    Returns the new id. Raises BuildError, also for an image from elsewhere: a build on it would run foreign code.
    """
    made_of = records.made_of(source)
    if made_of is None:
        raise BuildError(f"{source} was not built here.", remedy="Build it: 'rosetta build'.")
    words = [word for name, value in sorted(labels.items()) for word in ("--label", f"{name}={value}")]
    command = ["docker", "buildx", "build", "--builder=default", "--provenance=false", "--quiet", *words]
    command.append(f"--build-arg=SOURCE_DATE_EPOCH={EPOCH}")
    with tempfile.TemporaryDirectory() as empty, named(source, variables) as name:
        Path(empty, "Dockerfile").write_text(f"FROM {name}\n", encoding="utf-8")
        image = built_quietly([*command, "--tag", target, empty], variables)
    records.note(image, *made_of)
    return image


@contextmanager
def named(image_id: str, variables: Mapping[str, str]) -> Iterator[str]:
    """Give an image a temporary unique name for a build: builds take no ids, and a tag may move."""
    name = f"rosetta/labelled:{uuid.uuid4().hex}"
    done = subprocess.run(
        ["docker", "tag", image_id, name], env=dict(variables), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise explained(done.stderr)
    try:
        yield name
    finally:
        subprocess.run(["docker", "rmi", "--no-prune", name], env=dict(variables), capture_output=True, check=False)


def is_current(
    found: Mapping[str, Any] | None, image: Image, workloads: str, bases: Mapping[str, Base] = MappingProxyType({})
) -> bool:
    """Return whether this image was built here from the current recipe and scripts, on the current bases."""
    if found is None or records.made_of(found["Id"]) != (image.recipe, workloads):
        return False
    built_on = labels_of(found).get(LABEL, "")  # a label can be trusted here: the image is in our record
    return built_on == described(bases_of(image), bases, built_on)


def labels_of(found: Mapping[str, Any] | None) -> Mapping[str, str]:
    """The labels of an image, as the engine tells them."""
    return (found or {}).get("Config", {}).get("Labels") or {}


def bases_here(images: Sequence[Image], variables: Mapping[str, str] = os.environ) -> dict[str, Base]:
    """Return the bases of some images, by tag, as builds on this engine use them."""
    return bases_among(inspect_images(names_of_bases(images), variables), images)


def built_on(images: Sequence[Image], variables: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what each image is, or will be, built on, by tag: its bases by digest, or their stand-ins."""
    there = inspect_images([*(image.tag for image in images), *names_of_bases(images)], variables)
    bases = bases_among(there, images)
    known = {image.tag: labels_of(there.get(image.tag)).get(LABEL, "") for image in images}
    return {image.tag: described(bases_of(image), bases, known[image.tag]) for image in images}


def names_of_bases(images: Sequence[Image]) -> list[str]:
    """The bases of some images, each once."""
    return list(dict.fromkeys(name for image in images for name in bases_of(image)))


def bases_among(there: Mapping[str, Mapping[str, Any]], images: Sequence[Image]) -> dict[str, Base]:
    """The bases of some images, by what the engine has."""
    registry = mirror()
    return {name: base_here(name, there.get(name), is_mirrored(name, registry)) for name in names_of_bases(images)}


def inspect_images(tags: Sequence[str], variables: Mapping[str, str] = os.environ) -> dict[str, dict[str, Any]]:
    """Return what the engine knows of the images that it has, by tag; raises EngineError without an engine."""
    if not tags:
        return {}
    try:
        command = ["docker", "image", "inspect", *tags]
        done = subprocess.run(command, env=dict(variables), capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise EngineError("The command 'docker' is missing.", remedy="Install Docker with its buildx plugin.") from None
    if done.returncode != 0 and "No such image" not in done.stderr:
        raise explained(done.stderr)
    return {tag: found for found in json.loads(done.stdout or "[]") for tag in found["RepoTags"]}


def run_bake(
    file: Mapping[str, Any], progress: Callable[[str], None], variables: Mapping[str, str] = os.environ
) -> dict[str, list[str]]:
    """Run ``docker buildx bake`` to its end and report its progress; returns the ids that each target has made.

    Raises BuildError with the end of its log.
    """
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "metadata.json")
        follow_bake(file, told, progress, variables)
        found = json.loads(told.read_text(encoding="utf-8"))
    ids = ("containerimage.config.digest", "containerimage.digest")
    return {name: [str(of[key]) for key in ids if key in of] for name, of in found.items() if isinstance(of, dict)}


def follow_bake(
    file: Mapping[str, Any], told: Path, progress: Callable[[str], None], variables: Mapping[str, str]
) -> None:
    """Run ``docker buildx bake``, which writes metadata on its images to ``told``; raises BuildError."""
    # The builder "default" is the engine itself: it sees local base images and keeps what it builds.
    command = ["docker", "buildx", "bake", "--builder=default", "--progress=plain", "--provenance=false", "--file=-"]
    command.append(f"--metadata-file={told}")
    # Secrets, wheels and own libraries lie elsewhere.
    variables = {**variables, **Proxies.here().variables, "BUILDX_BAKE_ENTITLEMENTS_FS": "0"}
    with running(command, json.dumps(file), variables) as process:
        log, steps = [], Steps()
        assert process.stdout is not None
        for line in process.stdout:
            log.append(without_secrets(line.rstrip()))
            said = steps.read(log[-1])
            if said:
                progress(said)
    if process.returncode != 0:
        raise explained("\n".join(log))


@contextmanager
def running(command: Sequence[str], text: str, variables: Mapping[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """Yield a process with ``text`` as its input and one output stream; it is terminated on exit if still running."""
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
    """End a running process: first by SIGTERM, so that the engine stops building, then by force."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()


class Steps:
    """Turns BuildKit's log into progress for a person: which image is at which step, and how long each took."""

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
        """Return the progress message for a line of the log, or None."""
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


LONGEST_LINE = 300
"""Most characters shown of a log line."""

CAUSES: Sequence[tuple[str, type[RosettaError], str, str]] = (
    (
        r"No space left on device",
        DiskError,
        "The engine's disk is full.",
        "Free some space, for instance with 'docker builder prune'.",
    ),
    (
        r"Cannot connect to the Docker daemon|permission denied while trying to connect|error during connect",
        EngineGoneError,
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
        "A package does not match its lock: a broken download, or a mirror that changes files.",
        "Try again; if it fails again, check the index or the folder of wheels that pip uses.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|certificate signed by unknown authority",
        BuildError,
        "The network inspects TLS with a certificate authority that the image does not trust.",
        "Set ROSETTA_CA_BUNDLE to a file with its certificate.",
    ),
    (
        r"failed to (?:calculate checksum|compute cache key)[^\n]*\"/(lib[^\"/]+)\": not found",
        BuildError,
        r"The folder that ROSETTA_CUDA names has no \1 for this platform.",
        "images/cuda.yaml lists what it must hold.",
    ),
    (
        r"mambaorg/micromamba[^\n]*: (?:failed to resolve|pull access denied)",
        UnreachableError,
        "The image micromamba, which installs CUDA, could not be pulled.",
        "Check the network, or set ROSETTA_CUDA to a folder with CUDA's libraries.",
    ),
    (
        r"libmamba[^\n]*(?:Could not solve|nothing provides|do(?:es)? not exist)",
        BuildError,
        "Anaconda's channels no longer have this CUDA.",
        "Set ROSETTA_CUDA to a folder with CUDA's libraries.",
    ),
    (
        r"failed to resolve source metadata|pull access denied|registry-1\.docker\.io",
        UnreachableError,
        "The base image could not be pulled.",
        "Check the network, or load the image by hand with 'docker load' or 'podman load'.",
    ),
    (
        r"Temporary failure|Network is unreachable|Failed to establish a new connection|NewConnectionError"
        r"|ConnectTimeout|ReadTimeout|Connection refused|Could not connect to",
        UnreachableError,
        "The network is unreachable.",
        "Behind a proxy set HTTPS_PROXY, ROSETTA_PIP_CONF and ROSETTA_CA_BUNDLE; without internet ROSETTA_WHEELS.",
    ),
    (
        r"does not have a Release file|404 +Not Found",
        BuildError,
        "Debian has moved the packages of this release to its archive.",
        "Pull the base image again; if it fails again, set a newer base in images/.",
    ),
    (
        r"No matching distribution found for (\S+)",
        BuildError,
        r"The index has no \1, or none for the image's Python.",
        "Check the index that pip uses; if it no longer has the version, make a new lock with 'rosetta lock'.",
    ),
    (
        r"(\S+\.whl) is not a supported wheel|Package '([^']+)' requires a different Python",
        BuildError,
        r"\1\2 is built for another Python than the image's.",
        "Correct 'python' or the version in images/, then 'rosetta lock'.",
    ),
    (
        r"unable to execute '(?:[\w-]+-)?(?:gcc|cc|g\+\+)'|command '(?:[\w-]+-)?gcc' failed",
        BuildError,
        "A package has no wheel for the image's Python, and images have no compiler.",
        "Pin a version that has one in images/, then 'rosetta lock'.",
    ),
)
"""Pattern in the log, kind of error, likely cause and remedy; the first match counts.

Causes may refer to the pattern's groups.
"""


def explained(log: str) -> RosettaError:
    """The error for a failed build, from its log."""
    log = without_secrets(log)
    tail = end_of(log)
    for pattern, kind, cause, remedy in CAUSES:
        if found := re.search(pattern, log):
            return kind("Building the images failed. " + found.expand(cause), tail, remedy)
    return BuildError("Building the images failed.", tail)


def end_of(log: str) -> str:
    """Return the last lines of the failed step, as BuildKit quotes them between rulers; else of the whole log."""
    quoted = re.findall(r"(?ms)^------\n( > \[.*?)^------$", log)
    lines = (quoted[-1] if quoted else log).splitlines()
    return "\n".join(map(in_short, filter(str.strip, lines[-20:])))


def in_short(line: str) -> str:
    """Return both ends of a long line: Podman repeats the whole command before it says what went wrong."""
    return line if len(line) <= LONGEST_LINE else f"{line[:100]} … {line[-200:]}"
