"""Results on Azure Blob Storage, against a real emulator: what is copied, what breaks, and that nothing is lost."""

import base64
import hashlib
import json
import random
import re
import signal
import subprocess
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import pytest
from azure.storage.blob import BlobBlock

from orchestrator.errors import StorageError
from orchestrator.storage import blobs
from orchestrator.storage.location import storage_at
from orchestrator.storage.protocol import Entry, Storage, Taken
from tests.storage.conftest import Account, Container
from tests.storage.folders import files, full, merged, published, result

pytestmark = pytest.mark.storage

WRONG = base64.b64encode(b"0" * 64).decode()


def test_pushed_from_one_folder_pulled_into_another_and_merged_they_are_equal(
    container: Container, tmp_path: Path
) -> None:
    here, there = full(tmp_path / "here", 20), tmp_path / "there"
    done = container.account.rosetta("sync", "push", container.location, "--results", here)
    count = len(published(here))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{count} files copied")
    assert container.content() == published(here)
    assert container.account.rosetta("sync", "pull", container.location, "--results", there).returncode == 0
    assert published(there) == published(here)
    assert merged(there, tmp_path / "there.parquet") == merged(here, tmp_path / "here.parquet")
    for folder, way in ((here, "push"), (there, "push"), (there, "pull")):
        done = container.account.rosetta("sync", way, container.location, "--results", folder)
        assert done.stdout == f"nothing copied, {count} files were there already\n"


