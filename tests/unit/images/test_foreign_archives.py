"""Archives from others: whatever is in them, what is handed on has one image of ours under the announced name."""

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator.errors import ResultError
from orchestrator.images import foreign_archives

TAG, STRANGER = "rosetta/x:1-cpu", "python:3.11-slim-bookworm"
LAYER = b"\0" * 10240
CONFIG = json.dumps(
    {"rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(LAYER).hexdigest()}"]}}
).encode()


def manifest(tags=(TAG,), **more) -> bytes:
    return json.dumps([{"Config": "c", "RepoTags": list(tags), "Layers": ["l"], **more}]).encode()


def index(*names: str) -> bytes:
    return json.dumps({"manifests": [{"annotations": {"io.containerd.image.name": name}} for name in names]}).encode()


def written(path: Path, *members, kind=tarfile.REGTYPE) -> str:
    """An archive of the members, each a name and bytes, or a name, a type and what it links to; returns its sum."""
    with tarfile.open(path, "w") as tar:
        for name, *content in members:
            member = tarfile.TarInfo(name)
            if len(content) == 2:
                member.type, member.linkname = content
                tar.addfile(member)
            else:
                member.size = len(content[0])
                tar.addfile(member, io.BytesIO(content[0]))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def described(member: tarfile.TarInfo, content: bytes, **pax: str) -> bytes:
    """A member of an archive, and before it a header with what tar's other forms say of it."""
    member.size, member.pax_headers = len(content), pax
    plain = member.tobuf(tarfile.PAX_FORMAT)
    return plain + content + b"\0" * (-len(content) % tarfile.BLOCKSIZE)


REST = (("c", CONFIG), ("l", LAYER))
OTHER = manifest([STRANGER])
TWICE = OTHER[:-2] + b', "RepoTags": ["' + TAG.encode() + b'"]}]'
REFUSED = {
    "no tag": [("manifest.json", manifest([]))],
    "another's tag": [("manifest.json", OTHER)],
    "two tags": [("manifest.json", manifest([TAG, STRANGER]))],
    "the orchestrator": [("manifest.json", manifest(["rosetta/orchestrator:latest"]))],
    "the probe": [("manifest.json", manifest(["rosetta/probe:1"]))],
    "a registry of that name": [("manifest.json", manifest(["rosetta/x/../../python:3"]))],
    "a dot before": [("manifest.json", manifest()), ("./manifest.json", OTHER)],
    "a way around": [("manifest.json", manifest()), ("x/../manifest.json", OTHER)],
    "a way from the root": [("manifest.json", manifest()), ("/manifest.json", OTHER)],
    "two slashes": [("manifest.json", manifest()), ("x//y", OTHER)],
    "twice": [("manifest.json", manifest()), ("manifest.json", OTHER)],
    "another case": [("manifest.json", manifest()), ("Manifest.json", OTHER)],
    "a second image": [("manifest.json", manifest()[:-1] + b", " + OTHER[1:])],
    "a key twice": [("manifest.json", TWICE)],
    "a key in another case": [("manifest.json", manifest(repotags=[STRANGER]))],
    "an unknown key": [("manifest.json", manifest(Names=[STRANGER]))],
    "a link": [("manifest.json", tarfile.SYMTYPE, "other"), ("other", OTHER)],
    "a hard link": [("other", OTHER), ("manifest.json", tarfile.LNKTYPE, "other")],
    "a pipe": [("manifest.json", manifest()), ("x", tarfile.FIFOTYPE, "")],
    "two names": [
        ("manifest.json", manifest()),
        ("index.json", index(f"docker.io/{TAG}", f"docker.io/library/{STRANGER}")),
    ],
    "another name": [("manifest.json", manifest()), ("index.json", index(f"docker.io/library/{STRANGER}"))],
    "no layers": [("manifest.json", manifest(Layers=[]))],
    "more layers": [("manifest.json", manifest(Layers=["l", "l"]))],
    "a layer that is not there": [("manifest.json", manifest(Layers=["m"]))],
    "deep nesting": [("manifest.json", b"[" * 100_000 + b"]" * 100_000)],
    "no JSON": [("manifest.json", b"\xff")],
    "numbers": [("manifest.json", b"[" + b"9" * 5000 + b"]")],
    "nothing": [],
}


def handed_on(path: Path, digest: str) -> tuple[str, dict[str, bytes]]:
    """The announced tag, and what the engine would get."""
    with foreign_archives.opened(path, digest) as archived:
        content = io.BytesIO(b"".join(archived.pieces()))
        with tarfile.open(fileobj=content) as tar:
            return archived.tag, {member.name: tar.extractfile(member).read() for member in tar}


@pytest.mark.parametrize("members", REFUSED.values(), ids=REFUSED.keys())
def test_an_archive_that_could_mean_another_image_is_refused(tmp_path, members):
    path = tmp_path / "x-1-cpu.tar"
    with pytest.raises(ResultError, match="is not an archive of one image"):
        handed_on(path, written(path, *members, *REST))


