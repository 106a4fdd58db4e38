"""Real builds: what a user is told of a pin that can't be had, and what stays of mirrors and secrets."""

import base64
import hashlib
import http.server
import json
import shutil
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests

from orchestrator.errors import BuildError
from orchestrator.images.bakefile import bake
from orchestrator.images.building import run_bake
from orchestrator.images.definitions import Framework
from orchestrator.images.image import Image
from orchestrator.images.proxies import Proxies
from orchestrator.images.sources import Sources
from orchestrator.system import library_folders
from orchestrator.system.checkout import ROOT
from orchestrator.system.library_folders import LibraryFolder
from tests.containers.planted import places
from tests.unit.images.test_images import TOY, wheel

pytestmark = [pytest.mark.container, pytest.mark.usefixtures("engine")]


@pytest.fixture
def toy(tmp_path, monkeypatch) -> Iterator[Callable[..., dict[str, Any]]]:
    """What makes the file to build a toy from, with a checkout and wheels of its own; ``sources`` as for Sources."""
    locks, wheels = tmp_path / "images" / "locks", tmp_path / "wheels"
    for folder in (locks, wheels, tmp_path / "workloads"):
        folder.mkdir(parents=True)
    for name in ("apt-mirror.sh", "fixed-times.sh", "Dockerfile.j2"):
        shutil.copy(ROOT / "images" / name, tmp_path / "images")
    monkeypatch.setattr(library_folders, "PROGRAM", LibraryFolder(tmp_path))
    library_folders.forget()

    def made(definition: Mapping[str, Any] = TOY, version: str = "1.0", tag: str = "py3-none-any", **sources: Any):
        digest = hashlib.sha256(wheel(wheels, "toy", version, tag=tag).read_bytes()).hexdigest()
        (locks / "toy-cpu.txt").write_text(f"toy==1.0 --hash=sha256:{digest}\n")
        image = Image(Framework.model_validate(definition), "cpu")
        file = bake([image], Sources(wheels=wheels, **sources))
        # Anew, with the secrets of now: they are no part of what a layer is found by that was built before.
        anew = {"contexts": {"wheels": str(wheels)}, "no-cache": True}
        file["target"]["toy-cpu"] |= anew
        file["target"]["toy-cpu"]["args"]["PIP_NO_INDEX"] = "1"
        return file

    yield made
    library_folders.forget()


@pytest.mark.parametrize(
    ("version", "tag"),
    [("0.9", "py3-none-any"), ("1.0", "cp36-cp36m-manylinux1_x86_64")],
    ids=["vanished from the index", "built for another Python"],
)
def test_a_pin_that_can_not_be_had_is_named(version, tag, toy):
    with pytest.raises(BuildError, match=r"The index has no toy==1\.0, or none for the image's Python"):
        run_bake(toy(version=version, tag=tag), print)


@contextmanager
def built(file: dict[str, Any]) -> Iterator[Mapping[str, bytes]]:
    """The toy, built: all that was said, its history, and its layers and configuration, not compressed."""
    said: list[str] = []
    run_bake(file, said.append)
    (tag,) = file["target"]["toy-cpu"]["tags"]
    try:
        yield {
            "said": "\n".join(said).encode(),
            "history": subprocess.run(["docker", "history", "--no-trunc", tag], capture_output=True, check=True).stdout,
            "image": subprocess.run(["docker", "save", tag], capture_output=True, check=True).stdout,
        }
    finally:
        subprocess.run(["docker", "image", "rm", tag], capture_output=True, check=False)


def test_no_layer_keeps_what_a_build_was_given_in_secret(toy, tmp_path):
    conf = tmp_path / "pip.conf"
    conf.write_text("[global]\nindex-url = http://user:planted-index-password@127.0.0.1:9/simple\nretries = 0\n")
    with built(toy(pip_conf=conf)) as left:
        assert b"toy-1.0.dist-info" in left["image"]  # a search in it finds something
        assert not [one for name, content in left.items() for one in places(name, content, [b"planted-"])]


THROUGH_APT = {**TOY, "packages": ["-o", "Acquire::Retries=0"]}
"""A toy with a step that would come to the network, and needs nothing from it."""


