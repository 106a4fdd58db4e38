"""The page server: who may read, and how long a connection is held."""

import http.client
import socket
import threading
from collections.abc import Iterator

import pytest

from orchestrator.errors import ResultError
from orchestrator.report.site import serving
from orchestrator.report.site.serving import Server, Watched, handler, is_named


@pytest.fixture
def port(tmp_path, monkeypatch) -> Iterator[int]:
    """A server whose patience with browsers is short."""
    answers = handler(Watched(tmp_path), "127.0.0.1")
    answers.timeout = 0.5  # type: ignore[attr-defined]
    server = Server(("127.0.0.1", 0), answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def status(port: int, host: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/live.json", headers={"Host": host})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1", "[::1]:8080", "192.0.2.7:80", "LOCALHOST."])
def test_this_machine_by_its_own_names_is_answered(port, host):
    assert status(port, host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", ""]
)
def test_a_name_of_somebody_else_is_not_answered(port, host):
    assert status(port, host) == 421


def test_a_machine_that_listens_by_a_name_is_answered_by_it():
    assert is_named("gpu7.lab:8080", "gpu7.lab")
    assert is_named(f"{socket.gethostname()}:8080", "0.0.0.0")
    assert not is_named("gpu8.lab", "gpu7.lab")


def test_a_page_that_is_not_there_says_so_and_leads_back(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/cells/%3Cscript%3E.html", headers={"Host": "localhost"})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert (answer.status, answer.getheader("Content-Type")) == (404, "text/html; charset=utf-8")
    assert "<title>No such page · Rosetta Matrix</title>" in text
    assert 'href="../index.html"' in text
    assert "<script>" not in text


def test_a_browser_that_says_nothing_is_let_go(port):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as silent:
        silent.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        assert silent.recv(100) == b""  # closed, without an answer


def test_silent_browsers_keep_nobody_out(port):
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(serving.MOST_AT_A_TIME + 8)]
    assert status(port, "localhost") == 200
    for each in silent:
        each.close()


def test_a_single_file_is_not_served_and_says_what_to_do(tmp_path):
    file = tmp_path / "merged.parquet"
    file.touch()
    with pytest.raises(ResultError, match="Only a results folder can be served") as refused:
        serving.serve(file, "127.0.0.1", 0, print)
    assert "Without --serve" in refused.value.remedy
