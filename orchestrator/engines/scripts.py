"""Run a script of ours inside an untrusted image, in a container isolated like a cell."""

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
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
    patience: float = threading.TIMEOUT_MAX,
) -> bytes:
    """Return the output of a Python script in a container of an image; raises BuildError if the engine can't run one.

    ``words`` are its arguments, ``memory`` is in bytes, ``gpus`` a request from ``isolation.gpu_request``. After
    ``patience`` seconds it is killed.
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
        return printed(api, container, LARGEST_ANSWER, patience)
    except UNREACHABLE as error:
        raise BuildError(f"{image} could not be inspected.", explain(error)) from None


def printed(api: docker.APIClient, container: str, most: int, patience: float = threading.TIMEOUT_MAX) -> bytes:
    """Start a created container and return its output, up to ``most`` bytes; it is removed whatever happens.

    Raises BuildError if it was killed, after ``patience`` seconds.
    """
    said, late = bytearray(), threading.Event()
    deadline = threading.Timer(patience, kill_late, (api, container, late))
    deadline.daemon = True
    try:
        stream: Any = api.attach(container, stdout=True, stderr=False, stream=True)
        try:
            api.start(container)
            deadline.start()
            for chunk in stream:
                said += chunk
                if len(said) > most:
                    break
        finally:
            stream._response.close()  # else the engine waits for somebody to read on, and removes nothing
    finally:
        deadline.cancel()
        api.remove_container(container, v=True, force=True)
    if late.is_set():
        raise BuildError("The container was killed.", f"It did not answer within {patience:,.0f} s.")
    return bytes(said[:most])


def kill_late(api: docker.APIClient, container: str, late: threading.Event) -> None:
    """Kill a container whose time is over, and set ``late``."""
    late.set()
    with suppress(*UNREACHABLE):
        api.kill(container)
