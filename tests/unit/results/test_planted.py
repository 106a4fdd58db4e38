"""What a container may have planted in a results folder: what is no plain file is not opened, followed or uploaded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import ResultError
from orchestrator.report.site.serving import Watched
from orchestrator.results import sync
from orchestrator.results.claims import Claim, living
from orchestrator.results.files import read_results, table_of, write_results
from orchestrator.results.merging import gather
from orchestrator.results.paths import ResultsFolder
from orchestrator.run import status
from orchestrator.run.running import give_to_owner
from orchestrator.storage.folder import Folder
from orchestrator.system import file_locks
from orchestrator.system.checkout import ROOT
from orchestrator.system.console import screen
from orchestrator.system.regular_files import NotRegularError, read_regular, write_beside
from orchestrator.system.signals import Interruption
from tests.unit.results.test_results import row

ODD = ("link", "dangling", "pipe", "folder", "device", "socket")


def plant(path: Path, kind: str, secret: Path) -> Path:
    """Something that is no plain file, under a name that one should have."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "link":
        path.symlink_to(secret)
    elif kind == "dangling":
        path.symlink_to(secret.with_name("is-not-there"))
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        subprocess.run(
            [sys.executable, "-c", f"import socket; socket.socket(socket.AF_UNIX).bind({path.name!r})"],
            cwd=path.parent,
            check=True,
        )
    return path


@pytest.fixture
def secret(tmp_path) -> Path:
    path = tmp_path / "secret"
    path.write_text("a secret")
    return path


