"""Images for Podman: built by ``podman build`` from the input of ``docker buildx bake``, or loaded from archives."""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
from docker.errors import NotFound

from orchestrator.engines.client import UNREACHABLE, Connection, explain
from orchestrator.errors import BuildError, EngineError
from orchestrator.images import records
from orchestrator.images.bakefile import bake, workloads_digest
from orchestrator.images.bases import LABEL, Base, bases_of, described
from orchestrator.images.building import bases_among, explained, is_current, labels_of, names_of_bases, running
from orchestrator.images.image import EPOCH, Image
from orchestrator.images.pins import digests
from orchestrator.images.proxies import Proxies
from orchestrator.images.saved import archive_of, sum_of
from orchestrator.system.addresses import without_secrets
from orchestrator.system.terminal import Say, plain


def inspected(api: docker.APIClient, tags: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return what Podman knows of the images that it has, by tag; raises EngineError if it does not answer.

    Podman gives a digest to whatever it loads, so only a locked digest tells where an image is from.
    """
    found: dict[str, dict[str, Any]] = {}
    try:
        for tag in dict.fromkeys(tags):
            with suppress(NotFound):
                told, locked = dict(api.inspect_image(tag)), digests().get(tag)
                known = [digest for digest in told.get("RepoDigests") or () if locked and digest.endswith(f"@{locked}")]
                found[tag] = {**told, "RepoDigests": known}
    except UNREACHABLE as error:
        raise EngineError("The Podman engine does not answer.", explain(error), "Start it again.") from None
    return found


def supplied(connection: Connection, wanted: Sequence[Image], say: Say) -> Mapping[str, str]:
    """Load or build the images that are missing or out of date, one after the other; returns their ids by tag.

    Raises BuildError or another RosettaError with the likely cause; there is no fallback to another engine.
    """
    api, images = connection.api, list(dict.fromkeys(wanted))
    there = inspected(api, [*(image.tag for image in images), *names_of_bases(images)])
    bases = bases_among(there, images)
    ids = {}
    for image in images:
        scripts = workloads_digest(image)
        if is_current(there.get(image.tag), image, scripts, bases):
            ids[image.tag] = str(there[image.tag]["Id"])
            continue
        if sum_of(image) is not None:
            say(f"{image.tag}: loading its archive")
            ids[image.tag] = load(api, image)
        else:
            ids[image.tag] = build(connection, image, bases, say)
        records.note(ids[image.tag], image.recipe, scripts)
    return ids


def load(api: docker.APIClient, image: Image) -> str:
    """Load an image saved elsewhere whose checksum matches; raises BuildError, ResultError or DiskError."""
    untyped: Any = api
    with archive_of(image) as archived:
        try:
            said = [line for line in untyped.load_image(archived.pieces()) if "error" in line]
            found = inspected(api, [image.tag]).get(image.tag)
        except UNREACHABLE as error:
            raise BuildError(f"Podman could not load {image.tag}.", explain(error)) from None
        if said or found is None or found["Id"] != archived.id:
            why = str(plain(said[0]["error"]))[:300] if said else "Another image has that name now."
            raise BuildError(f"Podman could not load {image.tag}.", why)
    return str(archived.id)


def build(connection: Connection, image: Image, bases: Mapping[str, Base], say: Say) -> str:
    """Build an image; returns its id. Raises BuildError with the end of the log."""
    if not connection.is_local:
        remedy = "Set ROSETTA_IMAGES to a folder with its archive, written by 'rosetta images save'."
        raise BuildError(f"{image.tag} can't be built on another machine's Podman.", remedy=remedy)
    target = bake([image], bases=bases)["target"][image.name]
    say(f"{image.name}: building")
    with tempfile.TemporaryDirectory() as folder:
        file, told = Path(folder, "Dockerfile"), Path(folder, "id")
        file.write_text(target["dockerfile-inline"], encoding="utf-8")
        variables = {**connection.variables, **Proxies.here().variables}
        log = []
        with running(build_command(target, file, told), "", variables) as process:
            assert process.stdout is not None
            for line in process.stdout:
                log.append(without_secrets(line.rstrip()))
        if process.returncode != 0:
            raise explained("\n".join(log))
        return told.read_text(encoding="utf-8").strip()


def build_command(target: Mapping[str, Any], file: Path, told: Path) -> list[str]:
    """Return the build command for a bake target, its Dockerfile in ``file``; it writes the image id to ``told``."""
    words = ["podman", "build", f"--file={file}", f"--iidfile={told}", f"--timestamp={EPOCH}"]
    words += [f"--platform={platform}" for platform in target["platforms"]]
    words += [f"--build-context={name}={place}" for name, place in target["contexts"].items()]
    words += [f"--build-arg={name}={value}" for name, value in target["args"].items()]
    words += [f"--label={name}={value}" for name, value in target["labels"].items()]
    words += [f"--secret={secret}" for secret in target["secret"]]
    words += [f"--tag={tag}" for tag in target["tags"]]
    return [*words, target["context"]]


def built_on(api: docker.APIClient, image: Image) -> str:
    """Return the bases that an image is, or will be, built on."""
    there = inspected(api, [image.tag, *bases_of(image)])
    known = labels_of(there.get(image.tag)).get(LABEL, "")
    return described(bases_of(image), bases_among(there, [image]), known)
