"""What docker's command says of the context in use: whether it has an engine, and whether it can be read at all."""

import json
import socket

import pytest

from orchestrator.engines.choice import choose_engine
from orchestrator.engines.client import engine_variables
from orchestrator.errors import EngineError

GONE = 'context "mine": context not found: open meta.json: no such file or directory'
MALFORMED = 'context "mine": parsing meta.json: unexpected end of JSON input'


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """Make docker's command answer so, as its 29.0 does: the content of a context, or what is wrong with it."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"):
        monkeypatch.delenv(name, raising=False)

    def says(context: object, wrong: str = "") -> None:
        answer = [] if wrong else [context]
        program = f"#!/bin/sh\ncat <<'END'\n{json.dumps(answer)}\nEND\necho '{wrong}' >&2\nexit {1 if wrong else 0}\n"
        (tmp_path / "docker").write_text(program)
        (tmp_path / "docker").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    return says


@pytest.mark.parametrize(
    "context",
    [
        {"Name": "mine"},
        {"Name": "mine", "Endpoints": None},
        {"Endpoints": {"docker": None}},
        {"Endpoints": {"k8s": {}}},
    ],
)
def test_a_context_without_an_engine_does_not_mean_the_usual_one(context, docker, monkeypatch):
    docker(context)
    with pytest.raises(EngineError, match=r"The current Docker context names no Docker engine\."):
        engine_variables()
    monkeypatch.setenv("DOCKER_CONTEXT", "mine")
    with pytest.raises(
        EngineError, match="The Docker context mine, which DOCKER_CONTEXT names, names no Docker engine"
    ):
        engine_variables()


@pytest.mark.parametrize("endpoint", [{}, {"Host": ""}, {"SkipTLSVerify": False}])
def test_an_endpoint_without_an_address_is_the_usual_one_as_for_docker(endpoint, docker):
    docker({"Name": "mine", "Endpoints": {"docker": endpoint}, "TLSMaterial": None})
    assert engine_variables()["DOCKER_HOST"] == "unix:///var/run/docker.sock"


def test_without_the_command_there_are_no_contexts(monkeypatch, tmp_path):
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert engine_variables()["DOCKER_HOST"] == "unix:///var/run/docker.sock"


@pytest.mark.parametrize(
    ("wrong", "what"),
    [(GONE, "does not exist."), (MALFORMED, "can't be read."), ("permission denied", "can't be read.")],
)
def test_a_context_that_can_not_be_read_is_not_called_one_that_does_not_exist(wrong, what, docker):
    docker(None, wrong)
    with pytest.raises(EngineError) as caught:
        engine_variables()
    assert (caught.value.what, caught.value.why) == (f"The current Docker context {what}", wrong)
    with pytest.raises(EngineError, match="The current Docker context"):
        choose_engine(None)  # it may have meant another machine


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("DOCKER_HOST", "ssh://me@nowhere.invalid", "nowhere.invalid"),
        ("DOCKER_HOST", "tcp://127.0.0.1:9", "tcp://127.0.0.1:9"),
        ("DOCKER_HOST", "gibberish", "DOCKER_HOST"),
        ("DOCKER_HOST", "unix:///nonexistent.sock", "nonexistent.sock"),
        ("DOCKER_CONTEXT", "nope", "nope"),
    ],
)
def test_this_machine_is_no_substitute_for_an_engine_that_is_named(variable, value, told, docker, monkeypatch):
    docker(None, GONE)
    monkeypatch.setenv(variable, value)
    with pytest.raises(EngineError, match=told):
        choose_engine(None)


def test_a_context_of_another_machine_is_not_replaced_either(docker):
    docker({"Name": "mine", "Endpoints": {"docker": {"Host": "tcp://127.0.0.1:9"}}, "TLSMaterial": None})
    with pytest.raises(EngineError, match=r"tcp://127\.0\.0\.1:9"):
        choose_engine(None)


def test_a_context_of_this_machine_without_an_engine_means_plain_processes(docker, tmp_path):
    docker({"Name": "mine", "Endpoints": {"docker": {"Host": f"unix://{tmp_path}/none.sock"}}, "TLSMaterial": None})
    said: list[str] = []
    assert choose_engine(None, said.append).name == "process"
    assert said == [
        f"No Docker engine answers at unix://{tmp_path}/none.sock. Cells run as plain processes instead. "
        "Start Docker, or use --engine process."
    ]


def test_settings_of_docker_that_its_sdk_refuses_are_named_with_their_file(docker, tmp_path, monkeypatch):
    (tmp_path / "config.json").write_text('{"proxies": null}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    said: list[str] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "engine.sock"))
        listening.listen()
        docker({"Name": "mine", "Endpoints": {"docker": {"Host": f"unix://{tmp_path}/engine.sock"}}})
        assert choose_engine(None, said.append).name == "process"
    assert said == [
        "The settings of docker's command have another form than they should. Cells run as plain processes instead. "
        "Correct ~/.docker/config.json, or the one in the folder that DOCKER_CONFIG names."
    ]


@pytest.mark.parametrize(
    "address",
    [
        "ssh://-oProxyCommand=touch${IFS}planted",
        "ssh://-oProxyCommand=touch@host",
        "ssh://me@-host",
        "ssh://",
        "tcp://",
        "unix:/var/run/docker.sock",
        "UNIX:///var/run/docker.sock",
    ],
)
def test_what_ssh_would_take_for_an_option_or_names_no_host_is_no_address(address, docker, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(EngineError, match="DOCKER_HOST is not the address of an engine"):
        choose_engine("docker")
    monkeypatch.delenv("DOCKER_HOST")
    docker({"Name": "mine", "Endpoints": {"docker": {"Host": address}}, "TLSMaterial": None})
    with pytest.raises(EngineError, match="The current Docker context is not the address of an engine"):
        choose_engine("docker")
