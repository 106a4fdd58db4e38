"""Data sets: against a real HTTP server on loopback, real archives, a real kill, and the originals where they are."""

import gzip
import hashlib
import importlib.util
import io
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from orchestrator import datasets
from orchestrator.datasets import Content, DataSet, File, State
from orchestrator.errors import DataError, DiskError

ROOT = Path(__file__).parents[2]
REVIEWS = bytes(range(256)) * 4096  # 1 MiB, four chunks
PIXELS, LABELS = b"pixels " * 70_000, b"labels"
TAG = '"the-first"'


def content(data: bytes) -> Content:
    return Content(hashlib.sha256(data).hexdigest(), len(data))


def file(path: str, *accepted: bytes, url: str = "") -> File:
    return File(path, tuple(map(content, accepted)), url)


def tar_gz(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, data


GOOD = (member("batches", kind=tarfile.DIRTYPE), member("batches/a", PIXELS), member("batches/b", LABELS))
ARCHIVE = tar_gz(*GOOD, member("batches/readme.html", b"hello"))


@dataclass
class Site:
    """A web site on loopback: ``pages`` by path, and how it behaves."""

    server: ThreadingHTTPServer
    pages: dict[str, bytes] = field(default_factory=dict)
    breaks: list[int] = field(default_factory=list)
    """Bytes of the body after which each of the next answers breaks off."""
    statuses: list[int] = field(default_factory=list)
    """What the next requests are answered instead of the page."""
    ranges: bool = True
    tag: str | None = TAG
    length: bool = True
    shift: int = 0
    requests: list[dict[str, str]] = field(default_factory=list)
    served: dict[str, int] = field(default_factory=dict)
    """Bytes of bodies sent, by path."""
    gate: threading.Event = field(default_factory=threading.Event)
    holds: int | None = None
    """Bytes of the body after which every answer waits for ``gate``."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


def handler(get_site: Callable[[], Site]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site, path = get_site(), urlsplit(self.path).path
            site.requests.append({key.lower(): value for key, value in self.headers.items()} | {"path": self.path})
            page = site.pages.get(path)
            if site.statuses or page is None:
                self.send_error(site.statuses.pop(0) if site.statuses else 404)
                return
            start = self.start(site)
            if start >= len(page):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start + site.shift}-{len(page) - 1}/{len(page)}")
            if site.length:
                self.send_header("Content-Length", str(len(page) - start))
            if site.tag:
                self.send_header("ETag", site.tag)
            self.end_headers()
            self.body(site, path, page[start:])

        def start(self, site: Site) -> int:
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            unchanged = self.headers.get("If-Range", site.tag) == site.tag
            return int(asked[1]) if asked and site.ranges and unchanged else 0

        def body(self, site: Site, path: str, data: bytes) -> None:
            if site.breaks:
                data = data[: site.breaks.pop(0)]
            first = len(data) if site.holds is None else site.holds
            for part in (data[:first], data[first:]):
                self.wfile.write(part)
                self.wfile.flush()
                site.served[path] = site.served.get(path, 0) + len(part)
                if site.holds is not None:
                    site.gate.wait(30)

        def handle(self) -> None:
            with suppress(OSError):  # clients that give up are part of these tests
                super().handle()

        def finish(self) -> None:
            with suppress(OSError):
                super().finish()

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    return Handler


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


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of this machine gets in, and no test waits between two tries."""
    for name in list(os.environ):
        if name.lower().endswith(("_proxy", "_ca_bundle", "pip_cert", "ssl_cert_file")) or name.startswith("ROSETTA_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets, "BACK_OFF", (0, 0))


@pytest.fixture
def reviews(site: Site, monkeypatch: pytest.MonkeyPatch) -> DataSet:
    """A set of one file, published on the site."""
    site.pages["/reviews.npz"] = REVIEWS
    dataset = DataSet("reviews", "Reviews", "", "", (file("reviews.npz", REVIEWS, url=f"{site.url}/reviews.npz"),))
    monkeypatch.setitem(datasets.DATA_SETS, "reviews", dataset)
    return dataset


@pytest.fixture
def publish(site: Site, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], DataSet]:
    """Publishes an archive on the site, as a set of two files with the right sum of the archive."""

    def publish(archive: bytes) -> DataSet:
        site.pages["/images.tar.gz"] = archive
        dataset = DataSet(
            "images",
            "Images",
            "",
            "",
            (file("batches/a", PIXELS), file("batches/b", LABELS)),
            file("images.tar.gz", archive, url=f"{site.url}/images.tar.gz"),
            ("batches/readme.html",),
        )
        monkeypatch.setitem(datasets.DATA_SETS, "images", dataset)
        return dataset

    return publish


def partial(name: str, path: str) -> Path:
    return datasets.cache_folder() / "data" / f".{name}" / "incoming" / path


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


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
    monkeypatch.delattr(datasets, "sha256")
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
    with pytest.raises(DataError, match="There are: cifar-10, imdb, reviews"):
        datasets.check(["?"])
    assert [dataset.name for dataset in datasets.named(["imdb", "imdb"])] == ["imdb"]
    monkeypatch.setattr(datasets, "DATA_SETS", {"reviews": reviews})
    assert list(datasets.fetch([])) == ["reviews"]


# --- connections that break -----------------------------------------------------------------------------------------


def test_a_broken_download_goes_on_where_it_stopped(reviews: DataSet, site: Site) -> None:
    site.breaks = [300_000, 400_000]
    folder = datasets.fetch(["reviews"])["reviews"]
    assert (folder / "reviews.npz").read_bytes() == REVIEWS
    assert site.served["/reviews.npz"] == len(REVIEWS)
    assert [request.get("range") for request in site.requests] == [None, "bytes=300000-", "bytes=700000-"]
    assert [request.get("if-range") for request in site.requests] == [None, TAG, TAG]


def test_after_the_last_try_the_next_call_goes_on(reviews: DataSet, site: Site) -> None:
    site.breaks = [100_000] * 3
    with pytest.raises(DataError) as caught:
        datasets.fetch(["reviews"])
    assert caught.value.what == "The download broke off after 300,000 of the 1,048,576 bytes of reviews.npz."
    assert caught.value.remedy.startswith("Run 'rosetta data fetch' again: it goes on where it stopped.")
    assert files_in(datasets.folder("reviews")) == []
    datasets.fetch(["reviews"])
    assert site.served["/reviews.npz"] == len(REVIEWS)
    assert datasets.check(["reviews"])[0].state is State.OK


def test_a_server_without_ranges_is_asked_from_the_start(reviews: DataSet, site: Site) -> None:
    site.ranges, site.breaks = False, [300_000]
    datasets.fetch(["reviews"])
    assert datasets.check(["reviews"])[0].state is State.OK
    assert site.served["/reviews.npz"] == 300_000 + len(REVIEWS)


def test_a_file_that_changed_meanwhile_is_not_glued_to_the_old_one(reviews: DataSet, site: Site) -> None:
    site.pages["/reviews.npz"], site.breaks = bytes(len(REVIEWS)), [300_000] * 3
    with pytest.raises(DataError, match="broke off"):
        datasets.fetch(["reviews"])
    site.pages["/reviews.npz"], site.tag = REVIEWS, '"the-second"'
    datasets.fetch(["reviews"])
    assert datasets.check(["reviews"])[0].state is State.OK
    assert site.requests[-1]["if-range"] == TAG


@pytest.mark.parametrize("tag", [None, 'W/"weak"'])
def test_resuming_needs_no_strong_validator(reviews: DataSet, site: Site, tag: str | None) -> None:
    site.tag, site.breaks = tag, [300_000]
    datasets.fetch(["reviews"])
    assert site.served["/reviews.npz"] == len(REVIEWS)
    assert all("if-range" not in request for request in site.requests)


def test_an_answer_of_untold_length_that_ends_early_is_a_break(reviews: DataSet, site: Site) -> None:
    site.length, site.breaks = False, [300_000]
    datasets.fetch(["reviews"])
    assert site.served["/reviews.npz"] == len(REVIEWS)


def test_another_part_than_asked_for_is_not_taken(reviews: DataSet, site: Site) -> None:
    site.shift, site.breaks = 1, [300_000]
    datasets.fetch(["reviews"])
    assert datasets.check(["reviews"])[0].state is State.OK
    assert [request.get("range") for request in site.requests] == [None, "bytes=300000-", None]


def test_a_page_shorter_than_what_came_before_is_asked_from_the_start(reviews: DataSet, site: Site) -> None:
    site.breaks = [300_000] * 3
    with pytest.raises(DataError, match="broke off"):
        datasets.fetch(["reviews"])
    site.pages["/reviews.npz"] = REVIEWS[:5]
    with pytest.raises(DataError, match="is not the file its publisher made"):
        datasets.fetch(["reviews"])
    assert [request.get("range") for request in site.requests[3:]] == ["bytes=900000-", None]


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again(reviews: DataSet, site: Site, status: int) -> None:
    site.statuses = [status, status]
    datasets.fetch(["reviews"])
    assert len(site.requests) == 3


def test_a_server_that_is_not_there(reviews: DataSet, site: Site) -> None:
    site.server.socket.close()
    with pytest.raises(DataError, match=r"can't be downloaded[^$]*refused[^$]*ROSETTA_DATA_MIRROR"):
        datasets.fetch(["reviews"])


def test_a_name_that_means_nothing_is_asked_once(reviews: DataSet) -> None:
    lines: list[str] = []
    with pytest.raises(DataError, match=r"reviews\.npz: Failed to resolve 'mirror\.invalid'"):
        datasets.fetch(["reviews"], mirror="http://mirror.invalid", say=lines.append)
    assert not any("next try" in line for line in lines)


@pytest.mark.parametrize("from_folder", [True, False])
def test_what_came_whole_before_a_kill_is_not_fetched_again(
    reviews: DataSet, site: Site, tmp_path: Path, from_folder: bool
) -> None:
    path = partial("reviews", "reviews.npz")
    path.parent.mkdir(parents=True)
    path.write_bytes(REVIEWS)
    (tmp_path / "empty").mkdir()
    datasets.fetch(["reviews"], mirror=str(tmp_path / "empty") if from_folder else None)
    assert datasets.check(["reviews"])[0].state is State.OK
    assert site.requests == []


CHILD = """
import sys
from orchestrator import datasets
from orchestrator.datasets import Content, DataSet, File
url, sha256, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
datasets.LINE_EVERY = 0
datasets.DATA_SETS["reviews"] = DataSet("reviews", "", "", "", (File("reviews.npz", (Content(sha256, size),), url),))
datasets.fetch(["reviews"], say=lambda line: print(line, flush=True))
"""


def child(dataset: DataSet) -> "subprocess.Popen[str]":
    """A process of its own that fetches the data set and prints its progress."""
    only = dataset.files[0]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, only.url, only.sums[0], str(only.size)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def read_until(process: "subprocess.Popen[str]", part: str) -> str:
    assert process.stdout
    return next(line for line in process.stdout if part in line)


def test_a_killed_fetch_is_continued_by_the_next(reviews: DataSet, site: Site) -> None:
    site.holds = 2 * datasets.CHUNK
    with child(reviews) as process:
        read_until(process, f"{2 * datasets.CHUNK:,} of 1,048,576 bytes")
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    site.holds = None
    site.gate.set()
    came = partial("reviews", "reviews.npz").stat().st_size
    assert 0 < came <= 2 * datasets.CHUNK
    datasets.fetch(["reviews"])
    assert site.requests[-1]["range"] == f"bytes={came}-"
    assert datasets.check(["reviews"])[0].state is State.OK


def test_two_processes_fetch_once(reviews: DataSet, site: Site) -> None:
    site.holds = datasets.CHUNK
    with child(reviews) as first:
        read_until(first, f"{datasets.CHUNK:,} of")
        with child(reviews) as second:
            read_until(second, "waiting for another process")
            site.gate.set()
            assert (first.wait(30), second.wait(30)) == (0, 0)
    assert site.served["/reviews.npz"] == len(REVIEWS)
    assert len(site.requests) == 1


# --- bytes that are not the publisher's ------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [REVIEWS[:-1] + b"!", b"<html>please log in</html>"])
def test_a_wrong_checksum_names_both_sums_and_leaves_nothing(reviews: DataSet, site: Site, wrong: bytes) -> None:
    site.pages["/reviews.npz"] = wrong
    with pytest.raises(DataError) as caught:
        datasets.fetch(["reviews"])
    assert content(wrong).sha256 in caught.value.why
    assert content(REVIEWS).sha256 in caught.value.why
    assert caught.value.remedy
    assert files_in(datasets.cache_folder()) == ["data/.reviews/lock"]
    assert len(site.requests) == 1


def test_more_bytes_than_declared_are_refused_as_they_come(reviews: DataSet, site: Site) -> None:
    site.pages["/reviews.npz"] = REVIEWS * 8
    with pytest.raises(DataError, match="more than the 1,048,576 bytes"):
        datasets.fetch(["reviews"])
    assert files_in(datasets.cache_folder()) == ["data/.reviews/lock"]


def test_a_copy_packed_otherwise_is_accepted_and_has_the_same_digest(
    reviews: DataSet, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest, repacked = datasets.digest("reviews"), REVIEWS[::-1]
    both = file("reviews.npz", REVIEWS, repacked, url=reviews.files[0].url)
    monkeypatch.setitem(datasets.DATA_SETS, "reviews", replace(reviews, files=(both,)))
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


def test_a_url_that_is_none(reviews: DataSet) -> None:
    with pytest.raises(DataError, match="can't be downloaded"):
        datasets.fetch(["reviews"], mirror="http://")


def test_secrets_in_the_address_of_a_mirror_are_used_but_not_shown(reviews: DataSet, site: Site) -> None:
    site.pages.clear()
    mirror = f"http://me:hunter2@127.0.0.1:{site.server.server_port}/mirror?signature=abc"
    lines: list[str] = []
    with pytest.raises(DataError) as caught:
        datasets.fetch(["reviews"], mirror=mirror, say=lines.append)
    assert site.requests[0]["path"] == "/mirror/reviews.npz?signature=abc"
    assert site.requests[0]["authorization"].startswith("Basic ")
    assert "/mirror/reviews.npz answered 404" in str(caught.value)
    told = "\n".join([str(caught.value), *lines])
    assert "hunter2" not in told
    assert "abc" not in told


def test_half_a_file_of_the_publisher_is_not_continued_from_a_mirror(reviews: DataSet, site: Site) -> None:
    site.breaks = [100_000] * 3
    with pytest.raises(DataError):
        datasets.fetch(["reviews"])
    site.pages["/mirror/reviews.npz"] = REVIEWS
    datasets.fetch(["reviews"], mirror=f"{site.url}/mirror")
    assert "range" not in site.requests[-1]


# --- networks and disks ----------------------------------------------------------------------------------------------


def test_a_proxy_is_used(reviews: DataSet, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", site.url)
    datasets.fetch(["reviews"], mirror="http://mirror.invalid")
    assert [request["path"] for request in site.requests] == ["http://mirror.invalid/reviews.npz"]


@pytest.mark.parametrize("variable", ["ROSETTA_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "SSL_CERT_FILE"])
def test_a_certificate_authority_of_ones_own(
    reviews: DataSet, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    bundle, key = tmp_path / "ca.pem", tmp_path / "key.pem"
    names = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command = ["openssl", "req", "-x509", *curve, *names, "-keyout", str(key), "-out", str(bundle)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(bundle, key)
    site.server.socket = context.wrap_socket(site.server.socket, server_side=True, do_handshake_on_connect=False)
    secure = site.url.replace("http:", "https:")
    with pytest.raises(DataError, match=r"CERTIFICATE_VERIFY_FAILED[^$]*ROSETTA_CA_BUNDLE"):
        datasets.fetch(["reviews"], mirror=secure)
    monkeypatch.setenv(variable, str(bundle))
    datasets.fetch(["reviews"], mirror=secure)
    assert datasets.check(["reviews"])[0].state is State.OK


def test_a_bundle_that_is_not_there(reviews: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROSETTA_CA_BUNDLE", "/no/bundle.pem")
    with pytest.raises(DataError, match=r"ROSETTA_CA_BUNDLE names /no/bundle\.pem"):
        datasets.fetch(["reviews"])


def test_room_is_looked_for_before_anything_is_downloaded(
    reviews: DataSet, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = replace(reviews.files[0], contents=(Content("0" * 64, 10**18),))
    monkeypatch.setitem(datasets.DATA_SETS, "reviews", replace(reviews, files=(huge,)))
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
    with pytest.raises(DataError, match="could not be read from or put into"):
        datasets.fetch(["reviews"], cache=tmp_path / "occupied")


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROSETTA_CACHE", "~/elsewhere")
    assert datasets.cache_folder() == Path.home() / "elsewhere"
    monkeypatch.delenv("ROSETTA_CACHE")
    assert datasets.cache_folder() == Path.home() / ".cache/rosetta"


# --- check and progress ----------------------------------------------------------------------------------------------


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


def test_without_a_terminal_there_are_lines(reviews: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "LINE_EVERY", 0)
    lines: list[str] = []
    folder = datasets.fetch(["reviews"], say=lines.append)["reviews"]
    assert "reviews.npz: 524,288 of 1,048,576 bytes" in lines
    assert lines[-1] == f"reviews: complete in {folder}"


def test_on_a_terminal_there_is_a_bar(
    reviews: DataSet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    datasets.fetch(["reviews"], say=lambda _: None)
    assert "1.0/1.0 MB" in capsys.readouterr().err


def test_a_new_try_is_announced(reviews: DataSet, site: Site) -> None:
    site.statuses = [503]
    lines: list[str] = []
    datasets.fetch(["reviews"], say=lines.append)
    assert "reviews.npz: the server answered 503 Service Unavailable; next try in 0 s" in lines


# --- the table and the originals -------------------------------------------------------------------------------------


def test_the_table_names_all_data_sets_of_the_workloads() -> None:
    parameters = json.loads((ROOT / "workloads/params.json").read_text())
    assert {workload["dataset"] for workload in parameters.values()} <= datasets.DATA_SETS.keys()


def test_every_file_of_the_table_can_be_had_and_proved() -> None:
    for dataset in datasets.DATA_SETS.values():
        published = [dataset.archive] if dataset.archive else dataset.files
        assert all(file.url.startswith("https://") for file in published)
        assert all(not file.url for file in dataset.files if dataset.archive)
        for file in (*published, *dataset.files):
            assert all(re.fullmatch("[0-9a-f]{64}", sum) for sum in file.sums)
            assert file.size > 0


def test_digests_are_pinned() -> None:
    """They are part of the key of every result: a new value makes all earlier results stale."""
    assert datasets.digest("cifar-10") == "16141e7b61cb6d22df272a3c6551be71bb2f30934ed56c3ed15c58b092788801"
    assert datasets.digest("imdb") == "c1c148c9142a504d1e213c29b0409432feae57518abc9ce5c6994a939c6b869e"


def test_the_module_loads_nothing_heavy() -> None:
    code = "import sys, orchestrator.datasets; print(*{'requests', 'rich', 'filelock', 'tarfile'} & sys.modules.keys())"
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
    for name, path in (("cifar-10", "cifar-10-batches-py/data_batch_5"), ("imdb", "imdb.npz")):
        monkeypatch.setenv("ROSETTA_DATA", str(folders[name]))
        assert Path(harness.data_file(*path.split("/"))).stat().st_size > 10**7
    shutil.rmtree(tmp_path / "cache")
