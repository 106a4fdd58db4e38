"""An engine on another host, by ssh: this machine plays that host, with an ssh daemon of the test's own."""

import os
import socket

import pytest

from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Status
from orchestrator.engines.docker import DockerEngine
from orchestrator.engines.protocol import Task
from orchestrator.engines.tunnel import Tunnel
from orchestrator.errors import EngineError
from orchestrator.images.building import inspect_images
from tests.containers.test_docker_engine import BASE, Probe

pytestmark = pytest.mark.container


def test_cells_run_through_a_tunnel_that_is_opened_again_when_it_breaks(address, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", address)
    docker_engine = DockerEngine()
    tunnel = docker_engine.connection.tunnel
    there = inspect_images([BASE], docker_engine.connection.variables)  # as builds do, by a program of its own
    assert list(there) == [BASE]
    assert os.environ["DOCKER_HOST"] == address
    task = Task(Cell("pytorch", "rnn"), Probe(BASE), "key", "run")
    # The bare image has no harness: that it says so shows that its output came through.
    outcome = docker_engine.run(task, lambda event: None)
    assert (outcome.status, outcome.reason[:14]) == (Status.FAILED, "exit code 127:")
    tunnel._ssh.kill()
    tunnel._ssh.wait()
    assert docker_engine.run(task, lambda event: None).reason[:14] == "exit code 127:"
    docker_engine.connection.close()
    assert not tunnel.socket.exists()


def test_a_tunnel_ends_with_its_orchestrator(address):
    tunnel = Tunnel(address)
    tunnel._ssh.stdin.close()  # as the kernel does for one that is killed
    assert tunnel._ssh.wait(10) == 0
    tunnel.close()


def test_an_address_where_nobody_listens_is_told_with_its_remedy(address):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with pytest.raises(EngineError, match="No engine answers at") as told:
        Tunnel(f"ssh://127.0.0.1:{port}")
    assert "Connection refused" in told.value.why
    assert f"ssh -p {port} 127.0.0.1 docker version" in told.value.remedy
