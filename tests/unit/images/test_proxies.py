"""Proxies of builds: one with a password is a secret, for each step that comes to the network."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from orchestrator.images.bakefile import bake, printed
from orchestrator.images.image import dockerfile, every_image, image_for
from orchestrator.images.proxies import SECRET, VARIABLE, Proxies, with_secret
from orchestrator.images.sources import Sources

NETWORK = re.compile(r"(?s)RUN .*(apt-get (update|install)|pip .*install|curl|micromamba|cuda-stage.sh|id=ca\b)")
SECRET_ONE = "http://me:it's a p@ss@proxy:3128"


@pytest.fixture
def dockers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with the settings of docker's command."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path / "config.json"


def steps(text: str) -> list[str]:
    """The instructions of a Dockerfile, comments left out."""
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    return re.split(r"\n(?=[A-Z]+ )", lines)


@pytest.mark.parametrize("image", every_image(), ids=lambda image: image.name)
def test_every_step_that_comes_to_the_network_reads_the_secret(image) -> None:
    plain, changed = steps(dockerfile(image)), steps(with_secret(dockerfile(image)))
    for before, after in zip(plain, changed, strict=True):
        if NETWORK.match(before):
            mount, reading = f"--mount=type=secret,id={SECRET} \\\n    ", f". /run/secrets/{SECRET} \\\n && "
            assert re.match(rf"RUN {re.escape(mount)}(--mount=\S+ \\\n    )+{re.escape(reading)}", after)
            assert after.replace(mount, "").replace(reading, "") == before
        else:
            assert after == before


def test_a_proxy_with_a_password_is_no_argument(dockers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", SECRET_ONE)
    monkeypatch.setenv("no_proxy", "here")
    image = image_for("jax", "cpu")
    assert image is not None
    target = bake([image])["target"]["jax-cpu"]
    assert "HTTPS_PROXY" not in target["args"]
    assert f"id={SECRET},env={VARIABLE}" in target["secret"]
    assert "p@ss" not in json.dumps(target) + printed([image])
    assert target["dockerfile-inline"] == with_secret(dockerfile(image)) != dockerfile(image)
    assert target["labels"]["rosetta.recipe"] == image.recipe
    lines = Proxies.here().variables[VARIABLE]
    names = ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "HTTP_PROXY")
    ask = lines + "".join(f'echo "{name}=${name}"\n' for name in names)
    said = subprocess.run(
        ["sh", "-c", ask], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True
    )
    assert said.stdout.splitlines() == [
        f"HTTPS_PROXY={SECRET_ONE}",
        f"https_proxy={SECRET_ONE}",
        "NO_PROXY=here",
        "no_proxy=here",
        "HTTP_PROXY=",
    ]


def test_a_proxy_without_a_password_changes_no_layer(dockers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert Proxies.here().variables == {}
    assert Proxies.here().arguments == {"HTTPS_PROXY": "http://proxy:3128"}
    assert bake([image_for("jax", "cpu")])["target"]["jax-cpu"]["dockerfile-inline"] == dockerfile(
        image_for("jax", "cpu")
    )


def test_the_settings_of_dockers_command_are_a_secret_too(dockers: Path) -> None:
    dockers.write_text(json.dumps({"proxies": {"default": {"httpProxy": SECRET_ONE, "noProxy": "here"}}}))
    assert Proxies.here().arguments == {"HTTP_PROXY": "", "http_proxy": "", "NO_PROXY": "", "no_proxy": ""}
    assert "export http_proxy=" in Proxies.here().variables[VARIABLE]
    assert "HTTP_PROXY" in bake([image_for("jax", "cpu")], Sources.from_environment())["target"]["jax-cpu"]["args"]


def test_settings_in_another_case_are_those_of_dockers_command_too(dockers: Path) -> None:
    dockers.write_text(json.dumps({"PROXIES": {"default": {"HTTPPROXY": SECRET_ONE}}}))
    assert Proxies.here().are_secret
    assert SECRET_ONE not in json.dumps(Proxies.here().arguments)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"proxies": 3}', '{"proxies": {"default": 3}}', "[" * 9000, "\udcff"])
def test_settings_that_are_none_name_no_proxy(text: str, dockers: Path) -> None:
    dockers.write_bytes(text.encode(errors="surrogateescape"))
    assert Proxies.here() == Proxies()
