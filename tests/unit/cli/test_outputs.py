"""What a user names to be written: only a regular file is replaced, in a folder that is there, none of others."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from orchestrator.cli.main import main
from orchestrator.cli.pages import refuse_folder
from orchestrator.errors import ConflictError, ResultError, StorageError
from orchestrator.publish.archives import write_archive
from orchestrator.report.markdown import BEGIN, END
from orchestrator.system.library_folders import PACKAGE
from tests.unit.results.test_results import row, table_of, write_results


def rosetta(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def results(tmp_path: Path) -> Path:
    write_results(table_of([row()]), tmp_path / "mine" / "good.parquet")
    return tmp_path / "mine" / "good.parquet"


def device(path: Path) -> None:
    """A copy of /dev/null, which only root can make."""
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")


def link(path: Path) -> None:
    path.with_name("target").write_text("theirs")
    path.symlink_to(path.with_name("target"))


ODD: dict[str, Callable[[Path], None]] = {"a pipe": os.mkfifo, "a device": device, "a symbolic link": link}

WRITING = {
    "merge": "merge GOOD -o PATH.parquet",
    "notebook": "notebook pytorch cnn -o PATH.ipynb",
    "table": "table GOOD --into PATH.md",
    "diff": "diff GOOD GOOD --junit PATH.xml",
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("command", WRITING)
def test_what_is_no_regular_file_is_never_replaced(command, kind, results, tmp_path):
    words = WRITING[command].replace("GOOD", str(results)).replace("PATH", str(tmp_path / "out")).split()
    place = Path(words[-1])
    ODD[kind](place)
    before = place.lstat()
    done = rosetta(*words)
    assert (done.exit_code, place.lstat()) == (StorageError.exit_code, before)
    assert f"{place} is not a regular file.\nIt is {kind}.\n" in done.stderr
    assert not place.is_symlink() or place.read_text() == "theirs"


@pytest.mark.parametrize("kind", ["a pipe", "a device"])
def test_so_it_is_where_the_program_chose_the_name(kind, results, tmp_path):
    ODD[kind](results.with_name("merged.parquet"))
    assert rosetta("merge", results.parent).exit_code == StorageError.exit_code
    ODD[kind](tmp_path / "image.tar")
    with pytest.raises(StorageError, match="not a regular file"):
        write_archive([b"x"], tmp_path / "image.tar")
    (tmp_path / "badges").mkdir()
    assert rosetta("table", results, "--badges", tmp_path / "badges").exit_code == 0
    badge = min((tmp_path / "badges").iterdir())
    badge.unlink()
    ODD[kind](badge)
    assert rosetta("table", results, "--badges", tmp_path / "badges").exit_code == StorageError.exit_code
    assert not results.with_name("merged.parquet").is_file()
    assert not badge.is_file()


def test_an_archive_does_not_follow_a_link_that_has_its_unfinished_name(tmp_path):
    (tmp_path / "image.partial").symlink_to(tmp_path / "victim")
    write_archive([b"x"], tmp_path / "image.tar")
    assert not (tmp_path / "victim").exists()


def test_merge_writes_parquet_only_and_makes_no_folder(results, tmp_path):
    done = rosetta("merge", results, "-o", tmp_path / "all.csv")
    assert done.exit_code == 2
    assert "all.csv' does not end in .parquet. 'rosetta table --csv' writes CSV." in done.stderr
    done = rosetta("merge", results, "-o", tmp_path / "mising" / "all.parquet")
    assert done.exit_code == StorageError.exit_code
    assert f"There is no folder {tmp_path / 'mising'}." in done.stderr
    assert not (tmp_path / "mising").exists()
    assert rosetta("merge", results, "-o", tmp_path / "all.parquet").exit_code == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("x.txt", "must end in .ipynb or .py."),
        ("x", "must end in .ipynb or .py."),
        ("", "is a folder. Name a file in it, or use --all"),
    ],
)
def test_a_notebook_has_a_suffix_that_notebooks_have(name, said, tmp_path):
    done = rosetta("notebook", "pytorch", "cnn", "-o", tmp_path / name)
    assert (done.exit_code, said in done.stderr) == (2, True), done.output
    assert list(tmp_path.iterdir()) == []
    assert rosetta("notebook", "pytorch", "cnn", "-o", tmp_path / "x.py").exit_code == 0


# --- Pages ----------------------------------------------------------------------------------------------------------
def test_pages_do_not_go_among_the_files_of_others(results, tmp_path):
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text("<title>My garden</title>")
    done = rosetta("report", results, "-o", site)
    assert done.exit_code == ConflictError.exit_code
    assert f"{site} holds somebody else's files." in done.stderr
    assert "but index.html." in done.stderr
    assert [path.name for path in site.iterdir()] == ["index.html"]
    assert (site / "index.html").read_text() == "<title>My garden</title>"


def test_pages_replace_pages_of_ours_and_leave_hidden_files(results, tmp_path):
    (tmp_path / "site" / ".git").mkdir(parents=True)
    refuse_folder(tmp_path / "site", results)
    template = (PACKAGE / "report" / "site" / "templates" / "base.html.j2").read_text()
    (tmp_path / "site" / "index.html").write_text(template)
    (tmp_path / "site" / "cells.html").write_text(template)
    refuse_folder(tmp_path / "site", results)


@pytest.mark.parametrize("place", [".", ".."])
@pytest.mark.parametrize("of", ["folder", "file"])
def test_pages_do_not_go_among_what_they_are_made_of(of, place, results):
    there = sorted(results.parent.parent.rglob("*"))
    done = rosetta("report", results if of == "file" else results.parent, "-o", results.parent / place)
    assert done.exit_code == ConflictError.exit_code
    assert "holds the results that the pages are made of." in done.stderr
    assert sorted(results.parent.parent.rglob("*")) == there


# --- Documents ------------------------------------------------------------------------------------------------------
def test_a_document_of_windows_keeps_its_ends_of_lines(results, tmp_path):
    path = tmp_path / "README.md"
    path.write_bytes(f"# Mine\r\n{BEGIN}\r\nold\r\n{END}\r\nend\r\n".encode())
    assert rosetta("table", results, "--into", path).output == f"{path}: tables updated\n"
    content = path.read_bytes()
    assert b"old" not in content
    assert content.count(b"\n") == content.count(b"\r\n") > 6
    assert rosetta("table", results, "--into", path).output == f"{path}: up to date\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing", "Neither of the two lines is in it."),
        (f"{BEGIN}\n", f"It lacks the line '{END}'."),
        (f"{END}\n", f"It lacks the line '{BEGIN}'."),
        (f"{BEGIN}\n  {END}\n", f"It lacks a line of nothing but '{END}'."),
        (f"{END}\n{BEGIN}\n", f"Its line '{END}' comes first."),
        (f"{BEGIN}\n{BEGIN}\n{END}\n", f"It has the line '{BEGIN}' 2 times."),
    ],
)
def test_a_document_without_a_place_for_tables_says_what_is_wrong(text, said, results, tmp_path):
    (tmp_path / "README.md").write_text(text)
    done = rosetta("table", results, "--into", tmp_path / "README.md")
    assert done.exit_code == ResultError.exit_code
    assert f"has no place for tables.\n{said}\n" in done.stderr
    assert (tmp_path / "README.md").read_text() == text


def test_a_document_that_is_not_there_has_a_remedy(results, tmp_path):
    done = rosetta("table", results, "--into", tmp_path / "none.md")
    assert done.exit_code == ResultError.exit_code
    assert "Name a document with two lines" in done.stderr


def test_every_option_for_a_file_to_write_has_the_one_type():
    """So that the next one is checked too."""
    from orchestrator.cli.kinds import OutputFile

    writes = ("--output", "--into", "--junit")
    found = {
        (name, option): param.type
        for name, command in main.commands.items()
        for param in command.params
        for option in param.opts
        if option in writes
    }
    folders = {("report", "--output"), ("publish", "--output"), ("notebook", "--output")}  # the last can be either
    assert {place for place, kind in found.items() if not isinstance(kind, OutputFile)} == folders
