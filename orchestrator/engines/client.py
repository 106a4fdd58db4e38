"""A client of the Docker engine, here or on another host."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import docker
import requests
from docker.errors import APIError, DockerException, InvalidConfigFile
from docker.utils import kwargs_from_env

from orchestrator.engines.sockets import knock
from orchestrator.engines.tunnel import Tunnel
from orchestrator.errors import EngineError
from orchestrator.system.addresses import printable, without_secrets

OLDEST_API = (1, 42)  # Engine 23, the first whose builds take named contexts
PODMAN_API = "1.41"  # of Podman 4 and 5, which take 0.1 s to tell it
SOCKET = Path("/var/run/docker.sock")
UNREACHABLE = (requests.exceptions.RequestException, DockerException, ConnectionError)
SCHEMES = ("unix", "tcp", "ssh", "http", "https", "npipe")


class Connection:
    """A connection to the engine that docker's command uses, see ``engine_variables``; over ssh it takes a tunnel.

    ``api`` is a client of the engine. Given ``variables``, whose DOCKER_HOST names it, the engine is Podman. Raises
    EngineError as ``connect`` does, or if ssh can't connect.
    """

    def __init__(self, variables: Mapping[str, str] | None = None) -> None:
        self._variables = dict(variables) if variables is not None else engine_variables()
        where = self._variables["DOCKER_HOST"]
        self.is_local = where.startswith("unix://")
        self.tunnel = Tunnel(where) if where.startswith("ssh://") else None
        self.api = connect(self.variables) if variables is None else client_of(self.variables, "Podman", PODMAN_API)

    @property
    def variables(self) -> dict[str, str]:
        """The environment with which docker's own command, which builds, uses the same connection."""
        return {**self._variables, **({"DOCKER_HOST": f"unix://{self.tunnel.socket}"} if self.tunnel else {})}

    def restore(self) -> None:
        """Open the tunnel again if it has broken; raises EngineError."""
        if self.tunnel:
            self.tunnel.open()

    def close(self) -> None:
        """Close the client and the tunnel."""
        self.api.close()
        if self.tunnel:
            self.tunnel.close()


def engine_variables() -> dict[str, str]:
    """Return this process's environment with DOCKER_HOST set to the engine that docker's command would use.

    That is ``DOCKER_HOST``, else the context that ``DOCKER_CONTEXT`` names, else the current context. Docker's command
    is asked, so that it and the SDK can't disagree. Raises EngineError.
    """
    rest = {name: value for name, value in os.environ.items() if name != "DOCKER_CONTEXT"}
    if where := os.environ.get("DOCKER_HOST"):
        refuse_malformed(where)
        return rest
    context = context_of_docker()
    if context is None:  # without the command there are no contexts
        return {**rest, "DOCKER_HOST": f"unix://{SOCKET}"}
    endpoint = part(context, "Endpoints", "docker")
    if endpoint is None:
        remedy = "Say which: 'docker context update NAME --docker host=…'; or choose another: 'docker context ls'."
        raise EngineError(f"{named_context()} names no Docker engine.", "It has no endpoint for docker.", remedy)
    rest["DOCKER_HOST"] = str(endpoint.get("Host") or f"unix://{SOCKET}")
    refuse_malformed(rest["DOCKER_HOST"], named_context())
    if (part(context, "TLSMaterial") or {}).get("docker"):
        rest["DOCKER_CERT_PATH"] = str(Path(context["Storage"]["TLSPath"], "docker"))
        rest["DOCKER_TLS_VERIFY"] = "" if endpoint.get("SkipTLSVerify") else "1"
    return rest


def part(context: Mapping[str, Any], *names: str) -> dict[str, Any] | None:
    """Return a part of a context; None if it has none of that name, or something else in its place."""
    found: Any = context
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, dict) else None


def named_context() -> str:
    """Return what the context in use is to be called in a sentence."""
    name = os.environ.get("DOCKER_CONTEXT")
    return f"The Docker context {name}, which DOCKER_CONTEXT names," if name else "The current Docker context"


