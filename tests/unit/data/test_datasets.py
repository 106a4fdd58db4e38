"""Data sets: from a publisher on loopback and from mirrors, real archives, and the originals where they are."""

import gzip
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.data import catalogue, datasets
from orchestrator.data.catalogue import DataSet
from orchestrator.data.datasets import State
from orchestrator.data.files import Content, File
from orchestrator.errors import DataError, DiskError
from tests.unit.data.publisher import (
    ARCHIVE,
    GOOD,
    LABELS,
    PIXELS,
    REVIEWS,
    ROOT,
    Site,
    content,
    file,
    files_in,
    member,
    partial,
    tar_gz,
)

pytestmark = pytest.mark.usefixtures("clean")


# --- a plain fetch ---------------------------------------------------------------------------------------------------


def test_fetch_puts_a_file_where_the_cell_reads_it(reviews: DataSet, tmp_path: Path) -> None:
    folders = datasets.fetch(["reviews"])
    assert folders == {"reviews": tmp_path / "cache/data/reviews"} == {"reviews": datasets.folder("reviews")}
    assert (folders["reviews"] / "reviews.npz").read_bytes() == REVIEWS
    assert files_in(folders["reviews"]) == ["reviews.npz"]


def test_fetch_unpacks_an_archive_and_keeps_its_files_only(publish: Callable[[bytes], DataSet], tmp_path: Path) -> None:
    publish(ARCHIVE)
    folder = datasets.fetch(["images"])["images"]
    assert (folder / "batches/a").read_bytes() == PIXELS
    assert files_in(tmp_path / "cache") == [
        "data/.images/lock",
        "data/.images/verified.json",
        "data/images/batches/a",
        "data/images/batches/b",
    ]


def test_files_can_be_read_by_the_user_of_a_cell(publish: Callable[[bytes], DataSet]) -> None:
    publish(ARCHIVE)
    before = os.umask(0o077)
    try:
        folder = datasets.fetch(["images"])["images"]
    finally:
        os.umask(before)
    modes = [path.stat().st_mode & 0o777 for path in (folder, folder / "batches", folder / "batches/a")]
    assert modes == [0o755, 0o755, 0o644]


