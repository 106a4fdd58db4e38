"""SIF files in the cache: one is current if it is whole, and made from what this program would build."""

import json
from dataclasses import asdict

import pytest

from orchestrator.engines.sif_files import Sif, current, note_of, unavailable
from orchestrator.images import records
from orchestrator.images.bakefile import workloads_digest
from orchestrator.images.image import every_image

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
