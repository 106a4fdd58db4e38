"""README's way from a run to somebody else's: published to a real registry, every local image deleted, reproduced."""

import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import docker
import pytest

from benchmarks.private_engine import PrivateEngine
from orchestrator.images.building import build_images
from orchestrator.images.image import image_for
from orchestrator.images.image_names import ImageName
from orchestrator.publish import publishing
from orchestrator.publish import registry as remote
from orchestrator.results.files import read_results, table_of, write_results
from orchestrator.system.checkout import ROOT
from tests.containers.planted import places
from tests.containers.registry import PROGRAM, Registry, login, registry

pytestmark = pytest.mark.container

TAG = "rosetta/chainer-2018:4.5.0-cpu"
ONLY = "chainer-2018/rnn/cpu"
SLOWER = 12
"""Exit code of a comparison of times: how fast this machine is now is no business of a test."""
PLANTED, ON_PURPOSE = b"planted-", b"left-here-on-purpose"
"""How every secret begins that a command has, the registry's password too; and one that a search has to find."""

SECRETS = {
    "AZURE_STORAGE_CONNECTION_STRING": "AccountName=me;AccountKey=planted-account-key",
    "AZURE_STORAGE_SAS_TOKEN": "sv=2024-11-04&sig=planted-signature",
    "CR_PAT": "planted-registry-token",
    "HTTPS_PROXY": "http://me:planted-proxy-password@127.0.0.1:9",
    "PIP_INDEX_URL": "https://me:planted-index-password@127.0.0.1:9/simple",
    "ROSETTA_APT_MIRROR": "https://me:planted-mirror-password@127.0.0.1:9/debian",
}
PARAMETERS = (
    *("cell", "library", "workload", "platform", "gpu", "precision", "variant", "data", "repeat"),
    *("epochs", "samples", "steps", "samples_tested", "shortened", "n_gpus", "metric", "framework_version", "recipe"),
)


@dataclass
class Place:
    """A private engine, a registry that it reaches, and a folder to work in; ``said`` is all that was printed.

    All that commands write lies in the folder, docker's own settings and what is secret elsewhere.
    """

    engine: PrivateEngine
    registry: Registry
    folder: Path
    variables: dict[str, str]
    said: list[str]

    def run(
        self, *words: object, program: Path = ROOT, cwd: Path | None = None, answer: str = ""
    ) -> "subprocess.CompletedProcess[str]":
        """``rosetta`` as a user types it, who may give an answer."""
        command = [sys.executable, "-c", "from orchestrator.cli.main import main; main()", *map(str, words)]
        env = {**os.environ, **self.variables, "PYTHONPATH": str(program)}
        done = subprocess.run(
            command, cwd=cwd or self.folder, env=env, input=answer, capture_output=True, text=True, check=False
        )
        self.said += [done.stdout, done.stderr]
        return done


@pytest.fixture(scope="module")
def place(engine, tmp_path_factory) -> Iterator[Place]:
    if not PROGRAM.exists():
        pytest.skip("no docker-registry; .ci/tools installs it")
    build_images([image_for("chainer-2018", "cpu")], progress=print)
    folder = tmp_path_factory.mktemp("publish")
    work = folder / "work"
    work.mkdir()
    with PrivateEngine() as private:
        private.take_image(TAG)
        with registry(private.daemon.pid, folder / "registry") as server:
            variables = {
                "DOCKER_HOST": private.socket,
                "DOCKER_CONFIG": str(folder / "docker"),
                "ROSETTA_LOCKS": str(folder / "locks"),
                "ROSETTA_PIP_CONF": str(folder / "pip.conf"),
                **SECRETS,
            }
            (folder / "pip.conf").write_text("[global]\nindex-url = https://me:planted-index-password@127.0.0.1:9/\n")
            yield Place(private, server, work, variables, [])


