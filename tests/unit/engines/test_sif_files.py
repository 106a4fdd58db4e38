"""SIF files in the cache: one is current if it is whole, and made from what this program would build."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import pytest

from orchestrator.engines.sif_files import Sif, current, note_of, sif_of, unavailable
from orchestrator.errors import BuildError, EngineError, ResultError
from orchestrator.images import records
from orchestrator.images.bakefile import workloads_digest
from orchestrator.images.image import every_image
from orchestrator.images.published import LOCK, published
from orchestrator.system import file_locks

ID = f"sha256:{'0' * 64}"


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """An image whose SIF file is in a cache, and the file's path."""
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path))
    monkeypatch.delenv("ROSETTA_IMAGES", raising=False)
    image, sif = next(iter(every_image())), Sif(ID, {"a": "b"}, "1" * 64, 5)
    records.note(ID, image.recipe, workloads_digest(image))
    sif.path.parent.mkdir()
    sif.path.write_bytes(b"whole")
    note_of(image).write_text(json.dumps(asdict(sif)))
    assert current(image) == sif
    return image, sif.path


@pytest.mark.parametrize("do", ["cut", "remove", "replace"])
def test_a_file_that_is_not_whole_is_none(kept, do):
    image, path = kept
    path.unlink()
    if do == "cut":
        path.write_bytes(b"who")
    if do == "replace":
        path.mkdir()
    assert current(image) is None
    assert "ROSETTA_IMAGES" in (unavailable(image) or "")


@pytest.mark.parametrize("said", ["", "[]", "{}", "\x00", '{"id": "../x", "labels": {}, "sum": "", "size": 5}'])
def test_a_note_that_makes_no_sense_is_none(kept, said):
    image, _ = kept
    note_of(image).write_text(said)
    assert current(image) is None


@pytest.fixture
def listed(monkeypatch, tmp_path):
    """An image, a line about it in a lock file, and how to write that; nothing is in the cache."""
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ROSETTA_IMAGES", str(tmp_path))
    image = next(iter(every_image()))
    name = f"ghcr.io/me/{image.tag.removeprefix('rosetta/')}@sha256:{'2' * 64}"
    line = {"image": name, "built": ID, "recipe": image.recipe, "workloads": workloads_digest(image)}
    return image, line, lambda *lines: (tmp_path / LOCK).write_text(json.dumps(lines))


def test_a_published_image_is_found_by_its_tag_and_made_again_when_it_is_published_again(listed):
    image, line, write = listed
    assert "ROSETTA" not in (unavailable(image) or "")  # the folder has none, says the reason
    write({**line, "image": line["image"].replace(":", "-other:", 1)}, line)
    assert unavailable(image) is None
    found = published(image)
    assert found is not None
    assert found.reference.pullable == f"ghcr.io/me/{image.tag[8:].partition(':')[0]}@sha256:{'2' * 64}"
    sif = Sif(ID, {}, found.reference.digest, 5)
    records.note(ID, image.recipe, workloads_digest(image))
    sif.path.parent.mkdir(parents=True)
    sif.path.write_bytes(b"whole")
    note_of(image).write_text(json.dumps(asdict(sif)))
    assert current(image) == sif
    write({**line, "image": line["image"].replace("2" * 64, "3" * 64)})
    assert current(image) is None


def test_who_waits_for_anothers_sif_file_stops_when_the_run_does(listed):
    image, _, _ = listed
    path = note_of(image).with_name(f"{note_of(image).name}.lock")
    path.parent.mkdir(parents=True)
    other = file_locks.take(path)
    with ThreadPoolExecutor(1) as pool, pytest.raises(BuildError, match="Stopped while another program"):
        pool.submit(sif_of, image, print, lambda: True).result(60)
    other.release()


def test_what_another_version_published_is_not_taken(listed):
    image, line, write = listed
    write({**line, "recipe": "another"})
    with pytest.raises(BuildError, match="comes from another version's recipe"):
        sif_of(image, print)


@pytest.mark.parametrize("key", ["image", "built"])
def test_an_odd_line_about_an_image_is_refused(listed, key):
    image, line, write = listed
    write({**line, key: line[key].replace("sha256:", "--sha1:")})
    with pytest.raises(ResultError, match=r"images\.json is not a lock file"):
        published(image)


def test_a_lock_file_with_two_lines_for_an_image_is_refused(listed):
    image, line, write = listed
    write(line, {**line, "image": line["image"].replace("2" * 64, "3" * 64)})
    with pytest.raises(ResultError) as raised:
        published(image)
    assert raised.value.why == "it lists an image twice"


def test_of_an_image_in_two_registries_the_one_of_this_recipe_is_taken(listed):
    image, line, write = listed
    elsewhere = {**line, "image": line["image"].replace("ghcr.io/me", "elsewhere.org/us")}
    for lines in ([line, elsewhere], [{**line, "recipe": "another"}, elsewhere], [elsewhere, {**line, "recipe": "x"}]):
        write(*lines)
        found = published(image)
        assert found is not None
        assert found.reference.pullable.startswith("elsewhere.org/us/")


@pytest.mark.parametrize("said", ["", "{", "[1]", '[{"image": 1}]', "null"])
def test_what_is_no_lock_file_is_refused(listed, tmp_path, said):
    (tmp_path / LOCK).write_text(said)
    with pytest.raises(ResultError):
        published(listed[0])


def test_a_cache_with_a_colon_in_its_path_is_refused(listed, monkeypatch, tmp_path):
    image, line, write = listed
    write(line)
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "a:b"))
    with pytest.raises(EngineError, match="a path with a colon"):
        sif_of(image, print)
