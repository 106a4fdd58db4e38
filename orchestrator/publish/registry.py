"""Registry access through the engine. Logins are docker's own settings; this program handles no credentials."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import docker
from docker.errors import DockerException, ImageNotFound, NotFound

from orchestrator.engines.client import UNREACHABLE, explain
from orchestrator.errors import RefusedError, RegistryError
from orchestrator.images.image_names import ImageName
from orchestrator.system.terminal import one_line

REFUSED = re.compile(r"\bdenied\b|unauthorized|forbidden|insufficient_scope|authenticat|credential|password", re.I)
"""What registries say to a login that they don't know, or that may not do this."""


def digest_of(api: docker.APIClient, name: str) -> str | None:
    """The digest that a tag has in its registry, or None if it has none yet.

    Raises RefusedError if the registry does not tell, RegistryError.
    """
    try:
        return str(api.inspect_distribution(name)["Descriptor"]["digest"])
    except NotFound:
        return None
    except UNREACHABLE as error:
        raise failed(name, error) from None


def own_digests(api: docker.APIClient, image: str) -> set[str]:
    """Return the digests under which registries have this very image, as far as the engine knows."""
    found = api.inspect_image(image)["RepoDigests"] or []
    return {str(name).rpartition("@")[2] for name in found}


def push(api: docker.APIClient, repository: str, tag: str) -> str:
    """Push a tag that the engine has; returns its digest. Raises RegistryError."""
    name = f"{repository}:{tag}"
    lines = followed(name, lambda: api.push(repository, tag=tag, stream=True, decode=True))
    told = [line["aux"]["Digest"] for line in lines if "Digest" in (line.get("aux") or {})]
    digest = told[-1] if told else digest_of(api, name)  # an engine with containerd's image store tells none
    if digest is None:
        raise RegistryError(f"The registry reports no digest for {name}.")
    return str(digest)


def pull(api: docker.APIClient, reference: ImageName) -> Mapping[str, Any]:
    """Pull by digest; returns what the engine knows of the image. Raises RegistryError."""
    name, digest = reference.repository, reference.digest
    list(followed(reference.pullable, lambda: api.pull(name, tag=digest, stream=True, decode=True)))
    return dict(api.inspect_image(reference.pullable))


def known(api: docker.APIClient, name: str) -> Mapping[str, Any] | None:
    """Return what the engine knows of an image, by its digest or id; None if the engine lacks it."""
    try:
        return dict(api.inspect_image(name))
    except ImageNotFound:
        return None


def followed(name: str, start: Any) -> Iterable[Mapping[str, Any]]:
    """The engine's lines about a push or pull, which also say whether it failed."""
    lines: list[Mapping[str, Any]] = []
    try:
        for line in start():
            if "error" in line:
                raise DockerException(str(line["error"]))
            lines.append(line)
    except UNREACHABLE as error:
        raise failed(name, error) from None
    return lines


def failed(name: str, error: Exception) -> RegistryError:
    """The error for a registry that did not do what it was asked to."""
    why = one_line(explain(error))
    if REFUSED.search(why):
        remedy = "Run 'docker login HOST' with an account that may do it; Docker keeps the credentials."
        return RefusedError(f"The registry refuses {name} to this login.", f"It says: {why}.", remedy)
    return RegistryError(f"The registry failed for {name}.", why, "Check the network and the name.")
