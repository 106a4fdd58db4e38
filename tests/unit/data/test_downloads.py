"""Downloads: against a real HTTP server on loopback, over connections that break, and across real kills."""

import signal
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.data import datasets, downloads
from orchestrator.data.catalogue import DataSet
from orchestrator.data.datasets import State
from orchestrator.errors import DataError
from tests.unit.data.publisher import REVIEWS, ROOT, TAG, Site, content, files_in, partial

pytestmark = pytest.mark.usefixtures("clean")


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
    assert caught.value.remedy.startswith("Run 'rosetta data fetch' again: it resumes where it stopped.")
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
from orchestrator.data import catalogue, datasets, downloads
from orchestrator.data.files import Content, File
url, sha256, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
downloads.LINE_EVERY = 0
catalogue.DATA_SETS["reviews"] = catalogue.DataSet("reviews", "", (File("reviews.npz", (Content(sha256, size),), url),))
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
    site.holds = 2 * downloads.CHUNK
    with child(reviews) as process:
        read_until(process, f"{2 * downloads.CHUNK:,} of 1,048,576 bytes")
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    site.holds = None
    site.gate.set()
    came = partial("reviews", "reviews.npz").stat().st_size
    assert 0 < came <= 2 * downloads.CHUNK
    datasets.fetch(["reviews"])
    assert site.requests[-1]["range"] == f"bytes={came}-"
    assert datasets.check(["reviews"])[0].state is State.OK


def test_two_processes_fetch_once(reviews: DataSet, site: Site) -> None:
    site.holds = downloads.CHUNK
    with child(reviews) as first:
        read_until(first, f"{downloads.CHUNK:,} of")
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


# --- addresses and networks ------------------------------------------------------------------------------------------


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


# --- progress --------------------------------------------------------------------------------------------------------


def test_without_a_terminal_there_are_lines(reviews: DataSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "LINE_EVERY", 0)
    lines: list[str] = []
    datasets.fetch(["reviews"], say=lines.append)
    assert lines[0] == "reviews: free to use"
    assert "reviews.npz: 524,288 of 1,048,576 bytes" in lines


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