def test_a_second_fetch_neither_asks_nor_hashes(reviews: DataSet, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets.fetch(["reviews"])
    monkeypatch.delattr(datasets, "checksum")
    datasets.fetch(["reviews"])
    assert len(site.requests) == 1


def test_a_changed_file_is_noticed_and_replaced(reviews: DataSet, site: Site) -> None:
    path = datasets.fetch(["reviews"])["reviews"] / "reviews.npz"
    path.write_bytes(REVIEWS[:-1] + b"!")
    assert datasets.fetch(["reviews"])
    assert path.read_bytes() == REVIEWS
    assert len(site.requests) == 2


def test_only_what_is_lacking_is_taken_from_the_archive(publish: Callable[[bytes], DataSet]) -> None:
    publish(ARCHIVE)
    folder = datasets.fetch(["images"])["images"]
    kept = (folder / "batches/a").stat().st_ino
    (folder / "batches/b").unlink()
    datasets.fetch(["images"])
    assert (folder / "batches/a").stat().st_ino == kept
    assert (folder / "batches/b").read_bytes() == LABELS


@pytest.mark.parametrize("note", ["", "[]", "{", '{"reviews.npz": 3}', '{"reviews.npz": [1, 2]}'])
def test_a_damaged_note_costs_a_hash_and_nothing_else(reviews: DataSet, site: Site, note: str) -> None:
    datasets.fetch(["reviews"])
    path = datasets.cache_folder() / "data/.reviews/verified.json"
    path.write_text(note)
    datasets.fetch(["reviews"])
    assert len(site.requests) == 1
    assert json.loads(path.read_text())["reviews.npz"][2] == content(REVIEWS).sha256


def test_a_cache_filled_by_hand_is_taken_as_it_is(reviews: DataSet, site: Site) -> None:
    folder = datasets.folder("reviews")
    folder.mkdir(parents=True)
    (folder / "reviews.npz").write_bytes(REVIEWS)
    datasets.fetch(["reviews"])
    assert site.requests == []


def test_a_cache_that_can_only_be_read_is_good_enough(reviews: DataSet, site: Site) -> None:
    folder = datasets.folder("reviews")
    folder.mkdir(parents=True)
    (folder / "reviews.npz").write_bytes(REVIEWS)
    (folder.parent / ".reviews").touch()  # in the way of the note, also for root
    assert datasets.fetch(["reviews"]) == {"reviews": folder}
    assert site.requests == []


def test_names(reviews: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"no data set 'imbd'\.\nDid you mean 'imdb'\?"):
        datasets.fetch(["imbd"])
    with pytest.raises(DataError, match=r"Known: chestxray14, cifar-10, densenet121-gluon, .*, imdb, resnet50-paddle"):
        datasets.check(["?"])
    assert [dataset.name for dataset in datasets.named(["imdb", "imdb"])] == ["imdb"]
    monkeypatch.setattr(datasets, "DATA_SETS", {"reviews": reviews})
    assert list(datasets.fetch([])) == ["reviews"]


# --- archives and other copies ---------------------------------------------------------------------------------------


def test_a_copy_packed_otherwise_is_accepted_and_has_the_same_digest(
    reviews: DataSet, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, repacked = datasets.digest("reviews"), REVIEWS[::-1]
    both = file("reviews.npz", REVIEWS, repacked, url=reviews.files[0].url)
    monkeypatch.setitem(catalogue.DATA_SETS, "reviews", replace(reviews, files=(both,)))
    site.pages["/reviews.npz"] = repacked
    datasets.fetch(["reviews"])
    assert datasets.check(["reviews"])[0].state is State.OK
    assert datasets.digest("reviews") == digest


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        (member("../evil", b"x"), "the file '../evil'"),
        (member("batches/../../evil", b"x"), "the file 'batches/../../evil'"),
        (member("/tmp/evil", b"x"), "the file '/tmp/evil'"),
        (member("batches/more", b"x"), "the file 'batches/more'"),
        (member("elsewhere", kind=tarfile.DIRTYPE), "the folder 'elsewhere'"),
        (member("batches/a", kind=tarfile.SYMTYPE, link="/etc/passwd"), "the link 'batches/a'"),
        (member("batches/a", kind=tarfile.LNKTYPE, link="../evil"), "the link 'batches/a'"),
        (member("batches", kind=tarfile.SYMTYPE, link="/tmp"), "the link 'batches'"),
        (member("batches/a", kind=tarfile.CHRTYPE), "the device 'batches/a'"),
        (member("batches/a", kind=tarfile.FIFOTYPE), "the device 'batches/a'"),
    ],
)
def test_an_archive_with_what_does_not_belong_is_refused(
    publish: Callable[[bytes], DataSet], tmp_path: Path, bad: tuple[tarfile.TarInfo, bytes], named: str
) -> None:
    publish(tar_gz(bad, *GOOD))
    with pytest.raises(DataError, match=re.escape(named)):
        datasets.fetch(["images"])
    assert files_in(datasets.folder("images")) == []
    assert not list(tmp_path.rglob("evil"))
    assert not Path("/tmp/evil").exists()


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ((member("batches/a", PIXELS + b"!"), GOOD[2]), "more than the 490,000 bytes"),
        ((member("batches/a", PIXELS[::-1]), GOOD[2]), "Its sha256 is"),
        (GOOD[:2], "lacks batches/b"),
    ],
)
def test_members_are_checked_one_by_one(
    publish: Callable[[bytes], DataSet], members: tuple[tuple[tarfile.TarInfo, bytes], ...], why: str
) -> None:
    publish(tar_gz(*members))
    with pytest.raises(DataError, match=why):
        datasets.fetch(["images"])
    assert files_in(datasets.folder("images")) == []


@pytest.mark.parametrize("name", ["batches/readme.html", "batches/a"])
def test_an_archive_that_unpacks_to_far_more_is_refused_early(publish: Callable[[bytes], DataSet], name: str) -> None:
    bomb = tar_gz(member(name, bytes(50_000_000)), *GOOD)
    assert len(bomb) < 100_000
    publish(bomb)
    with pytest.raises(DataError, match="more"):
        datasets.fetch(["images"])
    assert sum(path.stat().st_size for path in datasets.cache_folder().rglob("*") if path.is_file()) < 2_000_000