def test_hundreds_of_results_at_a_time(container: Container, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for number in range(300):
        result(here, number)
    done = container.account.rosetta("sync", "push", container.location, "--results", here)
    assert done.stdout.splitlines()[-1].startswith("600 files copied"), done.stderr
    done = container.account.rosetta("sync", "push", container.location, "--results", here)
    assert done.stdout.splitlines() == ["nothing copied, 600 files were there already"]
    done = container.account.rosetta("sync", "pull", container.location, "--results", there)
    assert done.stdout.splitlines()[-1].startswith("600 files copied"), done.stderr
    assert dict(files(there)) == dict(files(here))
    assert merged(there, tmp_path / "there.parquet") == merged(here, tmp_path / "here.parquet")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_an_interrupted_push_and_pull_go_on(number: int, code: int, container: Container, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for each in range(300):
        result(here, each)
    whole = dict(files(here))
    words = container.account.words("sync", "push", container.location, "--results", here)
    assert interrupted(words, container, number, lambda: container.count() >= 50, tmp_path / "tmp") == code
    before = container.content()
    assert 50 <= len(before) < 600
    assert before.items() <= whole.items(), "what is there is whole"
    done = container.account.rosetta("sync", "push", container.location, "--results", here)
    copied, there_already = map(int, re.findall(r"(\d+) (?:files|were)", done.stdout))
    assert copied + there_already == 600
    assert there_already >= len(before), "more than that, if requests were on their way"
    assert container.content() == whole

    words = container.account.words("sync", "pull", container.location, "--results", there)
    assert (
        interrupted(words, container, number, lambda: len(list(there.rglob("*.parquet"))) >= 20, tmp_path / "tmp")
        == code
    )
    before = {name: content for name, content in files(there) if not name.endswith(".partial")}
    assert 20 <= len(before) < 600
    assert before.items() <= whole.items(), "what has its name is whole"
    container.account.rosetta("sync", "pull", container.location, "--results", there)
    assert {name: content for name, content in files(there) if not name.endswith(".partial")} == whole


def interrupted(words: list[str], container: Container, number: int, midway, temporary: Path) -> int:
    """The exit code of a command that gets a signal midway."""
    temporary.mkdir(exist_ok=True)
    env = container.account.variables({"TMPDIR": str(temporary)})
    with subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=-2) as command:
        try:
            while not midway():
                assert command.poll() is None, command.communicate()
                time.sleep(0.01)
            command.send_signal(number)
            said = command.communicate(timeout=60)[0].decode()
        finally:
            command.kill()
    container.account.said.append(said)
    assert number == signal.SIGKILL or "run the same command again" in said
    assert list(temporary.iterdir()) == []
    return command.returncode


def test_two_pushes_at_the_same_time_agree(container: Container, tmp_path: Path) -> None:
    for number in range(100):
        result(tmp_path / "here", number)
    with ThreadPoolExecutor(2) as pool:
        words = ("sync", "push", container.location, "--results", tmp_path / "here")
        both = list(pool.map(lambda _: container.account.rosetta(*words), range(2)))
    assert [done.returncode for done in both] == [0, 0], both
    assert container.content() == dict(files(tmp_path / "here"))


def test_a_large_file_goes_in_blocks_and_is_never_replaced_either(container: Container, tmp_path: Path) -> None:
    page = tmp_path / "here" / "reports" / "today" / "large.html"
    page.parent.mkdir(parents=True)
    page.write_bytes(random.Random(0).randbytes(2 * blobs.BLOCK + 1))
    assert container.account.rosetta("sync", "push", container.location, "--results", tmp_path / "here").returncode == 0
    blob = container.client.get_blob_client("here/reports/today/large.html")
    assert len(blob.get_block_list("committed")[0]) == 3
    assert blob.get_blob_properties().content_settings.content_md5 == hashlib.md5(page.read_bytes()).digest()
    container.account.rosetta("sync", "pull", container.location, "--results", tmp_path / "there")
    assert dict(files(tmp_path / "there")) == dict(files(tmp_path / "here"))
    assert (tmp_path / "there" / "reports" / "today" / "large.html").stat().st_mtime_ns == page.stat().st_mtime_ns
    before = container.content()
    with closing(place(container)) as blob_storage, page.open("rb") as file, pytest.raises(Taken):
        blob_storage.add(Entry("reports/today/large.html", page.stat().st_size, 0, "0" * 32), file)
    assert container.content() == before


def place(container: Container) -> Storage:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZURE_STORAGE_CONNECTION_STRING", container.account.connection_string)
        return storage_at(container.location)


def test_a_changed_remote_file_is_named_and_both_stay(container: Container, tmp_path: Path) -> None:
    here = tmp_path / "here"
    for number in range(3):
        result(here, number)
    container.account.rosetta("sync", "push", container.location, "--results", here)
    name = f"cells/{1:016x}/pytorch/rnn/cpu.parquet"
    result(tmp_path / "other", 1, seconds=2.0)
    container.put(name, (tmp_path / "other" / name).read_bytes())
    before = dict(files(here)), container.content()
    for way in ("push", "pull"):
        done = container.account.rosetta("sync", way, container.location, "--results", here)
        assert done.returncode == 14
        assert f"differ in {name}." in done.stderr
        assert "nothing was replaced" in done.stderr
    assert (dict(files(here)), container.content()) == before


HOSTILE = ("../evil.json", "cells/../../evil.parquet", "/evil.json", "evil\u202e.json", "evil/" * 90)


def test_a_blob_that_is_damaged_or_forged_is_refused(container: Container, tmp_path: Path) -> None:
    result(tmp_path / "here", 0)
    container.account.rosetta("sync", "push", container.location, "--results", tmp_path / "here")
    name = f"cells/{0:016x}/pytorch/rnn/cpu.parquet"
    container.put(name, container.content()[name][:-1])
    for hostile in HOSTILE:
        container.put_as_it_is(hostile, b"{}")
    container.put("forged.json", b"[" * 100_000)
    done = container.account.rosetta("sync", "pull", container.location, "--results", tmp_path / "there")
    assert done.returncode == 14
    assert f"refused: {name} is truncated" in done.stdout
    assert "refused: forged.json" in done.stdout
    assert f"{len(HOSTILE)} files of {container.location} belong to no result" in done.stdout
    assert "../evil.json" in done.stdout
    assert "\u202e" not in done.stdout
    assert [path.name for path in tmp_path.rglob("*evil*")] == []
    assert [path for path, _ in files(tmp_path / "there")] == [f"cells/{0:016x}/pytorch/rnn/cpu.log"]


def test_a_blob_of_another_program_needs_no_md5_to_be_compared(container: Container, tmp_path: Path) -> None:
    path = result(tmp_path / "here", 0)
    name = path.relative_to(tmp_path / "here").as_posix()
    blob = container.client.get_blob_client(f"here/{name}")
    blob.stage_block("1", path.read_bytes())
    blob.commit_block_list([BlobBlock("1")])
    assert not blob.get_blob_properties().content_settings.content_md5
    done = container.account.rosetta("sync", "push", container.location, "--results", tmp_path / "here")
    assert done.stdout.endswith("1 were there already\n"), done.stderr
    assert (
        container.account.rosetta("sync", "pull", container.location, "--results", tmp_path / "there").returncode == 0
    )
    assert dict(files(tmp_path / "there")) == dict(files(tmp_path / "here"))


# --- credentials and other refusals ---------------------------------------------------------------------------------


def key(account: Account) -> dict[str, str]:
    return {"AZURE_STORAGE_KEY": account.key}


def signature(account: Account) -> dict[str, str]:
    return {"AZURE_STORAGE_SAS_TOKEN": account.sas()}


@pytest.mark.parametrize("credentials", [key, signature])
def test_a_key_or_a_signature_that_allows_no_more_than_is_needed(credentials, container: Container, tmp_path) -> None:
    result(tmp_path / "here", 0)
    account = container.account
    env = {
        "AZURE_STORAGE_CONNECTION_STRING": "",
        "AZURE_STORAGE_SERVICE_ENDPOINT": account.url,
        **credentials(account),
    }
    for way, folder in (("push", "here"), ("pull", "there")):
        done = account.rosetta("sync", way, container.location, "--results", tmp_path / folder, **env)
        assert done.stdout.startswith("2 files copied"), done.stderr


REFUSALS = {
    "wrong key": (lambda account: {"AZURE_STORAGE_CONNECTION_STRING": account.connection(WRONG)}, "credentials"),
    "expired": (lambda account: sas_only(account, account.sas(minutes=-60)), "credentials"),
    "read only": (lambda account: sas_only(account, account.sas("rl")), "don't allow this"),
    "malformed key": (lambda account: {"AZURE_STORAGE_CONNECTION_STRING": account.connection("a")}, "credentials"),
    "malformed": (lambda account: {"AZURE_STORAGE_CONNECTION_STRING": account.key}, "malformed"),
    "malformed endpoint": (
        lambda account: {**sas_only(account, account.sas()), "AZURE_STORAGE_SERVICE_ENDPOINT": "http://[::1"},
        "malformed",
    ),
    "of another account": (
        lambda account: {
            "AZURE_STORAGE_CONNECTION_STRING": account.connection(account.key).replace("=planted", "=else")
        },
        "is not for the account",
    ),
    "none at all": (
        # the short chain: nothing waits here for a machine's identity
        lambda account: {"AZURE_STORAGE_CONNECTION_STRING": "", "AZURE_TOKEN_CREDENTIALS": "dev"},
        "no usable credentials",
    ),
}


def sas_only(account: Account, token: str) -> dict[str, str]:
    return {
        "AZURE_STORAGE_CONNECTION_STRING": "",
        "AZURE_STORAGE_SAS_TOKEN": token,
        "AZURE_STORAGE_SERVICE_ENDPOINT": account.url,
    }


@pytest.mark.parametrize("name", REFUSALS)
def test_credentials_that_do_not_serve_are_a_clear_error_and_nothing_is_lost(
    name: str, container: Container, tmp_path: Path
) -> None:
    settings, said = REFUSALS[name]
    result(tmp_path / "here", 0)
    before = dict(files(tmp_path / "here"))
    env = settings(container.account)
    done = container.account.rosetta("sync", "push", container.location, "--results", tmp_path / "here", **env)
    assert done.returncode == 13, done.stdout + done.stderr
    assert said in done.stderr
    assert "docs/storage.md" in done.stderr or "unset the variable" in done.stderr
    no_secrets(container.account, [done.stdout + done.stderr], env)
    assert dict(files(tmp_path / "here")) == before
    assert container.content() == {}


def test_a_container_that_is_not_there(container: Container, tmp_path: Path) -> None:
    result(tmp_path / "here", 0)
    location = f"az://{container.account.name}/none-of-these/here"
    for way in ("push", "pull"):
        done = container.account.rosetta("sync", way, location, "--results", tmp_path / "here")
        assert done.returncode == 13
        assert f"There is no container at {location}." in done.stderr
        assert "az storage container create" in done.stderr


def test_a_service_out_of_reach_does_not_show_the_signature(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    env = sas_only(account, account.sas()) | {"AZURE_STORAGE_SERVICE_ENDPOINT": "http://127.0.0.1:9/planted"}
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(blobs, "TRIES", 0)
    with closing(storage_at("az://planted/container")) as place, pytest.raises(StorageError) as caught:
        list(place.entries())
    assert caught.value.what == "az://planted/container can't be reached."
    account.said.append("".join(traceback.format_exception(caught.value)).replace("Traceback", ""))
    no_secrets(account, account.said, env)


# --- no room --------------------------------------------------------------------------------------------------------


@pytest.fixture
def full_account() -> Iterator[str]:
    """The address of a service that takes three blobs and then has no room: the emulator knows no quota."""

    class Service(BaseHTTPRequestHandler):
        taken = 0

        def do_GET(self) -> None:
            self.answer(200, b'<?xml version="1.0"?><EnumerationResults><Blobs/><NextMarker/></EnumerationResults>')

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            Service.taken += 1
            refusal = b"<Error><Code>QuotaExceeded</Code><Message>-</Message></Error>"
            self.answer(*((201, b"") if Service.taken <= 3 else (403, refusal)))

        def answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"1"')
            self.send_header("Last-Modified", "Wed, 25 Nov 2026 00:00:00 GMT")
            if status >= 400:
                self.send_header("x-ms-error-code", "QuotaExceeded")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/planted"
        server.shutdown()
        thread.join()


def test_an_account_without_room_is_a_clear_error(full_account: str, account: Account, tmp_path: Path) -> None:
    for number in range(20):
        result(tmp_path / "here", number)
    before = dict(files(tmp_path / "here"))
    env = sas_only(account, account.sas()) | {"AZURE_STORAGE_SERVICE_ENDPOINT": full_account}
    done = account.rosetta("sync", "push", "az://planted/container", "--results", tmp_path / "here", **env)
    assert done.returncode == 13
    assert "is full, or at one of its limits" in done.stderr
    assert done.stdout.startswith("3 files copied")
    assert dict(files(tmp_path / "here")) == before
    no_secrets(account, [done.stdout + done.stderr], env)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 256 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=256k", "rosetta-test", str(folder)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("way", ["push", "pull"])
def test_a_full_disk_is_a_clear_error_and_what_has_arrived_stays(
    way: str, small_disk: Path, account: Account, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    for number in range(40):
        result(here, number)
    before = dict(files(here))
    place, results = (small_disk, here) if way == "push" else (here, small_disk)
    done = account.rosetta("sync", way, f"file://{place}", "--results", results)
    assert done.returncode == 10
    assert f"There is no room left in {small_disk}." in done.stderr
    assert dict(files(here)) == before
    arrived = dict(files(small_disk))
    assert arrived
    assert arrived.items() <= before.items()


# --- secrets --------------------------------------------------------------------------------------------------------


def no_secrets(account: Account, texts: list[str], env: dict[str, str] | None = None) -> None:
    """None of the texts holds a key, a signature or a connection string, in any way that they may be written."""
    values = [account.key, WRONG, *(env or {}).values()]
    parts = {part for value in values for word in value.split(";") for part in word.split("&")}
    planted = {part.partition("=")[2] or part for part in parts if part.startswith(("sig=", "AccountKey="))}
    planted |= {account.key, WRONG}
    forms = {form for value in planted for form in (value, quote(value, safe=""), value.rstrip("=")) if len(form) > 9}
    for text in texts:
        assert not [form for form in forms if form in text]
        assert "sig=" not in text
        assert "AccountKey" not in text


def test_nothing_that_was_printed_or_written_holds_a_secret(container: Container, tmp_path: Path) -> None:
    """After all of the above: the output of every command of this module, and the files of one more."""
    account, here = container.account, full(tmp_path / "here", 3)
    env = sas_only(account, account.sas())
    for way, folder in (("push", here), ("pull", tmp_path / "there")):
        assert account.rosetta("sync", way, container.location, "--results", folder, **env).returncode == 0
    written = [content.decode("latin-1") for _, content in files(tmp_path)]
    stored = [content.decode("latin-1") for content in container.content().values()]
    told = [json.dumps(dict(blob.metadata)) for blob in container.client.list_blobs(include=["metadata"])]
    no_secrets(account, [*account.said, *written, *stored, *told], env)
    assert not any("Traceback" in text for text in account.said)
