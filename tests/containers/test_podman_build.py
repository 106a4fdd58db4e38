"""A real build by rootless Podman, on a node that has no Docker, and what it keeps of a proxy's password."""

import json
import subprocess
import uuid
from collections.abc import Iterator

import pytest

from benchmarks import nothing
from orchestrator.errors import BuildError
from tests.containers.node import Node, running_node
from tests.containers.planted import places

pytestmark = [pytest.mark.container, pytest.mark.usefixtures("engine")]

DOCKERFILE = r"""
FROM {{ base }}
RUN --mount=type=secret,id=ca \
    case "$http_proxy" in *@127.0.0.1:9) touch /saw-the-proxy ;; esac \
 && echo "can not reach $http_proxy" && cat /run/secrets/proxies
ENV SEARCHED=to-be-found
COPY workloads/nothing.sh /
"""
"""A step that comes to the network as far as the program knows, and says and uses what it was given in secret."""

BUILD = ("build", "--engine", "podman", "--only", "waits-1/rnn/cpu")
TAG = nothing.TAGS[0]


FAILS = DOCKERFILE.replace("cat /run/secrets/proxies", "exit 3")


@pytest.fixture
def node(tmp_path, request) -> Iterator[Node]:
    """A node whose checkout has one small image, with the base of that in Podman."""
    images = tmp_path / "images"
    images.mkdir()
    checkout = nothing.checkout(tmp_path / "checkout", [1])
    (checkout / "images" / "Dockerfile.j2").write_text(request.param)
    subprocess.run(["docker", "save", "--output", str(images / "base"), nothing.BASE], check=True, capture_output=True)
    (images / "base").chmod(0o644)
    with running_node(images, checkout) as running:
        assert running.run("podman", "load", "--input", "/images/base").returncode == 0
        yield running


def proxy_with(password: str) -> dict[str, str]:
    """Variables that name a proxy which nobody answers."""
    return {"HTTP_PROXY": f"http://user:{password}@127.0.0.1:9", "ROSETTA_IMAGES": ""}


def holding(node: Node, word: str) -> list[str]:
    """The files of the node that hold a word: Podman's, its user's and the program's."""
    return node.run("grep", "-rlF", word, "/scratch", "/home", user="root").stdout.splitlines()


@pytest.mark.parametrize("node", [DOCKERFILE], indirect=True, ids=["Dockerfile"])
def test_podman_builds_and_nothing_keeps_the_password_of_a_proxy(node):
    password = f"planted-{uuid.uuid4().hex}"
    built = node.rosetta(*BUILD, **proxy_with(password))
    assert built.returncode == 0, built.stderr
    assert built.stdout.splitlines()[-1].split()[0] == TAG
    told = json.loads(node.run("podman", "inspect", TAG).stdout)[0]
    assert told["Config"]["Labels"]["rosetta.recipe"]
    saved = node.run("podman", "save", "--quiet", "--output", "/scratch/saved", TAG)
    assert saved.returncode == 0, saved.stderr
    left = {
        "said": (built.stdout + built.stderr).encode(),
        "configuration": json.dumps(told).encode(),
        "history": node.run("podman", "history", "--no-trunc", "--format=json", TAG).stdout.encode(),
        "image": node.read("/scratch/saved"),
    }
    assert b"saw-the-proxy" in left["image"]
    assert not [one for name, content in left.items() for one in places(name, content, [password.encode()])]
    finds = {name for name, content in left.items() if list(places(name, content, [b"to-be-found"]))}
    assert finds >= {"configuration", "history", "image"}
    assert holding(node, "to-be-found")
    assert holding(node, password) == []


@pytest.mark.parametrize("node", [FAILS], indirect=True, ids=["Dockerfile"])
def test_a_build_of_podman_s_that_fails_says_why_without_a_password_and_no_other_engine_takes_over(node):
    failed = node.rosetta(*BUILD, **proxy_with("planted-password"))
    assert failed.returncode == BuildError.exit_code
    assert "can not reach http://***@127.0.0.1:9" in failed.stderr
    assert "planted" not in failed.stdout + failed.stderr
    assert node.run("podman", "image", "exists", TAG).returncode == 1