@pytest.mark.parametrize("archive", [b"no archive", ARCHIVE[:-9], gzip.compress(b"no tar"), ARCHIVE[:200] + bytes(200)])
def test_a_damaged_archive_is_an_error_with_its_name(publish: Callable[[bytes], DataSet], archive: bytes) -> None:
    publish(archive)
    with pytest.raises(DataError, match=r"archive images\.tar\.gz"):
        datasets.fetch(["images"])
    assert files_in(datasets.folder("images")) == []


# --- weights beside another set --------------------------------------------------------------------------------------


def zip_of(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


@pytest.fixture
def weights(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], DataSet]:
    """Publishes a zip archive without a checksum, whose member has a SHA-1."""

    def publish(archive: bytes) -> DataSet:
        site.pages["/net.zip"] = archive
        member = File("net.params", (Content(hashlib.sha1(REVIEWS).hexdigest(), 2 * len(REVIEWS)),))
        packed = File("net.zip", (Content("", 1_000_000),), f"{site.url}/net.zip")
        beside = DataSet("net", "free", (member,), packed, beside=catalogue.BESIDE_XRAYS)
        monkeypatch.setitem(catalogue.WEIGHTS, "net", beside)
        return beside

    return publish


def test_weights_come_out_of_an_archive_to_where_the_cells_of_another_set_look(
    weights: Callable[[bytes], DataSet], site: Site
) -> None:
    weights(zip_of({"net.params": REVIEWS, "README": b"more", "../evil": b"x"}))
    folder = datasets.fetch(["net"])["net"]
    assert folder == datasets.folder("chestxray14") / "pretrained"
    assert files_in(datasets.cache_folder() / "data") == [
        ".net/lock",
        ".net/verified.json",
        "chestxray14/pretrained/net.params",
    ]
    assert (folder / "net.params").read_bytes() == REVIEWS
    asked = len(site.requests)
    datasets.fetch(["net"])
    assert len(site.requests) == asked
    assert [(file.state, file.path.name) for file in datasets.check(["net"])] == [(State.OK, "net.params")]
    assert folder not in datasets.mounted()
    assert datasets.mounted(["net", "cifar-10"]) == [datasets.folder("cifar-10")]


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (zip_of({"net.params": REVIEWS[:-1]}), "is not the file its publisher made"),
        (zip_of({"net.params": bytes(50_000_000)}), "more than"),
        (zip_of({"other": REVIEWS}), r"net\.zip lacks net\.params"),
        (zip_of({"net.params": REVIEWS})[:-30], r"net\.zip can't be unpacked"),
        (zip_of({"net.params": REVIEWS})[:99] + bytes(99) + zip_of({"net.params": REVIEWS})[198:], "can't be unpacked"),
        (b"<html>gone</html>", "can't be unpacked"),
        (zip_of({"net.params": REVIEWS}, zipfile.ZIP_BZIP2).replace(b"BZh9", b"BZh0"), "can't be unpacked"),
        (zip_of({"net.params": REVIEWS}, zipfile.ZIP_LZMA).replace(b"]\0\0\x80", b"\xff\0\0\x80"), "can't be unpacked"),
    ],
    ids=["another", "bomb", "lacks", "cut off", "damaged", "page", "bzip2", "lzma"],
)
def test_of_an_archive_without_a_checksum_the_members_are_verified(
    weights: Callable[[bytes], DataSet], archive: bytes, message: str
) -> None:
    weights(archive)
    with pytest.raises(DataError, match=message):
        datasets.fetch(["net"])
    assert not (datasets.folder("net") / "net.params").exists()
    weights(zip_of({"net.params": REVIEWS}))
    assert (datasets.fetch(["net"])["net"] / "net.params").read_bytes() == REVIEWS


# --- mirrors ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["folder", "site"])
def mirror(request: pytest.FixtureRequest, tmp_path: Path, site: Site) -> tuple[str, Callable[[str, bytes], None]]:
    """The address of a mirror, and what puts a file on it."""

    def put(path: str, data: bytes) -> None:
        site.pages[f"/mirror/{path}"] = data
        target = tmp_path / "mirror" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    (tmp_path / "mirror").mkdir()
    return (f"{site.url}/mirror/" if request.param == "site" else str(tmp_path / "mirror")), put


