"""Archives of images by a real engine: only the announced name changes hands, and what came so is no build of ours."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.engines.client import connect
from orchestrator.errors import BuildError, ResultError
from orchestrator.images.building import add_labels, is_current
from orchestrator.images.image import image_for
from orchestrator.publish import archives

pytestmark = pytest.mark.container

STRANGER = "rosetta-test/stranger:1"
"""Stands for an image of somebody else."""

TAG = "rosetta/hostile-archive:1"


@pytest.fixture
def api(engine) -> Iterator:
    """The engine with an image of somebody else, and without what a test loads."""
    client = connect()
    made = imported(client, STRANGER, b"somebody else's")
    yield client
    for tag in (STRANGER, TAG):
        if client.images(name=tag):
            client.remove_image(tag, force=True)
    assert made
    client.close()


def imported(api, tag: str, content: bytes, *changes: str) -> str:
    """The id of an image with one file."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo("file")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    name, _, version = tag.partition(":")
    return json.loads(api.import_image_from_data(archive.getvalue(), name, version, list(changes)))["status"]


def saved(api, folder: Path, *changes: str) -> tuple[str, list[tuple[str, bytes]]]:
    """The id of an image that the engine has no more, and the members of its archive."""
    image = imported(api, TAG, b"a stranger's program", *changes)
    content = io.BytesIO(b"".join(api.get_image(TAG)))
    api.remove_image(TAG, force=True)
    with tarfile.open(fileobj=content) as tar:
        return image, [(member.name, tar.extractfile(member).read()) for member in tar if member.isreg()]


def written(folder: Path, members: list[tuple[str, bytes]]) -> Path:
    """A folder as 'images save' leaves it, with these members in the archive."""
    path = folder / "hostile-archive-1.tar"
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    (folder / archives.SUMS).write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    return folder


def other(members: list[tuple[str, bytes]]) -> bytes:
    """The manifest of the same image under the name of somebody else's."""
    return dict(members)["manifest.json"].replace(TAG.encode(), STRANGER.encode())


TRICKS = {
    "dot": lambda m: [*m, ("./manifest.json", other(m))],
    "way around": lambda m: [*m, ("x/../manifest.json", other(m))],
    "twice": lambda m: [*m, ("manifest.json", other(m))],
    "second entry": lambda m: [(n, c[:-2] + b"," + other(m)[1:] if n == "manifest.json" else c) for n, c in m],
    "other case": lambda m: [
        (n, c.replace(b'"RepoTags"', b'"repotags":["' + STRANGER.encode() + b'"],"RepoTags"')) for n, c in m
    ],
}


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS.keys())
def test_no_archive_replaces_an_image_of_somebody_else(api, tmp_path, trick):
    before = api.inspect_image(STRANGER)["Id"]
    _, members = saved(api, tmp_path)
    with pytest.raises(ResultError, match="is not an archive of one image"):
        archives.load(api, written(tmp_path, trick(members)), print)
    assert api.inspect_image(STRANGER)["Id"] == before
    assert not api.images(name=TAG)


def test_a_repositories_file_names_nothing(api, tmp_path):
    before = api.inspect_image(STRANGER)["Id"]
    image, members = saved(api, tmp_path)
    name, _, version = STRANGER.partition(":")
    members = [(n, c) for n, c in members if n != "repositories"]
    members.append(("repositories", json.dumps({name: {version: "0" * 64}}).encode()))
    archives.load(api, written(tmp_path, members), print)
    assert api.inspect_image(STRANGER)["Id"] == before
    assert api.inspect_image(TAG)["Id"] == image


def test_an_image_from_outside_is_no_build_of_ours_whatever_it_says(api, tmp_path):
    chainer = image_for("chainer", "cpu")
    labels = [f"LABEL rosetta.recipe={chainer.recipe}", "LABEL rosetta.workloads=w", "LABEL rosetta.contract=1"]
    image, members = saved(api, tmp_path, *labels, 'ONBUILD RUN ["/file"]')
    archives.load(api, written(tmp_path, members), print)
    found = api.inspect_image(TAG)
    assert found["Id"] == image
    assert found["Config"]["Labels"]["rosetta.recipe"] == chainer.recipe
    assert not is_current(found, chainer, "w")
    with pytest.raises(BuildError, match="was not built here"):
        add_labels(found["Id"], "rosetta/hostile-archive:2", {"a": "b"})
    assert not api.images(name="rosetta/hostile-archive:2")


def test_an_archive_under_another_name_is_refused(api, tmp_path):
    _, members = saved(api, tmp_path)
    folder = written(tmp_path, members)
    (folder / "hostile-archive-1.tar").rename(folder / "pytorch-2.13.0-cpu.tar")
    sums = (folder / archives.SUMS).read_text().replace("hostile-archive-1", "pytorch-2.13.0-cpu")
    (folder / archives.SUMS).write_text(sums)
    with pytest.raises(ResultError, match="which does not match its name"):
        archives.load(api, folder, print)
    assert not api.images(name=TAG)
