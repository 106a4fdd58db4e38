"""What pip says in a real build when a pin can't be had, and what a user is told then."""

import hashlib
import subprocess

import pytest

from orchestrator import images
from orchestrator.errors import BuildError
from orchestrator.images import Framework, Image, Sources
from orchestrator.images.building import run_bake
from tests.unit.test_images import TOY, wheel

pytestmark = [pytest.mark.container, pytest.mark.usefixtures("engine")]


@pytest.mark.parametrize(
    ("version", "tag"),
    [("0.9", "py3-none-any"), ("1.0", "cp36-cp36m-manylinux1_x86_64")],
    ids=["vanished from the index", "made for another Python"],
)
def test_a_pin_that_can_not_be_had_is_named(version, tag, tmp_path, monkeypatch):
    locks, wheels = tmp_path / "images" / "locks", tmp_path / "wheels"
    for folder in (locks, wheels, tmp_path / "workloads"):
        folder.mkdir(parents=True)
    monkeypatch.setattr("orchestrator.images.image.LOCKS", locks)
    (locks / "toy-cpu.txt").write_text(f"toy==1.0 --hash=sha256:{'0' * 64}\n")
    wheel(wheels, "toy", version, tag=tag)
    file = images.bake([Image(Framework.model_validate(TOY), "cpu")], Sources(wheels=wheels))
    target = file["target"]["toy-cpu"]
    target |= {"context": str(tmp_path), "contexts": {"wheels": str(wheels)}, "args": {"PIP_NO_INDEX": "1"}}
    with pytest.raises(BuildError, match=r"The index has no toy==1\.0, or none for the image's Python"):
        run_bake(file, print)


def test_no_layer_keeps_what_a_build_was_given_in_secret(tmp_path, monkeypatch):
    locks, wheels = tmp_path / "images" / "locks", tmp_path / "wheels"
    for folder in (locks, wheels, tmp_path / "workloads"):
        folder.mkdir(parents=True)
    monkeypatch.setattr("orchestrator.images.image.LOCKS", locks)
    made = wheel(wheels, "toy", "1.0")
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    (locks / "toy-cpu.txt").write_text(f"toy==1.0 --hash=sha256:{digest}\n")
    conf = tmp_path / "pip.conf"
    conf.write_text("[global]\nindex-url = http://user:planted-index-password@127.0.0.1:9/simple\nretries = 0\n")
    proxies = (("HTTP_PROXY", "http://user:planted-proxy-password@127.0.0.1:9"), ("NO_PROXY", "127.0.0.1"))
    image = Image(Framework.model_validate(TOY), "cpu")
    file = images.bake([image], Sources(wheels=wheels, pip_conf=conf, proxies=proxies))
    file["target"]["toy-cpu"] |= {"context": str(tmp_path)}
    said: list[str] = []
    run_bake(file, said.append)
    try:
        told = subprocess.run(["docker", "history", "--no-trunc", image.tag], capture_output=True, check=True).stdout
        with subprocess.Popen(["docker", "save", image.tag], stdout=subprocess.PIPE) as saved:
            found, tail = False, b""
            for chunk in iter(lambda: saved.stdout.read(2**20), b""):  # layers and configuration, not compressed
                found, tail = found or b"planted-" in tail + chunk, chunk[-16:]
    finally:
        subprocess.run(["docker", "image", "rm", image.tag], capture_output=True, check=False)
    assert not found
    assert b"planted-" not in told + "\n".join(said).encode()
