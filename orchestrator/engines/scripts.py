"""Run a script of ours inside an untrusted image, in a container isolated like a cell."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import docker

from orchestrator.engines.client import UNREACHABLE, explain
from orchestrator.engines.isolation import USER, isolation
from orchestrator.errors import BuildError

LARGEST_ANSWER = 16 * 2**20
"""Most bytes of a script's output; the list of a thousand packages takes 100,000."""


def run_script(
    api: docker.APIClient,
    image: str,
    script: Path,
    words: Sequence[str] = (),
    python: str = "python",
    memory: int = 2**30,
    gpus: Mapping[str, Any] | None = None,
) -> bytes:
    """Return the output of a Python script in a container of an image; raises BuildError if the engine can't run one.

    ``words`` are its arguments, ``memory`` is in bytes, ``gpus`` a request from ``isolation.gpu_request``.
    """
    host = api.create_host_config(**isolation(memory), **(gpus or {}))
    try:
        container = api.create_container(
            image,
            ["-B", "-c", script.read_text(encoding="utf-8"), *words],
            entrypoint=[python],
            user=USER,
            host_config=host,
            environment={"HOME": "/tmp"},
            labels={"rosetta": "script"},
        )["Id"]
        return printed(api, container, LARGEST_ANSWER)
    except UNREACHABLE as error:
        raise BuildError(f"{image} could not be inspected.", explain(error)) from None


def printed(api: docker.APIClient, container: str, most: int) -> bytes:
    """Start a created container and return its output, up to ``most`` bytes; it is removed whatever happens."""
    said = bytearray()
    try:
        stream: Any = api.attach(container, stdout=True, stderr=False, stream=True)
        try:
            api.start(container)
            for chunk in stream:
                said += chunk
                if len(said) > most:
                    break
        finally:
            stream._response.close()  # else the engine waits for somebody to read on, and removes nothing
    finally:
        api.remove_container(container, v=True, force=True)
    return bytes(said[:most])