def test_an_engine_with_containerds_image_store_pushes_and_pulls_by_digest(engine, tmp_path, monkeypatch):
    if not PROGRAM.exists():
        pytest.skip("no docker-registry; .ci/tools installs it")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    with PrivateEngine(containerd=True) as private, registry(private.daemon.pid, tmp_path / "registry") as server:
        login(server, {"DOCKER_HOST": private.socket})
        with closing(docker.APIClient(private.socket)) as api:
            assert ["driver-type", "io.containerd.snapshotter.v1"] in api.info()["DriverStatus"]
            place = f"{server.host}/me/empty"
            api.import_image_from_data(bytes(10240), repository=place, tag="1")
            digest = remote.push(api, place, "1")
            assert digest == remote.digest_of(api, f"{place}:1")
            api.remove_image(f"{place}:1", force=True)
            pulled = remote.pull(api, ImageName(place, "1", digest))
            assert f"{place}@{digest}" in pulled["RepoDigests"]


def commands(section: str) -> list[list[str]]:
    """What README's section has a reader type."""
    text = (ROOT / "README.md").read_text().partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = re.findall(r"(?m)^\$ (.+?)(?:\s+#.*)?$", text)
    assert lines, f"README has no commands under {section}"
    return [[word.strip("'") for word in line.split()] for line in lines]


def typed(place: Place, section: str, **how) -> list["subprocess.CompletedProcess[str]"]:
    """Everything that README's section has a reader type, with this registry for the one that it names."""
    done = []
    for program, *words in commands(section):
        if program == "docker":
            assert words == ["login", "ghcr.io"]
            login(place.registry, place.variables)
            continue
        assert program == ".venv/bin/rosetta"
        done.append(place.run(*(word.replace("ghcr.io", place.registry.host) for word in words), **how))
    return done


def delete_all_images(engine: PrivateEngine) -> None:
    every = engine.docker("images", "--all", "--quiet").stdout.decode().split()
    engine.docker("image", "rm", "--force", *set(every))
    engine.docker("builder", "prune", "--all", "--force")
    assert engine.docker("images", "--all", "--quiet").stdout == b""


@pytest.mark.parametrize("words", [(), ("--move-tags",)], ids=["look", "push"])
def test_without_a_login_the_registry_says_so(place, words):
    done = place.run("publish", "--registry", f"{place.registry.host}/me", "--only", ONLY, *words)
    assert done.returncode == 16, done.stdout + done.stderr
    assert "to this login" in done.stderr
    assert "docker login" in done.stderr


@pytest.fixture(scope="module")
def published(place) -> Path:
    """README's section was typed; the folder that it leaves."""
    for done in typed(place, "Publish"):
        assert done.returncode == 0, done.stdout + done.stderr
    return place.folder / "published"


