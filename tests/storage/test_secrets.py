"""A whole way with secrets in the environment: run in a container, push, pull, merge, print. None of them stays."""

import json
import subprocess
from pathlib import Path

import docker
import pytest

from orchestrator.results.files import read_results
from orchestrator.results.paths import MERGED
from tests.containers.conftest import engine  # noqa: F401 (a fixture)
from tests.storage.conftest import Container
from tests.storage.folders import files
from tests.storage.test_azurite import no_secrets

pytestmark = [pytest.mark.container, pytest.mark.storage]


def test_no_secret_of_the_caller_reaches_an_image_a_result_a_log_a_table_or_a_page(
    container: Container,
    engine: docker.DockerClient,  # noqa: F811
    tmp_path: Path,
) -> None:
    account, here, there = container.account, tmp_path / "here", tmp_path / "there"
    planted = {"AZURE_STORAGE_SAS_TOKEN": account.sas(), "AZURE_STORAGE_KEY": account.key}
    cell = ("--only", "pytorch/rnn/cpu", "--profile", "quick", "--samples", "128", "--epochs", "1")
    for words in (
        ("run", *cell, "--engine", "docker", "--results", here),
        ("sync", "push", container.location, "--results", here),
        ("sync", "pull", container.location, "--results", there),
        ("merge", there),
        ("table", "--markdown", "--results", there),
        ("report", there, "-o", tmp_path / "site"),
    ):
        done = account.rosetta(*words, **planted)
        assert done.returncode == 0, done.stdout + done.stderr
    (row,) = read_results(there / MERGED).to_pylist()
    assert row["status"] == "ok"
    image = json.dumps(engine.images.get(row["image"]).attrs)
    history = subprocess.run(
        ["docker", "history", "--no-trunc", row["image"]], capture_output=True, text=True, check=True
    )
    written = [content.decode("latin-1") for _, content in files(tmp_path)]
    no_secrets(account, [*account.said, *written, json.dumps(row, default=str), image, history.stdout], planted)