HOLES = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(2**60)}
LAYERS = {
    "holes": (b"1\n0\n0\n".ljust(tarfile.BLOCKSIZE, b"\0"), HOLES),
    "older holes": (LAYER, {"GNU.sparse.map": "0,512", "GNU.sparse.size": str(2**60)}),
    "less than nothing": (LAYER, {"size": "-10240"}),
    "a little less": (LAYER, {"size": "-1"}),
    "more than a disk": (LAYER, {"size": str(10**18)}),
    "more than a number": (LAYER, {"size": str(10**30)}),
    "a long header": (LAYER, {"comment": "x" * (foreign_archives.LARGEST_JSON + 1)}),
}


@pytest.mark.parametrize(("content", "pax"), LAYERS.values(), ids=LAYERS.keys())
def test_a_layer_of_another_size_than_its_bytes_is_refused(tmp_path, content, pax):
    path = tmp_path / "x-1-cpu.tar"
    written(path, ("manifest.json", manifest()), ("c", CONFIG))
    whole = path.read_bytes().rstrip(b"\0")
    whole += b"\0" * (-len(whole) % tarfile.BLOCKSIZE)
    path.write_bytes(whole + described(tarfile.TarInfo("l"), content, **pax) + b"\0" * 2 * tarfile.BLOCKSIZE)
    with pytest.raises(ResultError, match="is not an archive of one image"):
        handed_on(path, hashlib.sha256(path.read_bytes()).hexdigest())


def test_what_is_handed_on_has_one_image_under_one_name(tmp_path):
    path = tmp_path / "x-1-cpu.tar"
    strange = json.dumps({"python": {"3.11-slim-bookworm": "0" * 64}}).encode()
    digest = written(
        path, *REST, ("manifest.json", manifest()), ("repositories", strange), ("index.json", index(f"docker.io/{TAG}"))
    )
    tag, files = handed_on(path, digest)
    assert tag == TAG
    name = f"{hashlib.sha256(CONFIG).hexdigest()}.json"
    assert files == {
        name: CONFIG,
        "000/layer.tar": LAYER,
        "manifest.json": json.dumps([{"Config": name, "RepoTags": [TAG], "Layers": ["000/layer.tar"]}]).encode(),
    }


def test_what_is_no_plain_file_or_has_another_sum_is_not_read(tmp_path):
    good = tmp_path / "good.tar"
    digest = written(good, ("manifest.json", manifest()), *REST)
    os.mkfifo(tmp_path / "pipe.tar")
    (tmp_path / "link.tar").symlink_to(good)
    for name in ("pipe.tar", "link.tar"):
        with pytest.raises(ResultError, match="can't be read"):
            handed_on(tmp_path / name, digest)
    with pytest.raises(ResultError, match="does not match SHA256SUMS"):
        handed_on(good, "0" * 64)


names = st.sampled_from(
    [
        "manifest.json",
        "./manifest.json",
        "x/../manifest.json",
        "MANIFEST.JSON",
        "index.json",
        "repositories",
        "c",
        "l",
        "oci-layout",
    ]
)
tags = st.sampled_from([TAG, STRANGER, "rosetta/orchestrator", "rosetta/probe:1", "rosetta/x:1-cpu\n"])
entries = st.fixed_dictionaries(
    {"RepoTags": st.lists(tags, max_size=2)},
    optional={
        "Config": st.sampled_from(["c", "l", "../c"]), "Layers": st.just(["l"]), "repoTags": st.lists(tags, max_size=2),
        "config": st.just("c"), "Parent": st.text(max_size=3),
    },
)  # fmt: skip
json_text = st.lists(entries, max_size=2).map(lambda value: json.dumps(value).encode())
contents = st.one_of(json_text, st.just(CONFIG), st.just(LAYER), st.binary(max_size=200), st.just(manifest()))


@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(names, contents), max_size=6), st.booleans())
def test_any_archive_is_refused_or_hands_on_the_announced_image_alone(tmp_path, members, complete):
    path = tmp_path / "x.tar"
    digest = written(path, *members, *([("manifest.json", manifest()), *REST] if complete else []))
    try:
        tag, files = handed_on(path, digest)
    except ResultError:
        return
    assert foreign_archives.TAG.fullmatch(tag)
    (entry,) = json.loads(files["manifest.json"])
    assert (entry["RepoTags"], set(entry)) == ([tag], {"Config", "RepoTags", "Layers"})


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 20_000), st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_changes_no_name(tmp_path, place, change):
    path = tmp_path / "x.tar"
    written(path, ("manifest.json", manifest()), *REST)
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= change
    path.write_bytes(content)
    try:
        assert handed_on(path, hashlib.sha256(content).hexdigest())[0].startswith("rosetta/")
    except ResultError as error:
        assert error.what  # noqa: PT017