Mirror = tuple[str, Callable[[str, bytes], None]]


def originals_asked(site: Site) -> list[str]:
    return [request["path"] for request in site.requests if not request["path"].startswith("/mirror")]


def test_a_mirror_with_the_archive(publish: Callable[[bytes], DataSet], site: Site, mirror: Mirror) -> None:
    publish(ARCHIVE)
    address, put = mirror
    put("images.tar.gz", ARCHIVE)
    datasets.fetch(["images"], mirror=address)
    assert {file.state for file in datasets.check(["images"])} == {State.OK}
    assert originals_asked(site) == []


def test_a_mirror_with_the_unpacked_files(publish: Callable[[bytes], DataSet], site: Site, mirror: Mirror) -> None:
    publish(ARCHIVE)
    address, put = mirror
    put("batches/a", PIXELS)
    put("batches/b", LABELS)
    datasets.fetch(["images"], mirror=address)
    assert {file.state for file in datasets.check(["images"])} == {State.OK}
    assert originals_asked(site) == []


def test_what_the_mirror_lacks_comes_from_the_publisher(
    publish: Callable[[bytes], DataSet], site: Site, mirror: Mirror
) -> None:
    publish(ARCHIVE)
    address, put = mirror
    put("batches/a", PIXELS)
    datasets.fetch(["images"], mirror=address)
    assert {file.state for file in datasets.check(["images"])} == {State.OK}
    assert originals_asked(site) == ["/images.tar.gz"]


def test_where_nobody_has_it_all_are_named(publish: Callable[[bytes], DataSet], site: Site, mirror: Mirror) -> None:
    publish(ARCHIVE)
    site.pages.clear()
    address, _ = mirror
    with pytest.raises(DataError) as caught:
        datasets.fetch(["images"], mirror=address)
    base = address.rstrip("/")
    for part in (f"{base}/images.tar.gz", f"{base}/batches/a", f"{site.url}/images.tar.gz answered 404 Not Found"):
        assert part in caught.value.why
    assert "ROSETTA_DATA_MIRROR" in caught.value.remedy


def test_a_wrong_file_on_the_mirror_is_an_error(reviews: DataSet, site: Site, mirror: Mirror) -> None:
    address, put = mirror
    put("reviews.npz", REVIEWS[::-1])
    with pytest.raises(DataError, match=rf"mirror/reviews\.npz is not[^$]*{content(REVIEWS).sha256}"):
        datasets.fetch(["reviews"], mirror=address)
    assert originals_asked(site) == []
    assert files_in(datasets.folder("reviews")) == []


