"""Results folders and storages: what is copied, what is refused, and that nothing is ever replaced."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.data import datasets
from orchestrator.errors import ConflictError, ResultError, StorageError
from orchestrator.results import shared, sync
from orchestrator.storage.folder import Folder
from orchestrator.storage.location import storage_at
from orchestrator.storage.protocol import Entry
from orchestrator.system.signals import Interruption
from tests.storage.folders import files, full, merged, published, result
from tests.unit.cli.test_cli import rosetta

SECRET = "sv=2024-01-01&sig=c2VjcmV0"


def push(results: Path, place: Path) -> list[str]:
    said: list[str] = []
    sync.push(results, Folder(place), said.append, Interruption())
    return said


def pull(results: Path, place: Path) -> list[str]:
    said: list[str] = []
    sync.pull(results, Folder(place), said.append, Interruption())
    return said


def test_what_one_folder_has_the_other_gets_and_both_merge_to_the_same(tmp_path: Path) -> None:
    here, there, place = full(tmp_path / "here", 5), tmp_path / "there", tmp_path / "place"
    count = len(published(here)) + 1  # the list of incompatible cells
    assert push(here, place) == [f"{count} files copied (0.1 MB), 0 were there already"]
    assert len(dict(files(place))) == count
    assert push(here, place) == [f"nothing copied, {count} files were there already"]
    assert pull(there, place) == [f"{count} files copied (0.1 MB), 0 were there already"]
    assert published(here) == published(there) == dict(files(place))
    assert merged(here, tmp_path / "a.parquet") == merged(there, tmp_path / "b.parquet")
    assert len(merged(there, tmp_path / "b.parquet")) == 5 + 1 + 1 + 1  # cells, parity, by hand, incompatible
    assert pull(there, place) == push(there, place) == [f"nothing copied, {count} files were there already"]


def test_a_file_that_differs_is_named_and_both_stay(tmp_path: Path) -> None:
    here, place = tmp_path / "here", tmp_path / "place"
    for number in range(3):
        result(here, number)
    push(here, place)
    changed = result(here, 1, seconds=302.0)
    before = dict(files(here)), dict(files(place))
    result(here, 5)
    for way in (push, pull):
        with pytest.raises(ConflictError) as caught:
            way(here, place)
        assert str(changed.relative_to(here)) in caught.value.why
        assert caught.value.what.startswith("1 of the files could not be copied; nothing was replaced")
    now = dict(files(here)), dict(files(place))
    assert all(now[side].items() >= before[side].items() for side in (0, 1))
    assert len(now[1]) == 8, "the new result has arrived all the same"


def test_a_result_never_gets_anothers_log(tmp_path: Path) -> None:
    here, there, place = tmp_path / "here", tmp_path / "there", tmp_path / "place"
    push(result(here, 0).parents[4], place)
    log = result(there, 0).with_suffix(".log")
    log.with_suffix(".parquet").unlink()  # as if this cell ran there now
    log.write_text("epoch 1")
    with pytest.raises(ConflictError, match=r"cpu\.log"):
        pull(there, place)
    assert [name for name, _ in files(there)] == [str(log.relative_to(there))]


HOSTILE = (
    "../evil.parquet",
    "/etc/evil.json",
    "cells/0000000000000001/../../../evil.parquet",
    "cells/0000000000000001/pytorch/rnn/..",
    "cells/0000000000000001/pytorch//cpu.parquet",
    "cells\\0000000000000001\\pytorch\\rnn\\cpu.parquet",
    "cells/0000000000000001/pytorch/rnn/cpu.parquet\n",
    "cells/0000000000000001/pytorch/rnn/.hidden.parquet",
    "cells/0000000000000001/pytorch/rnn/cpu.passing.parquet",
    "cells/0000000000000001/pytorch/rnn/cpu.parquet/x",
    f"cells/0000000000000001/{'a' * 101}/rnn/cpu.parquet",
    "cells/000000000000000x/pytorch/rnn/cpu.parquet",
    "cells/\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660/pytorch/rnn/cpu.parquet",
    "incompatible.parquet",
    "merged.parquet",
    ".claims/id",
    "evil\x1b[2J.json",
    "reports/../evil",
    "reports/.ssh/authorized_keys",
    "C:evil.json",
    "",
)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_other_name_is_ever_written(name: str) -> None:
    assert shared.kind_of(name) is None


class Hostile(Folder):
    """A storage that lists what it likes."""

    def __init__(self, path: Path, change: Callable[[Entry], Entry]) -> None:
        super().__init__(path)
        self.change = change

    def entries(self):
        yield from map(self.change, super().entries())


def refused(tmp_path: Path, place: Path, change: Callable[[Entry], Entry] = lambda entry: entry) -> str:
    """What is said when nothing but a log can be taken from a place."""
    said: list[str] = []
    with pytest.raises(ConflictError, match="nothing was replaced"):
        sync.pull(tmp_path / "there", Hostile(place, change), said.append, Interruption())
    assert [name for name, _ in files(tmp_path / "there") if not name.endswith(".log")] == []
    return "\n".join(said)


def test_names_that_no_result_has_are_left_where_they_are(tmp_path: Path) -> None:
    place = tmp_path / "place"
    result(place, 0)
    (place / "secrets.txt").write_text("not ours")
    said: list[str] = []
    names = iter(HOSTILE[:3] + HOSTILE[16:17])
    hostile = Hostile(place, lambda entry: replace(entry, name=next(names)))
    sync.pull(tmp_path / "there", hostile, said.append, Interruption())
    assert not (tmp_path / "there").exists()
    assert "\x1b" not in said[-1]
    (name,) = push(tmp_path / "place", tmp_path / "other")[-1:]
    assert name.endswith("belong to no result: secrets.txt")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "truncated or damaged"),
        (lambda path: path.write_bytes(b"PAR1"), "truncated or damaged"),
        (lambda path: result(path.parents[4], 0, key="f" * 16), "does not hold the result"),
        (lambda path: result(path.parents[4], 0, cell="jax/rnn/cpu"), "but its axes say"),
        (lambda path: os.truncate(path, 17 * 2**20), "more than such a file may have"),
    ],
)
def test_a_bad_result_is_refused_by_name_on_both_ways(spoil, said: str, tmp_path: Path) -> None:
    place = tmp_path / "place"
    path = result(place, 0)
    spoil(path)
    message = refused(tmp_path, place)
    assert said in message
    assert f"refused: {path.relative_to(place)} " in message
    with pytest.raises(ConflictError):
        push(place, tmp_path / "other")
    assert not list((tmp_path / "other").rglob("*.parquet"))


def test_a_document_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "by-hand.json").write_text(json.dumps({"contract": 1}))
    assert "refused: by-hand.json " in refused(tmp_path, tmp_path / "place")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda entry: replace(entry, size=entry.size - 1), "more bytes than its storage reports"),
        (lambda entry: replace(entry, size=entry.size + 1), "does not have the content that its storage reports"),
        (lambda entry: replace(entry, md5="0" * 32), "does not have the content that its storage reports"),
    ],
)
def test_other_bytes_than_were_listed_are_refused(change, said: str, tmp_path: Path) -> None:
    result(tmp_path / "place", 0)
    assert said in refused(tmp_path, tmp_path / "place", change)


def test_a_folder_in_the_place_of_a_file_is_a_conflict(tmp_path: Path) -> None:
    path = result(tmp_path / "place", 0)
    (tmp_path / "there" / path.relative_to(tmp_path / "place")).with_suffix(".log").mkdir(parents=True)
    with pytest.raises(ConflictError):
        pull(tmp_path / "there", tmp_path / "place")


@pytest.mark.parametrize(
    "location",
    [
        "results",
        "/mnt/results",
        "s3://bucket/results",
        "az://account",
        "az://Account/results",
        "az://account/re--sults",
        "az://account/results/../other",
        "az://account.evil.example/results",
        "az://user:pass@account/results",
        f"az://account/results?{SECRET}",
        f"https://account.blob.core.windows.net/results?{SECRET}",
        f"DefaultEndpointsProtocol=https;AccountName=account;AccountKey={SECRET}",
        f"file:///mnt/results?{SECRET}",
        "file://host/results",
    ],
)
def test_a_location_that_is_none_is_never_repeated(location: str) -> None:
    with pytest.raises(StorageError) as caught:
        storage_at(location)
    assert SECRET not in str(caught.value)
    assert "file:///path" in caught.value.what


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["push", "results"], 13, "neither az://"),
        (["push", "foo://x"], 13, "Write az://ACCOUNT/CONTAINER or file:///PATH."),
        (["push", "az://account/container?sig=x"], 13, "Credentials come from the environment"),
        (["push", "file:///tmp"], 8, "There is no results"),
        (["push"], 2, "LOCATION"),
        (["pull", "az://account/container"], 13, "malformed"),
    ],
)
def test_errors_as_a_user_sees_them(words: list[str], code: int, said: str, tmp_path: Path) -> None:
    done = rosetta("sync", *words, cwd=tmp_path, AZURE_STORAGE_CONNECTION_STRING="AccountKey=c2VjcmV0")
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "c2VjcmV0" not in done.stderr


def test_the_command_copies_and_ends_with_14_for_a_conflict(tmp_path: Path) -> None:
    result(tmp_path / "results", 0)
    location = f"file://{tmp_path}/place"
    assert "2 files copied" in rosetta("sync", "push", location, cwd=tmp_path).stdout
    assert "2 files copied" in rosetta("sync", "pull", location, "--results", "other", cwd=tmp_path).stdout
    result(tmp_path / "other", 0, seconds=3.0)
    done = rosetta("sync", "push", location, "--results", "other", cwd=tmp_path)
    assert done.returncode == 14
    assert "differ in cells/0000000000000000/pytorch/rnn/cpu.parquet." in done.stderr


def test_an_interruption_is_heard_and_keeps_what_has_come(tmp_path: Path) -> None:
    for number in range(20):
        result(tmp_path / "here", number)
    interruption, said = Interruption(), []
    place = Folder(tmp_path / "place")
    add = place.add

    def add_and_interrupt(entry, content) -> None:
        add(entry, content)
        interruption.came = True

    place.add = add_and_interrupt
    with pytest.raises(KeyboardInterrupt):
        sync.push(tmp_path / "here", place, said.append, interruption)
    there = dict(files(tmp_path / "place"))
    assert 1 <= len(there) <= 2 * sync.WORKERS
    assert there.items() <= dict(files(tmp_path / "here")).items()
    assert [line.partition(" (")[0] for line in said] == [f"{len(there)} files copied"]
    assert push(tmp_path / "here", tmp_path / "place")[-1].startswith(f"{40 - len(there)} files copied")


def test_a_mirror_with_a_secret_in_its_address_is_refused_and_not_noted(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        datasets.fetch(["imdb"], cache=tmp_path, mirror=f"az://account/container?{SECRET}")
    assert SECRET not in str(caught.value)
    assert SECRET.encode() not in b"".join(content for _, content in files(tmp_path))


def test_a_results_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="There is no"):
        push(tmp_path / "none", tmp_path / "place")


def test_help_names_no_option_for_a_secret(tmp_path: Path) -> None:
    for words in (["sync"], ["sync", "push"], ["sync", "pull"]):
        done = rosetta(*words, "--help", cwd=tmp_path)
        assert "rosetta sync" in done.stdout.partition("examples:")[2]
        assert not any(word in done.stdout for word in ("--key", "--sas", "--token", "--connection"))
