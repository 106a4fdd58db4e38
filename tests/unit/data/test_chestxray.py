"""Some originals become arrays that cells can map; no patient is in two parts; what is wrong is named."""

import hashlib
import io
import json

import numpy as np
import pytest
from PIL import Image

from orchestrator.cell.parameters import parameters
from orchestrator.data import chestxray, datasets
from orchestrator.data.datasets import State
from orchestrator.errors import DataError

HEAD = "Image Index,Finding Labels,Follow-up #,Patient ID\n"
ROWS = {
    "00000001_000.png": ("Mass|Edema", 1),
    "00000001_001.png": ("No Finding", 1),
    "00021563_000.png": ("Hernia", 21_563),
    "00021564_000.png": ("Pleural_Thickening", 21_564),
    "00024644_000.png": ("Atelectasis", 24_644),
    "00030805_000.png": ("Pneumothorax", 30_805),
}


def original(mode: str) -> bytes:
    buffer = io.BytesIO()
    grey = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16).repeat(64, 0).repeat(64, 1))
    grey.convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def mirror(tmp_path, clean):
    folder = tmp_path / "mirror" / chestxray.FOLDER
    (folder / "images").mkdir(parents=True)
    rows = [f"{name},{findings},0,{patient}\n" for name, (findings, patient) in ROWS.items()]
    (folder / chestxray.LISTS[0]).write_text(HEAD + "".join(rows) + "00000002_000.png,Mass,0,2\n")
    for number, name in enumerate(ROWS):
        (folder / "images" / name).write_bytes(original("RGBA" if number % 2 else "L"))
    return tmp_path / "mirror"


def test_a_folder_of_originals_becomes_arrays(mirror):
    said = []
    folder = datasets.fetch([chestxray.NAME], mirror=str(mirror), say=said.append)[chestxray.NAME]
    assert "6 of 112,120 images: only part of the set" in said[-1]
    parts = {part: np.load(folder / f"{part}.npy") for part in chestxray.SPLIT}
    assert {part: array.shape for part, array in parts.items()} == {
        "train": (3, 264, 264), "validation": (1, 224, 224), "test": (2, 224, 224),
    }  # fmt: skip
    assert np.array_equal(parts["train"][0], parts["train"][1])  # grey and RGBA alike
    findings = parameters()["densenet121"]["findings"]
    assert findings == sorted(findings)
    labels = np.load(folder / "train.labels.npy")
    assert [[f for f, has in zip(findings, row, strict=True) if has] for row in labels] == [
        ["Edema", "Mass"],
        [],
        ["Hernia"],
    ]
    assert json.loads((folder / "index.json").read_text())["images"] == 6
    assert datasets.digest(chestxray.NAME) != ""
    said.clear()
    datasets.fetch([chestxray.NAME], say=said.append)
    assert said == []


def test_weights_beside_the_arrays_reach_the_cells_and_change_what_a_run_is(mirror):
    folder = datasets.fetch([chestxray.NAME], mirror=str(mirror))[chestxray.NAME]
    before, digest = datasets.contents(folder), datasets.digest(chestxray.NAME)
    weights = folder / "pretrained" / "densenet121-a639ec97.pth"
    weights.parent.mkdir()
    (weights.parent / ".part").write_bytes(b"half a download")
    assert datasets.contents(folder) == before
    assert datasets.digest(chestxray.NAME) == digest
    weights.write_bytes(b"trained on ImageNet")
    (added,) = datasets.contents(folder).keys() - before.keys()
    assert added == "pretrained/densenet121-a639ec97.pth"
    assert datasets.contents(folder)[added].sums == (hashlib.sha256(b"trained on ImageNet").hexdigest(),)
    with_weights = datasets.digest(chestxray.NAME)
    assert with_weights != digest
    weights.write_bytes(b"trained on something else")
    assert datasets.digest(chestxray.NAME) not in (digest, with_weights)
    weights.unlink()
    assert datasets.digest(chestxray.NAME) == digest


def test_a_check_names_the_arrays_that_are_missing_or_wrong_and_how_to_have_them_again(mirror):
    with pytest.raises(DataError, match="1 of 1 files"):
        datasets.report_check([chestxray.NAME])
    folder = datasets.fetch([chestxray.NAME], mirror=str(mirror))[chestxray.NAME]
    assert [file.state for file in datasets.check([chestxray.NAME])] == [State.OK] * 6
    (folder / "test.npy").write_bytes(b"cut short")
    (folder / "train.npy").unlink()
    states = {file.path.name: file.state for file in datasets.check([chestxray.NAME]) if file.state is not State.OK}
    assert states == {"test.npy": State.WRONG, "train.npy": State.MISSING}
    with pytest.raises(DataError, match=r"2 of 6 files.*\nRun 'rm -f .*index.json', then 'rosetta data fetch"):
        datasets.report_check([chestxray.NAME])
    (folder / "index.json").unlink()
    datasets.fetch([chestxray.NAME], mirror=str(mirror))
    assert [file.state for file in datasets.check([chestxray.NAME])] == [State.OK] * 6


def test_without_the_list_it_says_where_it_is_to_be_had(clean):
    with pytest.raises(DataError, match=r"Data_Entry_2017\.csv, is missing"):
        datasets.fetch([chestxray.NAME])
    assert datasets.digest(chestxray.NAME) == ""


def test_an_image_that_is_none_is_named(mirror):
    (mirror / chestxray.FOLDER / "images" / "00000001_000.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"00000001_000\.png can't be read"):
        datasets.fetch([chestxray.NAME], mirror=str(mirror))


def test_no_patient_is_in_two_parts():
    listed = {f"{patient:08d}_{n:03d}.png": (patient, ()) for patient in range(1, 30_806) for n in range(2)}
    entries = chestxray.places(listed, listed)
    parts = {}
    for name, entry in entries.items():
        parts.setdefault(entry.part, set()).add(int(name[:8]))
    assert {part: len(patients) for part, patients in parts.items()} == {
        "train": 21_563, "validation": 3_080, "test": 6_162,
    }  # fmt: skip
    assert not parts["train"] & parts["validation"] | parts["test"] & (parts["train"] | parts["validation"])
