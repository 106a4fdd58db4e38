"""A publisher on loopback, for the tests of data sets and downloads; an empty folder in place of images/."""

import os
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from orchestrator.data import catalogue, downloads
from orchestrator.data.catalogue import DataSet
from orchestrator.system import library_folders
from orchestrator.system.library_folders import LibraryFolder
from tests.unit.data.publisher import LABELS, PIXELS, REVIEWS, Site, file, handler


@pytest.fixture
def site() -> Iterator[Site]:
    sites: list[Site] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(lambda: sites[0]))
    sites.append(Site(server))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield sites[0]
    sites[0].gate.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of this machine gets in, and no test waits between two tries."""
    for name in list(os.environ):
        if name.lower().endswith(("_proxy", "_ca_bundle", "pip_cert", "ssl_cert_file")) or name.startswith("ROSETTA_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "BACK_OFF", (0, 0))


@pytest.fixture
def reviews(site: Site, monkeypatch: pytest.MonkeyPatch) -> DataSet:
    """A set of one file, published on the site."""
    site.pages["/reviews.npz"] = REVIEWS
    dataset = DataSet("reviews", "free to use", (file("reviews.npz", REVIEWS, url=f"{site.url}/reviews.npz"),))
    monkeypatch.setitem(catalogue.DATA_SETS, "reviews", dataset)
    return dataset


@pytest.fixture
def publish(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], DataSet]:
    """Publishes an archive on the site, as a set of two files with the right sum of the archive."""

    def publish(archive: bytes) -> DataSet:
        site.pages["/images.tar.gz"] = archive
        dataset = DataSet(
            "images",
            "free to use",
            (file("batches/a", PIXELS), file("batches/b", LABELS)),
            file("images.tar.gz", archive, url=f"{site.url}/images.tar.gz"),
            ("batches/readme.html",),
        )
        monkeypatch.setitem(catalogue.DATA_SETS, "images", dataset)
        return dataset

    return publish


@pytest.fixture
def definitions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder in place of images/, with the real template."""
    program, folder = library_folders.PROGRAM, LibraryFolder(tmp_path / "program")
    folder.locks.mkdir(parents=True)
    folder.workloads.symlink_to(program.workloads)
    for name in ("Dockerfile.j2", "fixed-times.sh"):
        (folder.images / name).write_text((program.images / name).read_text())
    monkeypatch.setattr(library_folders, "PROGRAM", folder)
    library_folders.forget()
    yield folder.images
    library_folders.forget()
