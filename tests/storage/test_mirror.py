"""The original files of data sets on Azure Blob Storage: ROSETTA_DATA_MIRROR=az://…, against a real emulator."""

import os
from pathlib import Path

import pytest

from orchestrator.data import catalogue, datasets, downloads
from orchestrator.data.catalogue import DataSet
from orchestrator.errors import DataError, StorageError
from tests.containers.conftest import real_data  # noqa: F401 (a fixture)
from tests.storage.conftest import Account, Container
from tests.storage.folders import files
from tests.storage.test_azurite import WRONG, no_secrets
from tests.unit.data.publisher import REVIEWS, file, partial

pytestmark = pytest.mark.storage

HALF = len(REVIEWS) // 2


@pytest.fixture(autouse=True)
def reviews(account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set of one file, whose publisher is out of reach."""
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", account.connection_string)
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "BACK_OFF", ())
    files = (file("reviews.npz", REVIEWS, url="http://127.0.0.1:9/reviews.npz"),)
    monkeypatch.setitem(catalogue.DATA_SETS, "reviews", DataSet("reviews", "free to use", files))


def fetch(container: Container) -> bytes:
    folder = datasets.fetch(["reviews"], mirror=container.location)["reviews"]
    return (folder / "reviews.npz").read_bytes()


def test_a_set_comes_from_a_container(container: Container, account: Account, tmp_path: Path) -> None:
    container.put("reviews.npz", REVIEWS)
    assert fetch(container) == REVIEWS
    no_secrets(account, [content.decode("latin-1") for _, content in files(tmp_path)])


def test_a_download_goes_on_where_it_stopped(container: Container) -> None:
    container.put("reviews.npz", bytes(HALF) + REVIEWS[HALF:])  # its first half would not do
    path = partial("reviews", "reviews.npz")
    path.parent.mkdir(parents=True)
    path.write_bytes(REVIEWS[:HALF])
    path.with_name("reviews.npz.origin").write_text(f"{container.location}/reviews.npz\n")
    assert fetch(container) == REVIEWS


def test_a_part_that_is_longer_than_the_blob_is_given_up(container: Container) -> None:
    container.put("reviews.npz", REVIEWS[:10])
    path = partial("reviews", "reviews.npz")
    path.parent.mkdir(parents=True)
    path.write_bytes(REVIEWS[:HALF])
    path.with_name("reviews.npz.origin").write_text(f"{container.location}/reviews.npz\n")
    with pytest.raises(DataError, match="is not the file its publisher made"):
        fetch(container)
    container.put("reviews.npz", REVIEWS)
    assert fetch(container) == REVIEWS


def test_what_the_container_lacks_is_asked_of_the_publisher(container: Container) -> None:
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:9/reviews\.npz.*refused"):
        fetch(container)


def test_another_file_in_its_place_is_an_error(container: Container) -> None:
    container.put("reviews.npz", REVIEWS[:-1] + b"!")
    with pytest.raises(DataError, match=f"{container.location}/reviews.npz is not the file its publisher made"):
        fetch(container)
    assert not list(datasets.folder("reviews").rglob("*.npz"))


def test_wrong_credentials_are_no_reason_to_ask_elsewhere(
    container: Container, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", account.connection(WRONG))
    with pytest.raises(StorageError, match="credentials"):
        fetch(container)


def test_the_real_reviews_come_from_a_container(container: Container, real_data: Path, tmp_path: Path) -> None:  # noqa: F811
    container.put("imdb.npz", (real_data / "imdb.npz").read_bytes())
    env = {"ROSETTA_DATA_MIRROR": container.location, "ROSETTA_CACHE": os.fspath(tmp_path)}
    done = container.account.rosetta("data", "fetch", "imdb", **env)
    assert done.returncode == 0, done.stderr
    assert container.account.rosetta("data", "check", "imdb", **env).returncode == 0