@pytest.mark.parametrize("where", ["environment", "docker's settings"])
def test_nothing_keeps_the_password_of_a_proxy(where, toy, engine, tmp_path, monkeypatch):
    password = f"planted-{uuid.uuid4().hex}"  # the engine's own files may hold what an earlier test has planted
    proxy = f"http://user:{password}@127.0.0.1:9"
    if where == "environment":
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    else:
        settings = {"proxies": {"default": {"httpProxy": proxy, "noProxy": "127.0.0.1"}}}
        (tmp_path / "docker").mkdir()
        (tmp_path / "docker" / "config.json").write_text(json.dumps(settings))
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    seen = 'case "$http_proxy" in *@127.0.0.1:9) touch /saw-the-proxy;; esac; env >&2; cat /run/secrets/proxies >&2'
    with built(toy({**THROUGH_APT, "setup": [seen]}, proxies=Proxies.here())) as left:
        assert b"toy-1.0.dist-info" in left["image"]
        assert b"saw-the-proxy" in left["image"]
        assert not [one for name, content in left.items() for one in places(name, content, [password.encode()])]
    kept = Path(engine.info()["DockerRootDir"], "buildkit")
    if kept.is_dir():  # its history of builds, with their arguments
        assert any(kept.glob("*.db"))
        assert [path for path in kept.glob("*.db") if password.encode() in path.read_bytes()] == []


def test_a_step_that_fails_repeats_no_password(toy, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://user:planted-proxy-password@127.0.0.1:9")
    failing = 'echo "can not reach $HTTP_PROXY/x?sig=planted-signature"; cat /run/secrets/proxies; exit 3'
    said: list[str] = []
    with pytest.raises(BuildError) as refused:
        run_bake(
            toy({**THROUGH_APT, "setup": [failing]}, proxies=Proxies.here()),
            said.append,
        )
    assert "can not reach http://***@127.0.0.1:9/x?sig=***" in str(refused.value)
    assert "planted" not in str(refused.value) + "".join(said)


class Mirror(http.server.BaseHTTPRequestHandler):
    """Debian's servers behind a password."""

    asked: ClassVar[list[str]] = []
    dated: ClassVar[str] = ""

    def do_GET(self) -> None:
        basic = base64.b64encode(b"user:planted-mirror-password").decode()
        if self.headers.get("Authorization") != f"Basic {basic}":
            self.send_error(401)
            return
        self.asked.append(self.path)
        path = self.path.removeprefix("/mirror").replace(self.dated, "", 1)
        answer = requests.get(f"http://deb.debian.org{path}", timeout=60)
        self.send_response(answer.status_code)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)


@pytest.fixture
def one_line_base() -> Iterator[str]:
    """A base image that names Debian's servers as releases before Debian 12 did, in /etc/apt/sources.list."""
    tag, base = "rosetta-test/one-line-sources:1", "http://deb.debian.org/debian"
    lines = f"deb {base} bookworm main\\ndeb {base}-security bookworm-security main\\n"
    run = f"RUN rm /etc/apt/sources.list.d/* && printf '{lines}' >/etc/apt/sources.list"
    text = f"FROM {TOY['base']}\n{run}\n"
    subprocess.run(["docker", "buildx", "build", "-q", "-t", tag, "-"], input=text.encode(), check=True)
    yield tag
    subprocess.run(["docker", "image", "rm", tag], capture_output=True, check=False)


@pytest.mark.parametrize(("sources", "time"), [("deb822", ""), ("one-line", ""), ("deb822", "20260101T000000Z")])
def test_system_packages_come_from_a_mirror_of_which_nothing_stays(sources, time, one_line_base, toy, monkeypatch):
    dated = f"/{time}" if time else ""
    monkeypatch.setattr(Mirror, "dated", dated)
    monkeypatch.setenv("ROSETTA_APT_SNAPSHOT", time)
    monkeypatch.setattr(Mirror, "asked", [])
    words = ["docker", "network", "inspect", "--format", "{{(index .IPAM.Config 0).Gateway}}", "bridge"]
    gateway = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    with http.server.ThreadingHTTPServer((gateway, 0), Mirror) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://user:planted-mirror-password@{gateway}:{server.server_port}/mirror/debian"
        monkeypatch.setenv("ROSETTA_APT_MIRROR", address)
        base = TOY["base"] if sources == "deb822" else one_line_base
        file = toy({**TOY, "base": base, "packages": ["sl"]}, apt_mirror=True)
        with built(file) as left:
            assert b"usr/games/sl" in left["image"]
            words = [b"planted-", gateway.encode()]
            assert not [one for name, content in left.items() for one in places(name, content, words)]
        server.shutdown()
    assert any(path.endswith(".deb") for path in Mirror.asked)
    assert any(path.startswith(f"/mirror/debian-security{dated}/") for path in Mirror.asked)
    assert all(path.startswith((f"/mirror/debian{dated}/", "/mirror/debian-security")) for path in Mirror.asked)
