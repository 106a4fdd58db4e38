"""A client of the Docker engine, here or on another host."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path

import docker
import requests
from docker.errors import APIError, DockerException
from docker.utils import kwargs_from_env

from orchestrator.engines.tunnel import Tunnel
from orchestrator.errors import EngineError

OLDEST_API = (1, 42)  # Engine 23, the first whose builds take named contexts
SOCKET = Path("/var/run/docker.sock")
UNREACHABLE = (requests.exceptions.RequestException, DockerException, ConnectionError)


class Connection:
    """The way to the engine that ``DOCKER_HOST`` names, else to this machine's own: by ssh it goes through a tunnel.

    ``api`` is a client of the engine. Raises EngineError as ``connect`` does, or if ssh does not come through.
    """

    def __init__(self) -> None:
        where = os.environ.get("DOCKER_HOST", "")
        self.tunnel = Tunnel(where) if where.startswith("ssh://") else None
        self.api = connect(self.variables)

    @property
    def is_local(self) -> bool:
        """Whether the engine is reached through a socket of this machine."""
        return self.tunnel is None and not os.environ.get("DOCKER_HOST", "").startswith("tcp://")

    @property
    def variables(self) -> dict[str, str]:
        """The variables with which docker's own command, which builds, takes the same way."""
        return {**os.environ, **({"DOCKER_HOST": f"unix://{self.tunnel.socket}"} if self.tunnel else {})}

    def restore(self) -> None:
        """Open the tunnel again if it has broken; raises EngineError."""
        if self.tunnel:
            self.tunnel.open()

    def close(self) -> None:
        """Let go of the engine, and end the tunnel."""
        self.api.close()
        if self.tunnel:
            self.tunnel.close()


def connect(variables: Mapping[str, str] = os.environ) -> docker.APIClient:
    """A client of the engine that ``DOCKER_HOST`` names among the variables.

    Raises EngineError that tells no engine, no permission and too old apart.
    """
    where = variables.get("DOCKER_HOST") or f"unix://{SOCKET}"
    try:
        knock(where)
        options = kwargs_from_env(environment=dict(variables))
        api = docker.APIClient(version="auto", timeout=120, max_pool_size=64, **options)
    except PermissionError:
        raise EngineError(
            f"No permission on the Docker engine's socket {where.removeprefix('unix://')}.",
            remedy="Add yourself to the group docker (usermod -aG docker $USER, then log in again).",
        ) from None
    except (OSError, DockerException) as error:
        why = "There is no such socket." if isinstance(error, FileNotFoundError) else explain(error)
        raise EngineError(
            f"No Docker engine answers at {where}.", why, "Start Docker, or use --engine process."
        ) from None
    version = tuple(int(part) for part in str(api.api_version).split("."))
    if version < OLDEST_API:
        raise EngineError(
            f"The Docker engine speaks API {api.api_version}; the oldest that works is 1.{OLDEST_API[1]}.",
            remedy="Update Docker to 23 or newer, or use --engine process.",
        )
    return api


def knock(where: str) -> None:
    """Raise OSError if nobody listens at a local socket: the SDK would say so as well, but leave one open."""
    if where.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(where.removeprefix("unix://"))


def explain(error: Exception) -> str:
    """The short cause in an error of the SDK."""
    if isinstance(error, APIError) and error.explanation:
        return str(error.explanation)
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__