@pytest.fixture
def results(tmp_path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("kind", ODD)
def test_only_plain_files_are_opened(tmp_path, secret, kind):
    with pytest.raises(OSError, match="it is "):
        read_regular(plant(tmp_path / "x.json", kind, secret))


@pytest.mark.skipif(os.getuid() != 0, reason="gives a file to another user")
def test_a_further_name_of_somebody_elses_file_is_not_opened(results, secret):
    os.chown(secret, 1234, 1234)
    os.link(secret, results / "x.json")
    with pytest.raises(NotRegularError, match="hard link"):
        read_regular(results / "x.json")
    os.chown(results, 1234, 1234)
    assert read_regular(results / "x.json") == b"a secret"  # both are the folder's owner's


@pytest.mark.parametrize("kind", ODD[:3])
@pytest.mark.parametrize("name", ["x.json", "cells/0123456789abcdef/pytorch/rnn/cpu.parquet", "x.parquet"])
def test_a_merge_neither_follows_nor_waits(results, secret, kind, name):
    plant(results / name, kind, secret)
    with pytest.raises(ResultError, match=r"x\.json|cpu\.parquet|x\.parquet"):
        gather([results])


@pytest.mark.parametrize("kind", ODD)
def test_a_log_that_was_planted_is_replaced_and_not_followed(results, secret, kind):
    if kind == "folder":
        return
    path = plant(results / "cpu.log", kind, secret)
    write_beside(path, b"the log")
    assert secret.read_text() == "a secret"
    assert read_regular(path) == b"the log"
    assert [each.name for each in results.iterdir()] == ["cpu.log"]


@pytest.mark.parametrize("kind", ODD)
def test_what_is_planted_among_reports_is_not_uploaded(results, secret, tmp_path, kind):
    plant(results / "reports" / "a.html", kind, secret)
    plant(results / "x.json", kind, secret)
    plant(results / "incompatible.parquet", kind, secret)
    (results / "reports" / "good.html").write_text("good")
    sync.push(results, Folder(tmp_path / "elsewhere"), print, Interruption())
    there = sorted(path.relative_to(tmp_path / "elsewhere").as_posix() for path in (tmp_path / "elsewhere").rglob("*"))
    assert there == ["reports", "reports/good.html"]


@pytest.mark.parametrize("kind", ODD[:3])
def test_status_neither_follows_nor_waits(results, secret, kind):
    secret.write_text(json.dumps({"started": 1.0, "cell": "pytorch/rnn/cpu"}))  # were it followed, this would be taken
    plant(results / ".claims" / "a.json", kind, secret)
    plant(results / ".claims" / "a.lock", kind, secret)
    plant(results / ".claims" / "b.json", kind, secret)
    lock = file_locks.take(results / ".claims" / "b.lock")
    assert lock is not None
    assert list(living(results)) == []
    (results / ".claims" / "b.json").unlink()
    (results / ".claims" / "b.json").write_bytes(secret.read_bytes())
    assert [name for name, _ in living(results)] == ["b"]
    lock.release()
    write_results(table_of([row()]), secret)
    plant(results / "merged.parquet", kind, secret)
    assert status.read(results).done == {}  # what is refused has no status


def test_what_a_process_has_open_is_read_by_its_number_and_no_other_link(tmp_path, secret):
    with secret.open("rb") as file:
        for folder in ("/dev/fd", f"/proc/{os.getpid()}/fd"):
            assert read_regular(Path(folder, str(file.fileno()))) == b"a secret"
        alike = tmp_path / "proc" / "1" / "fd" / "3"
        for path in (plant(alike, "link", secret), Path(f"/proc/{os.getpid()}/exe")):
            with pytest.raises(NotRegularError, match="it is a link"):
                read_regular(path)


def test_a_claims_note_replaces_a_link(results, secret):
    claims = results / ".claims"
    claims.mkdir()
    for name in ("a.json", "a.partial"):
        (claims / name).symlink_to(secret)
    lock = file_locks.take(claims / "a.lock")
    assert lock is not None
    Claim(lock, claims / "a.json").update(state="running")
    assert secret.read_text() == "a secret"
    assert json.loads((claims / "a.json").read_text())["state"] == "running"
    lock.release()


@pytest.mark.skipif(os.getuid() != 0, reason="gives files to another user")
def test_root_gives_away_no_file_with_a_further_name(results, secret):
    os.chown(results, 1234, 1234)
    os.link(secret, results / "x.json")
    (results / "y.json").write_text("{}")
    give_to_owner(results)
    assert secret.stat().st_uid == 0
    assert (results / "y.json").stat().st_uid == 1234


def test_a_link_that_a_person_names_is_meant(results, tmp_path):
    write_results(table_of([]), tmp_path / "real.parquet")
    (tmp_path / "latest.parquet").symlink_to(tmp_path / "real.parquet")
    assert gather([tmp_path / "latest.parquet"]).num_rows == 0
    with pytest.raises(ResultError, match="it is a link"):
        read_results(tmp_path / "latest.parquet")


def test_a_merge_by_command_ends_at_a_pipe(results):
    os.mkfifo(results / "x.json")
    command = [sys.executable, "-c", "from orchestrator.cli.main import main; main()", "merge", str(results)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 8, done.stderr
    assert "Traceback" not in done.stderr
    assert ResultsFolder(results).merged.exists() is False


def test_a_merged_file_that_is_refused_is_named_and_the_cells_own_files_count(results, capsys):
    one = row()
    here = ResultsFolder(results)
    write_results(table_of([one]), here.result(one["key"], one["cell"]))
    here.merged.write_bytes(b"PAR1 is how it begins, and no more")
    found = status.read(results)
    assert found.done == {one["status"]: 1}
    (line,) = found.refused
    assert line.startswith(f"{here.merged} ")
    status.show(found, screen(width=200))
    assert f"not counted: {line}" in capsys.readouterr().out
    assert json.loads(json.dumps(found.as_json()))["refused"] == [line]


def test_pages_that_are_served_say_what_is_not_on_them(results):
    one = row()
    write_results(table_of([one]), ResultsFolder(results).result(one["key"], one["cell"]))
    watched = Watched(results)
    assert watched.now()["lines"] == []
    bad = results / "cells" / "0123" / "bad\x1b[2J.parquet"
    bad.parent.mkdir(exist_ok=True)
    bad.write_bytes(b"no Parquet")
    watched.look_again()
    (line,) = watched.now()["lines"]
    assert "bad [2J.parquet" in line
    assert watched.now()["lines"] == [line]  # for as long as it is there
    bad.unlink()
    watched.look_again()
    assert watched.now()["lines"] == []
