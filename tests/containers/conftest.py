"""What tests with real containers need: the engine, and real data.

ROSETTA_TEST_DATA names a folder with the data sets' original files. Where ROSETTA_REQUIRE_ENGINE=1, as in CI, a test
that would be skipped fails.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from orchestrator.errors import EngineError


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """A client of the engine."""
    from orchestrator.engines.client import connect

    try:
        connect().close()
    except EngineError as error:
        pytest.skip(str(error))
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="session")
def cells_of(engine) -> Callable[[Path], list]:
    """The containers that belong to a results folder: whatever else runs on this engine is no business of a test."""

    def cells(results: Path) -> list:
        mark = (results / ".claims" / "id").read_text()
        every = engine.containers.list(all=True, filters={"label": "rosetta.claim"}, ignore_removed=True)
        return [container for container in every if container.labels["rosetta.claim"].startswith(mark)]

    return cells


@pytest.fixture(scope="session")
def real_data() -> Path:
    """A folder with the original files of the data sets."""
    folder = os.environ.get("ROSETTA_TEST_DATA")
    if not folder:
        pytest.skip("ROSETTA_TEST_DATA names no folder with the data sets' original files")
    return Path(folder)
