"""What is taken of a cell's results folder: plain files of the right names, and no more bytes than they may have."""

import io
import os
import tarfile

import pytest

from orchestrator.cell.contract import Status
from orchestrator.cell.profile import LARGEST, SUMMARY, TRACE
from orchestrator.engines import artifacts
from orchestrator.engines.protocol import Task
from orchestrator.errors import ResultError
from tests.unit.cell.test_contract import raw
from tests.unit.cell.test_profile import CELL, files

PROFILED = Task(CELL, None, "key", "run", profile=5)
TIMED = Task(CELL, None, "key", "run")
ODD = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)


def archive(*members):
    """A tar stream of /results, of pairs of a name and its content, or of a type in its place."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(f"results/{name}")
            if content in ODD:
                info.type, info.linkname = content, "/etc/passwd"
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return iter([made.getvalue()])


def test_a_profile_is_a_recording_and_never_a_document():
    outcome = artifacts.outcome_of(
        archive(*files().items(), (".a.partial", b"x"), ("notes.txt", b"x")), PROFILED, "log"
    )
    assert (outcome.status, outcome.document, outcome.log) == (Status.OK, None, "log")
    assert outcome.recording.profile.steps == 5


def test_a_profile_where_a_result_is_due_is_refused():
    with pytest.raises(ResultError, match="is not a valid result"):
        artifacts.outcome_of(archive(*files().items()), TIMED, "")


def test_a_result_where_a_profile_is_due_is_none():
    assert artifacts.outcome_of(archive(("pytorch-rnn-1.json", raw())), PROFILED, "") is None
    with pytest.raises(ResultError):
        artifacts.outcome_of(archive((SUMMARY, raw()), (TRACE, files()[TRACE])), PROFILED, "")


def test_one_plain_document_is_a_result_and_all_else_is_refused():
    outcome = artifacts.outcome_of(archive((".b.json.partial", b"{"), ("a.json", raw())), TIMED, "log")
    assert (outcome.status, outcome.document.library, outcome.recording) == (Status.OK, "pytorch", None)
    for odd in [("b.json", raw()), ("folder/b.json", raw()), *(("b.json", kind) for kind in ODD)]:
        with pytest.raises(ResultError, match="not a single plain document"):
            artifacts.outcome_of(archive(("a.json", raw()), odd), TIMED, "")
    with pytest.raises(ResultError, match="has 4,194,305 bytes"):
        artifacts.outcome_of(archive(("a.json", b" " * (4 * 2**20 + 100))), TIMED, "")


def test_a_cell_that_leaves_nothing_has_no_outcome():
    assert artifacts.outcome_of(archive(), PROFILED, "") is None
    assert artifacts.outcome_of(archive(), TIMED, "") is None


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("name", [SUMMARY, TRACE])
def test_what_is_no_plain_file_is_refused(name, kind):
    with pytest.raises(ResultError, match="not a single plain document"):
        artifacts.outcome_of(archive(*{**files(), name: kind}.items()), PROFILED, "")


def test_more_than_a_profile_may_have_is_refused_before_it_is_read_to_its_end():
    def endless():
        info = tarfile.TarInfo(f"results/{TRACE}")
        info.size = 2**40
        yield info.tobuf()
        while True:
            yield bytes(2**20)

    with pytest.raises(ResultError, match="holds more than a result may have"):
        artifacts.outcome_of(endless(), PROFILED, "")


def test_in_a_folder_links_and_pipes_are_not_followed(tmp_path):
    (tmp_path / "elsewhere").write_bytes(files()[SUMMARY])
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / SUMMARY).symlink_to(tmp_path / "elsewhere")
    os.mkfifo(tmp_path / "results" / TRACE)
    assert artifacts.profile_in(tmp_path / "results") == {}
    (tmp_path / "results" / TRACE).unlink()
    (tmp_path / "results" / TRACE).write_bytes(bytes(LARGEST[TRACE] + 100))
    assert len(artifacts.profile_in(tmp_path / "results")[TRACE]) == LARGEST[TRACE] + 1