def context_of_docker() -> dict[str, Any] | None:
    """Return the current context of docker's command, None without that; raises EngineError if docker can't read it."""
    try:
        done = subprocess.run(["docker", "context", "inspect"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    try:
        (context,) = json.loads(done.stdout)
    except ValueError:
        context = None
    if isinstance(context, dict):
        return context
    name, why = os.environ.get("DOCKER_CONTEXT"), without_secrets(done.stderr.strip())[:300]
    choose = "correct DOCKER_CONTEXT, or unset it." if name else "choose one with 'docker context use'."
    if "not found" not in why:
        remedy = f"Correct its file, or make it anew with 'docker context create'; else {choose}"
        raise EngineError(f"{named_context()} can't be read.", why, remedy)
    what = (
        f"DOCKER_CONTEXT names {name}, which does not exist." if name else "The current Docker context does not exist."
    )
    raise EngineError(what, why, f"Run 'docker context ls' for a list; {choose}")


def refuse_malformed(where: str, named: str = "DOCKER_HOST") -> None:
    """Raise EngineError if this can't be an engine's address; the message omits it, as it may hold a password."""
    try:
        parts = urlsplit(where)
        _ = parts.port
    except ValueError:
        scheme = ""
    else:
        scheme = parts.scheme if where.startswith(f"{parts.scheme}://") and not is_option(parts) else ""
        scheme = scheme if parts.hostname or scheme == "unix" else ""
    if scheme not in SCHEMES:
        remedy = "Write it like unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST."
        raise EngineError(f"{named} is not the address of an engine.", remedy=remedy)


def is_option(parts: SplitResult) -> bool:
    """Whether ssh would take a host or user for one of its options, which can run programs."""
    return any(word and word.startswith("-") for word in (parts.hostname, parts.username))


class Client(docker.APIClient):
    """The SDK's client, without what our containers don't need: the user's proxies, which may hold a password."""

    def create_container(self, *arguments: Any, **named: Any) -> Any:
        """Create a container without the proxies in the settings of docker's command."""
        return super().create_container(*arguments, **{"use_config_proxy": False, **named})

    def _check_is_tty(self, container: str) -> bool:
        """Return False: none of our containers has a terminal, and asking takes Podman as long as creating one."""
        return False


def connect(variables: Mapping[str, str] | None = None) -> docker.APIClient:
    """Return a client of the Docker engine in ``DOCKER_HOST`` of the variables, by default ``engine_variables()``.

    Raises EngineError, with distinct messages for no engine, no permission, too old and not Docker.
    """
    variables = engine_variables() if variables is None else variables
    api = client_of(variables)
    if is_podman(api):
        raise EngineError(
            f"{printable(variables['DOCKER_HOST'])} is Podman, not Docker.",
            remedy="Use --engine podman; set CONTAINER_HOST if its engine is not at Podman's default address.",
        )
    version = tuple(int(part) for part in str(api.api_version).split("."))
    if version < OLDEST_API:
        raise EngineError(
            f"The Docker engine speaks API {api.api_version}, but 1.{OLDEST_API[1]} or newer is needed.",
            remedy="Update Docker to 23 or newer, or use --engine process.",
        )
    return api


def is_podman(api: docker.APIClient) -> bool:
    """Return whether the engine behind Docker's API is Podman, which reports a fixed API version of its own."""
    return any(str(part.get("Name", "")).startswith("Podman") for part in api.version().get("Components") or ())


PERMISSION: Mapping[str, str] = {
    "Docker": "Add yourself to the group docker (usermod -aG docker $USER, then log in again).",
    "Podman": "It belongs to another user; unset CONTAINER_HOST to use your own.",
}
"""The remedy where the user may not use an engine's socket."""


def client_of(variables: Mapping[str, str], engine: str = "Docker", version: str = "auto") -> docker.APIClient:
    """Return a client of whatever speaks Docker's API at ``DOCKER_HOST``; raises EngineError if nothing answers.

    With a ``version`` of the API, the engine is not asked for its own.
    """
    where = variables["DOCKER_HOST"]
    try:
        knock(where)
        options = kwargs_from_env(environment=dict(variables))
        return Client(version=version, timeout=120, max_pool_size=64, **options)
    except PermissionError:
        raise EngineError(
            f"No permission to use the {engine} engine's socket {where.removeprefix('unix://')}.",
            remedy=PERMISSION[engine],
        ) from None
    except (AttributeError, TypeError, RecursionError, InvalidConfigFile):  # of the SDK's own reading
        raise EngineError(
            "The settings of docker's command have another form than they should.",
            remedy="Correct ~/.docker/config.json, or the one in the folder that DOCKER_CONFIG names.",
        ) from None
    except (OSError, DockerException, ValueError) as error:
        why = "There is no such socket." if isinstance(error, FileNotFoundError) else explain(error)
        raise EngineError(
            f"No {engine} engine answers at {printable(where)}.", why, f"Start {engine}, or use --engine process."
        ) from None


def explain(error: Exception) -> str:
    """Return a short cause from an error of the SDK."""
    said = (isinstance(error, APIError) and error.explanation) or error
    return without_secrets(" ".join(str(said).split()))[:300] or type(error).__name__