def test_the_mirror_of_the_environment(reviews: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reviews.npz").write_bytes(REVIEWS)
    monkeypatch.setenv("ROSETTA_DATA_MIRROR", str(tmp_path))
    datasets.fetch(["reviews"])
    assert datasets.check(["reviews"])[0].state is State.OK


@pytest.mark.parametrize("mirror", ["/no/such/folder", "ftp://host/folder"])
def test_a_mirror_that_is_none(reviews: DataSet, site: Site, mirror: str) -> None:
    with pytest.raises(DataError, match=f"{mirror} is neither a folder nor"):
        datasets.fetch(["reviews"], mirror=mirror)
    assert site.requests == []


# --- disks -----------------------------------------------------------------------------------------------------------


def test_room_is_looked_for_before_anything_is_downloaded(
    reviews: DataSet, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = replace(reviews.files[0], contents=(Content("0" * 64, 10**18),))
    monkeypatch.setitem(catalogue.DATA_SETS, "reviews", replace(reviews, files=(huge,)))
    with pytest.raises(DiskError, match=r"needs 1,000,000,000,000,000,000 bytes, and [\d,]+ are free"):
        datasets.fetch(["reviews"])
    assert site.requests == []


def test_a_disk_that_fills_up_meanwhile(reviews: DataSet) -> None:
    slip = partial("reviews", "reviews.npz.origin")
    slip.parent.mkdir(parents=True)
    slip.symlink_to("/dev/full")
    with pytest.raises(DiskError, match="full"):
        datasets.fetch(["reviews"])


def test_a_cache_that_is_no_folder(reviews: DataSet, tmp_path: Path) -> None:
    (tmp_path / "occupied").touch()
    with pytest.raises(DataError, match="could not be read from or written to"):
        datasets.fetch(["reviews"], cache=tmp_path / "occupied")


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROSETTA_CACHE", "~/elsewhere")
    assert datasets.cache_folder() == Path.home() / "elsewhere"
    monkeypatch.delenv("ROSETTA_CACHE")
    assert datasets.cache_folder() == Path.home() / ".cache/rosetta"


# --- check -----------------------------------------------------------------------------------------------------------


def test_check_says_ok_missing_and_wrong_and_changes_nothing(publish: Callable[[bytes], DataSet], site: Site) -> None:
    publish(ARCHIVE)
    folder = datasets.fetch(["images"])["images"]
    (folder / "batches/b").write_bytes(b"LABELS")
    found = datasets.check(["images"])
    assert [(file.path.name, file.state) for file in found] == [("a", State.OK), ("b", State.WRONG)]
    assert (found[1].found, found[1].expected) == (content(b"LABELS").sha256, (content(LABELS).sha256,))
    (folder / "batches/a").unlink()
    assert [file.state for file in datasets.check(["images"])] == [State.MISSING, State.WRONG]
    assert len(site.requests) == 1


def test_check_hashes_even_what_was_verified(reviews: DataSet) -> None:
    path = datasets.fetch(["reviews"])["reviews"] / "reviews.npz"
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_bytes(REVIEWS[::-1])
    os.utime(path, ns=times)
    assert datasets.check(["reviews"])[0].state is State.WRONG


def test_report_check(publish: Callable[[bytes], DataSet]) -> None:
    publish(ARCHIVE)
    folder = datasets.fetch(["images"])["images"]
    lines: list[str] = []
    datasets.report_check(["images"], say=lines.append)
    assert lines == [f"ok      {folder}/batches/a", f"ok      {folder}/batches/b"]
    (folder / "batches/b").write_bytes(b"LABELS")
    with pytest.raises(DataError, match=r"1 of 2 files[^$]*'rosetta data fetch images'"):
        datasets.report_check(["images"], say=lines.append)
    assert content(b"LABELS").sha256 in lines[-1]


# --- the table and the originals -------------------------------------------------------------------------------------


def test_the_table_names_all_data_sets_of_the_workloads() -> None:
    parameters = json.loads((ROOT / "workloads/params.json").read_text())
    assert {workload["dataset"] for workload in parameters.values()} - {None} <= catalogue.DATA_SETS.keys()
    weights = {name for workload in parameters.values() for name in workload.get("pretrained", {}).values()}
    assert weights == {name for name, dataset in catalogue.WEIGHTS.items() if not dataset.beside}


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_the_mirror_said_comes_first(reviews: DataSet, site: Site, status: int) -> None:
    said: list[str] = []
    site.statuses = [status, 404]
    with pytest.raises(DataError) as refused:
        datasets.fetch(
            ["reviews"], mirror=f"{site.url.replace('//', '//me:secret@')}/mirror?sig=secret", say=said.append
        )
    first, _, second = refused.value.why.partition("; ")
    assert f"/mirror/reviews.npz answered {status}" in first
    assert "/reviews.npz answered 404" in second
    assert refused.value.remedy.startswith("Check ROSETTA_DATA_MIRROR first")
    assert any(f"answered {status}" in line for line in said)
    assert "secret" not in str(refused.value) + "".join(said)


def test_a_wrong_mirror_is_named_before_a_publisher_out_of_reach(
    publish: Callable[[bytes], DataSet], site: Site, tmp_path: Path
) -> None:
    publish(ARCHIVE)
    site.statuses = [503] * 20
    with pytest.raises(DataError) as refused:
        datasets.fetch(["images"], mirror=str(tmp_path))
    assert refused.value.why.startswith(f"{tmp_path}/")
    assert "does not exist" in refused.value.why
    assert "503" in refused.value.why


def test_a_malformed_mirror_is_refused_in_three_sentences(reviews: DataSet) -> None:
    with pytest.raises(DataError, match="malformed address"):
        datasets.fetch(["reviews"], mirror="http://me:secret@[::1/x")


def test_every_file_of_the_table_can_be_had_and_proved() -> None:
    for dataset in catalogue.DATA_SETS.values():
        published = [dataset.archive] if dataset.archive else dataset.published
        assert all(file.url.startswith("https://") for file in published)
        assert all(not file.url for file in dataset.published if dataset.archive)
        assert all(file.path.endswith(".npy") for file in dataset.files)  # no cell unpickles anything
        for one in (*published, *dataset.files):
            assert all(re.fullmatch("[0-9a-f]{64}", sum) for sum in one.sums)
            assert one.size > 0


def test_the_weights_of_densenet_have_the_names_that_the_scripts_ask_for() -> None:
    asked = set()
    for script in (ROOT / "workloads/densenet121").glob("*.py"):
        asked |= set(re.findall(r'"(densenet121\S*\.(?:pth|h5|params))"', script.read_text()))
    assert asked == {f.path for weights in catalogue.WEIGHTS.values() if weights.beside for f in weights.files}


def test_digests_are_pinned() -> None:
    """They are part of the key of every result: a new value makes all earlier results stale."""
    assert datasets.digest("cifar-10") == "16141e7b61cb6d22df272a3c6551be71bb2f30934ed56c3ed15c58b092788801"
    assert datasets.digest("imdb") == "c1c148c9142a504d1e213c29b0409432feae57518abc9ce5c6994a939c6b869e"


def test_the_module_loads_nothing_heavy() -> None:
    heavy = "{'requests', 'rich', 'filelock', 'tarfile'}"
    code = f"import sys, orchestrator.data.datasets; print(*{heavy} & sys.modules.keys())"
    output = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert output.split() == []


@pytest.fixture
def originals() -> str:
    """The folder with the real data, as ROSETTA_TEST_DATA names it. Continuous integration can't do without."""
    if folder := REAL_DATA:
        return folder
    if REQUIRED:
        pytest.fail("ROSETTA_TEST_DATA names no folder with the original data sets, and they are required here")
    pytest.skip("ROSETTA_TEST_DATA names no folder with the original data sets")


REAL_DATA, REQUIRED = os.environ.get("ROSETTA_TEST_DATA"), os.environ.get("ROSETTA_REQUIRE_ENGINE")


def test_the_originals_come_to_where_the_harness_reads_them(
    originals: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = datasets.fetch(["cifar-10", "imdb"], mirror=originals)
    assert {file.state for file in datasets.check(["cifar-10", "imdb"])} == {State.OK}
    spec = importlib.util.spec_from_file_location("harness_data", ROOT / "workloads/harness/data.py")
    assert spec
    assert spec.loader
    harness = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(harness)
    monkeypatch.setenv("ROSETTA_DATA", str(folders["cifar-10"]))
    images = harness.load("cifar-10", "real", {})
    assert (images.x_train.shape, images.x_test.shape) == ((50_000, 3, 32, 32), (10_000, 3, 32, 32))
    assert [round(float(part.mean()), 4) for part in (images.x_train, images.x_test)] == [0.4734, 0.4766]
    assert np.bincount(images.y_train).tolist() == [5000] * 10
    monkeypatch.setenv("ROSETTA_DATA", str(folders["imdb"]))
    reviews = harness.load("imdb", "real", {"length": 150, "vocabulary": 30_000})
    # the first review as Keras' load_data hands it out
    assert reviews.x_train[0][:9].tolist() == [12, 16, 43, 530, 38, 76, 15, 13, 1247]
    assert reviews.y_train[:6].tolist() == [1, 0, 0, 1, 0, 0]
    assert reviews.x_test.shape == (25_000, 150)


def test_what_an_earlier_release_has_kept_is_converted_without_asking_anybody(
    originals: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = datasets.folder("imdb")
    folder.mkdir(parents=True)
    shutil.copy(Path(originals) / "imdb.npz", folder)
    monkeypatch.setitem(os.environ, "HTTPS_PROXY", "http://127.0.0.1:9")
    datasets.fetch(["imdb"])
    assert {file.state for file in datasets.check(["imdb"])} == {State.OK}