def test_what_is_published_is_named_by_digest_and_described(place, published):
    (line,) = json.loads((published / "images.json").read_text())
    (row,) = read_results(published / "results.parquet").to_pylist()
    assert row["image"] == line["image"]
    assert re.fullmatch(rf"{place.registry.host}/me/chainer-2018:4\.5\.0-cpu@sha256:[0-9a-f]{{64}}", row["image"])
    assert row["image_digest"] == line["built"]
    bill = json.loads((published / "chainer-2018-4.5.0-cpu.cdx.json").read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
    purls = [component["purl"] for component in bill["components"]]
    assert "pkg:pypi/chainer@4.5.0" in purls
    assert any(purl.startswith("pkg:deb/debian/libc6@") for purl in purls)
    parts = {component["name"]: component for component in bill["components"]}
    assert parts["cpython"]["type"] == "platform"
    assert {"name": "rosetta:within", "value": "numpy"} in parts["libopenblasp"]["properties"]
    assert all("hashes" in parts[name] and "licenses" in parts[name] for name in ("cpython", "libopenblasp"))
    told = bill["metadata"]["component"]["properties"]
    sizes = {one["name"]: int(one["value"]) for one in told if one["name"].startswith("rosetta:bytes:")}
    assert sizes["rosetta:bytes:nobody"] < sum(sizes.values()) / 20
    text = (published / "chainer-2018-4.5.0-cpu.md").read_text()
    assert "| pypi | chainer | 4.5.0 |" in text
    assert "## Layers" in text
    place.engine.docker("pull", line["sbom"])
    labels = json.loads(
        place.engine.docker("image", "inspect", f"{place.registry.host}/me/chainer-2018:4.5.0-cpu").stdout
    )
    assert labels[0]["Config"]["Labels"]["rosetta.python"] == "3.6.15"


def test_publishing_again_moves_nothing(place, published):
    before = (published / "images.json").read_text()
    done = place.run("publish", "--registry", f"{place.registry.host}/me", "--only", ONLY)
    assert done.returncode == 0, done.stderr
    assert "unchanged" in done.stdout
    assert (published / "images.json").read_text() == before


def test_a_tag_of_another_image_is_refused_unless_it_is_to_move(place, published):
    name = f"{place.registry.host}/other/chainer-2018:4.5.0-cpu"
    place.engine.docker("image", "tag", TAG, name)
    env = {**os.environ, **place.variables}
    subprocess.run(["docker", "push", "--quiet", name], env=env, check=True, capture_output=True)
    words = ("publish", "--registry", f"{place.registry.host}/other", "--only", ONLY, "--output", "elsewhere")
    shown = place.run(*words, "--dry-run")
    assert json.loads(shown.stdout)[0]["there"].startswith("sha256:")
    refused = place.run(*words)
    assert refused.returncode == 14, refused.stdout + refused.stderr
    assert not (place.folder / "elsewhere").exists()
    moved = place.run(*words, "--move-tags")
    assert moved.returncode == 0, moved.stderr


def test_images_travel_as_archives_that_are_checked_first(place, published):
    stick = place.folder / "stick"
    done = place.run("images", "save", "--only", ONLY, "--output", stick)
    assert done.returncode == 0, done.stderr
    archive = stick / "chainer-2018-4.5.0-cpu.tar"
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=stick, check=True)
    place.engine.docker("image", "rm", "--force", TAG)
    with archive.open("r+b") as file:
        file.seek(archive.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    refused = place.run("images", "load", stick)
    assert refused.returncode == 8, refused.stderr
    assert TAG not in place.run("images", "list").stdout
    with archive.open("r+b") as file:
        file.seek(archive.stat().st_size // 2)
        file.write(byte)
    loaded = place.run("images", "load", stick)
    assert loaded.returncode == 0, loaded.stderr
    assert TAG in place.run("images", "list").stdout
    # what ran is here now, but the row names another: its digest decides, not an id that somebody has written down
    (row,) = read_results(published / "results.parquet").to_pylist()
    away = row["image"].replace(place.registry.host, "registry.invalid")
    write_results(table_of([{**row, "image": away}]), place.folder / "away.parquet")
    words = ("reproduce", place.folder / "away.parquet", "--results", place.folder / "offline")
    shown = place.run(*words, "--dry-run")
    assert (shown.returncode, shown.stdout.splitlines()[0]) == (0, f"{away}: will be pulled")
    declined = place.run(*words, answer="n\n")
    nobody = place.run(*words)
    assert (declined.returncode, nobody.returncode) == (20, 20), nobody.stderr
    done = place.run(*words, "--yes")
    assert done.returncode == 16, done.stdout + done.stderr
    kept = (place.folder / "offline" / "cells").rglob("*.parquet")
    assert [path.name for path in kept] == ["cpu.passing.parquet"]  # says why, and the next run tries again


def without_its_sources(folder: Path) -> Path:
    """A program that knows nothing of the library: another release, on another machine."""
    for name in ("orchestrator", "images", "workloads"):
        kept = shutil.ignore_patterns("__pycache__", "chainer-2018*", "chainer_2018*")
        shutil.copytree(ROOT / name, folder / name, ignore=kept)
    shutil.copy(ROOT / "matrix.yaml", folder)
    return folder


@pytest.fixture(scope="module")
def reproduced(place, published) -> Path:
    """README's section was typed, with another program and no image; the folder that it was typed in."""
    delete_all_images(place.engine)
    stranger, elsewhere = without_its_sources(place.folder / "program"), place.folder / "elsewhere"
    (elsewhere / "published").mkdir(parents=True)
    shutil.copy(published / "results.parquet", elsewhere / "published")
    for done in typed(place, "Reproduce", program=stranger, cwd=elsewhere, answer="y\n"):
        assert done.returncode in (0, SLOWER), done.stdout + done.stderr
        assert "as published" in done.stdout
    return elsewhere


def test_reproduced_from_the_file_alone_after_all_images_are_deleted(place, published, reproduced):
    (theirs,) = read_results(published / "results.parquet").to_pylist()
    (mine,) = read_results(reproduced / "reproduced" / "merged.parquet").to_pylist()
    assert {name: mine[name] for name in PARAMETERS} == {name: theirs[name] for name in PARAMETERS}
    assert mine["status"] == "ok"
    assert abs(mine["quality"] - theirs["quality"]) <= 0.05
    assert mine["image"] == theirs["image"]


def test_from_a_url_what_has_run_already_is_only_compared_again(place, published, reproduced):
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(published))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/results.parquet"
        again = place.run("reproduce", url, program=place.folder / "program", cwd=reproduced)
        missing = place.run("reproduce", f"{url}-is-not-there", program=place.folder / "program", cwd=reproduced)
        server.shutdown()
    assert again.returncode in (0, SLOWER), again.stderr
    assert missing.returncode == 8, missing.stderr


def left_behind(place: Place) -> Iterator[tuple[str, bytes]]:
    """What is left of a publication, by name: all that was printed, written, or stored by registry and engine."""
    yield "said", "".join(place.said).encode()
    for folder in (place.folder, place.registry.folder):
        yield from ((str(path.relative_to(folder)), path.read_bytes()) for path in folder.rglob("*") if path.is_file())
    for image in set(place.engine.docker("images", "--all", "--quiet").stdout.decode().split()):
        yield "history", place.engine.docker("history", "--no-trunc", image).stdout
        yield "engine.tar", place.engine.docker("save", image).stdout


def leave(place: Place, row: dict[str, object]) -> None:
    """What a search has to find: a file in a layer and a variable of an image; a reason and a log's end in a row."""
    word, name = ON_PURPOSE.decode(), f"{place.registry.host}/me/leaky:1"
    (place.folder / "secret").write_text(f"password = {word}\n")
    (place.folder / "Dockerfile").write_text(f"FROM scratch\nENV TOKEN={word}\nCOPY secret /etc/pip.conf\n")
    env = {**os.environ, **place.variables}
    for words in (("buildx", "build", "--builder=default", "--provenance=false", "--tag", name, "."), ("push", name)):
        subprocess.run(["docker", *words], cwd=place.folder, env=env, check=True, capture_output=True)
    leaky = {**row, "status": "failed", "reason": f"no login as {word}", "log_tail": f"tried {word}"}
    write_results(table_of([leaky]), place.folder / "leaky.parquet")


def test_no_secret_is_left_in_images_results_logs_and_reports(place, published, reproduced):
    (row,) = read_results(reproduced / "reproduced" / "merged.parquet").to_pylist()
    leave(place, row)
    for words in (
        ("report", "leaky.parquet", "-o", "leaky"),
        ("report", published / publishing.RESULTS, "-o", "site"),
        ("report", reproduced / "reproduced", "-o", "site-of-reproduced"),
        ("table", published / publishing.RESULTS, "--markdown"),
    ):
        done = place.run(*words)
        assert done.returncode == 0, done.stdout + done.stderr
    found = [one for name, content in left_behind(place) for one in places(name, content, [PLANTED, ON_PURPOSE])]
    assert [name for word, name in found if word == PLANTED] == []
    on_purpose = [name for word, name in found if word == ON_PURPOSE]
    for ending in ("data/gunzipped/etc/pip.conf", "data", "history", "leaky.parquet/rows", ".html"):
        assert any(name.endswith(ending) for name in on_purpose), (ending, on_purpose)
    assert any(re.fullmatch("engine.tar/.+/etc/pip.conf", name) for name in on_purpose), on_purpose
