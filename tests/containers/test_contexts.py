"""Which engine is used: DOCKER_HOST, DOCKER_CONTEXT and the current context mean one engine for all parts of a run."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.engines.client import Connection, engine_variables
from orchestrator.errors import EngineError
from orchestrator.images.bases import PYTHON
from orchestrator.images.building import inspect_images
from orchestrator.system.checkout import ROOT

pytestmark = pytest.mark.container

Docker = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def docker_command(engine, tmp_path, monkeypatch) -> Docker:
    """Docker's command with settings of its own, in which there are no contexts yet, and no other way to an engine."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "settings"))
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"):
        monkeypatch.delenv(name, raising=False)

    def command(*words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["docker", *words], env={**os.environ, **variables}, capture_output=True, text=True, check=True
        )

    return command


@pytest.mark.parametrize("way", ["DOCKER_HOST", "DOCKER_CONTEXT", "current context", "DOCKER_HOST before a context"])
def test_sdk_and_command_use_the_engine_that_the_user_has_chosen(
    way, docker_command, engine, second_engine, monkeypatch
):
    ours = second_engine.private.docker("info", "--format", "{{.ID}}").stdout.decode().strip()
    docker_command("context", "create", "second", "--docker", f"host={second_engine.socket}")
    if way == "current context":
        docker_command("context", "use", "second")
    elif way == "DOCKER_CONTEXT":
        monkeypatch.setenv("DOCKER_CONTEXT", "second")
    else:
        monkeypatch.setenv("DOCKER_HOST", second_engine.socket)
        if "before" in way:
            docker_command("context", "create", "gone", "--docker", "host=unix:///nonexistent.sock")
            monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    connection = Connection()
    try:
        assert connection.api.info()["ID"] == ours != engine.info()["ID"]
        assert docker_command("info", "--format", "{{.ID}}", **connection.variables).stdout.strip() == ours
        assert "DOCKER_CONTEXT" not in connection.variables
        assert connection.is_local
        assert PYTHON in inspect_images([PYTHON], connection.variables)
    finally:
        connection.close()


@pytest.mark.parametrize("way", ["DOCKER_CONTEXT", "current context"])
def test_a_plan_is_for_the_engine_of_the_context(way, docker_command, second_engine, tmp_path):
    second_engine.pretend("l40s")
    docker_command("context", "create", "second", "--docker", f"host={second_engine.socket}")
    variables = {"DOCKER_CONTEXT": "second"} if way == "DOCKER_CONTEXT" else {}
    if not variables:
        docker_command("context", "use", "second")
    words = [sys.executable, "-c", "from orchestrator.cli.main import main; main()", "plan", "--engine", "docker"]
    done = subprocess.run(
        [*words, "--only", "jax/rnn/cuda12/*"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "found 1 × NVIDIA L40S (l40s), driver 570.86.15: " in done.stdout


def test_a_context_that_is_none_is_named(docker_command, monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    with pytest.raises(EngineError) as refused:
        Connection()
    assert refused.value.what == "DOCKER_CONTEXT names gone, which does not exist."
    assert "docker context ls" in refused.value.remedy
    monkeypatch.delenv("DOCKER_CONTEXT")
    settings = tmp_path / "settings" / "config.json"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(json.dumps({"currentContext": "gone"}))
    with pytest.raises(EngineError, match="The current Docker context does not exist"):
        Connection()


def test_a_context_with_certificates_brings_them(docker_command, tmp_path):
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-subj", "/CN=here"]
    made = [*command, "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")]
    subprocess.run(made, capture_output=True, check=True)
    (tmp_path / "ca").write_bytes((tmp_path / "cert").read_bytes())
    files = ",".join(f"{name}={tmp_path / name}" for name in ("ca", "cert", "key"))
    docker_command("context", "create", "far", "--docker", f"host=tcp://127.0.0.1:1,{files}")
    docker_command("context", "use", "far")
    variables = engine_variables()
    assert variables["DOCKER_HOST"] == "tcp://127.0.0.1:1"
    assert variables["DOCKER_TLS_VERIFY"] == "1"
    folder = Path(variables["DOCKER_CERT_PATH"])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        f"{name}.pem": (tmp_path / name).read_bytes() for name in ("ca", "cert", "key")
    }
    with pytest.raises(EngineError, match=r"No Docker engine answers at tcp://127\.0\.0\.1:1"):
        Connection()


def test_containers_get_no_proxy_of_the_users_settings(docker_command, engine, tmp_path):
    settings = tmp_path / "settings" / "config.json"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(json.dumps({"proxies": {"default": {"httpProxy": "http://me:planted-7@127.0.0.1:9"}}}))
    connection = Connection()
    made = connection.api.create_container(PYTHON, ["env"], labels={"rosetta": "test"})["Id"]
    try:
        assert "planted-7" not in json.dumps(connection.api.inspect_container(made))
    finally:
        connection.api.remove_container(made)
        connection.close()
