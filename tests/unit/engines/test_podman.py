"""What answers at Podman's address may be anything."""

import json
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from orchestrator.engines import podman_service
from orchestrator.engines.choice import podman_engine
from orchestrator.engines.podman import About, about
from orchestrator.errors import EngineError

HOST = {
    "hostname": "node",
    "cgroupControllers": ["memory"],
    "idMappings": {"uidmap": [{"size": 1}, {"size": 65536}], "gidmap": [{"size": 1}, {"size": 30000}]},
    "security": {"rootless": True},
}
TOLD = {"host": HOST, "version": {"Version": "5.4.2"}}


@pytest.fixture
def answering(monkeypatch):
    """Let CONTAINER_HOST name a server that gives a certain answer; return its address."""
    servers = []

    def start(status: int, body: str) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *words):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        where = f"tcp://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("CONTAINER_HOST", where)
        return where

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("name", "taken"),
    [("a" * 80, False), ("日" * 30, False), ("a#b", False), ("a%41", False), ("a\tb", False), ("ab", True)],
)
def test_a_socket_lies_where_its_path_can_be_an_address(name, taken, monkeypatch):
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        folder = Path(place) / name
        folder.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        monkeypatch.setenv("XDG_RUNTIME_DIR", f"{place}/gone")
        assert podman_service.short_folder() == (str(folder) if taken else "/tmp")


def test_podman_is_asked_once_what_it_is(answering):
    answering(200, json.dumps(TOLD))
    engine = podman_engine()
    assert (engine.host, engine.version) == ("node", "Podman 5.4.2, rootless")
    assert "memory: control group" in engine.limits
    engine.api.close()


def test_the_ids_of_a_container_are_the_fewer_of_users_and_groups():
    assert about(TOLD) == About("node", "5.4.2", rootless=True, controllers=("memory",), ids=30001)
    rest = {"hostname": "node", "cgroupControllers": None, "security": {"rootless": False}}
    assert about({**TOLD, "host": rest}).ids == 10002  # rootful: as many as there are
    assert about({**TOLD, "host": rest}).controllers == ()


def test_a_podman_with_too_few_ids_is_refused(answering):
    answering(200, json.dumps({**TOLD, "host": {**HOST, "idMappings": {"uidmap": [{"size": 1}]}}}))
    with pytest.raises(EngineError, match="too few subordinate ids"):
        podman_engine()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (404, "page not found"),  # as Docker answers
        (302, ""),
        (500, "[]"),
        (200, "<html>"),
        (200, "[]"),
        (200, "null"),
        (200, "[" * 100_000),
        (200, json.dumps({**TOLD, "host": None})),
        (200, json.dumps({**TOLD, "version": []})),
        (200, json.dumps({**TOLD, "host": {**HOST, "cgroupControllers": 1}})),
        (200, json.dumps({**TOLD, "host": {**HOST, "idMappings": {"uidmap": [{"size": float("inf")}]}}})),
        (200, json.dumps({**TOLD, "host": {**HOST, "idMappings": {"uidmap": [{"size": "many"}]}}})),
        (200, json.dumps({**TOLD, "host": {**HOST, "idMappings": [1]}})),
    ],
)
def test_what_is_not_podman_is_told_as_such(status, body, answering):
    where = answering(status, body)
    with pytest.raises(EngineError) as caught:
        podman_engine()
    assert caught.value.what == f"What answers at {where} is not Podman."
    assert caught.value.remedy == "Set CONTAINER_HOST to Podman's address, or unset it."


@pytest.mark.parametrize(
    ("address", "proxy"), [("tcp://a..b:1", ""), ("tcp://*:1", ""), ("tcp://203.0.113.5:1", "foo://proxy:1")]
)
def test_an_address_that_nothing_was_asked_at_is_not_told_as_another_engine(address, proxy, monkeypatch):
    monkeypatch.setenv("CONTAINER_HOST", address)
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(EngineError) as caught:
        podman_engine()
    assert caught.value.what == f"No Podman engine answers at {address}."
    assert caught.value.why


@pytest.mark.parametrize(
    "address", ["ssh://x:70000", "ssh://[::1", "ssh://", "ssh://-oproxycommand=id", "tcp://x:99999"]
)
def test_what_is_no_address_is_not_asked(address, monkeypatch):
    monkeypatch.setenv("CONTAINER_HOST", address)
    with pytest.raises(EngineError, match="CONTAINER_HOST is not the address of an engine"):
        podman_engine()


def test_a_long_refusal_is_one_short_line(answering):
    answering(503, "<html>\n" * 3000)
    with pytest.raises(EngineError) as caught:
        podman_engine()
    assert len(caught.value.why) <= 300
    assert "\n" not in caught.value.why


def test_a_refusal_has_podman_s_own_reason(answering):
    where = answering(500, json.dumps({"message": "the storage is locked"}))
    with pytest.raises(EngineError) as caught:
        podman_engine()
    assert (caught.value.what, caught.value.why) == (
        f"Podman at {where} reports an error.",
        "the storage is locked",
    )
