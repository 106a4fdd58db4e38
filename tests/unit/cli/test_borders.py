"""What the operating system refuses, and what is no text: three sentences from every command, and no traceback."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.system.checkout import ROOT
from tests.unit.results.test_results import row, table_of, write_results

ROSETTA = [sys.executable, "-c", "from orchestrator.cli.main import main; main()"]


def said_by(*words: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """A command as a user types it."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "ROSETTA_CACHE": str(cwd / "cache")}
    return subprocess.run([*ROSETTA, *words], cwd=cwd, env=variables, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("place", ["file/sub", "/proc/none"], ids=["a file in the way", "nobody may write"])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("run --engine process --profile quick --only pytorch/rnn/cpu --results PLACE", 13),
        ("parity --engine process --only pytorch/rnn/cpu --results PLACE", 13),
        ("profile --engine process --data synthetic pytorch/rnn/cpu --results PLACE", 13),
        ("merge good.parquet -o PLACE/x.parquet", 13),
        ("report good.parquet -o PLACE", 13),
        ("status --results PLACE", 8),
        ("table --results PLACE", 8),
        ("table good.parquet --into PLACE/x.md", 8),
        ("notebook pytorch cnn -o PLACE/x.ipynb", 13),
        ("sync push --results PLACE file:///tmp/none", 8),
    ],
)
def test_a_folder_that_can_not_be_written_or_read_is_a_message(words, code, place, tmp_path):
    (tmp_path / "file").write_text("in the way")
    write_results(table_of([row()]), tmp_path / "good.parquet")
    done = said_by(*words.replace("PLACE", place).split(), cwd=tmp_path)
    assert place in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == code, done.stderr
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of the test's own, of 64 KB, with a document that fills most of it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=64k", "rosetta-test", str(folder)]
    if os.getuid() != 0 or subprocess.run(words, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root mounts a disk")
    (folder / "doc.md").write_text("mine\n" * 8000 + "<!-- rosetta table -->\n<!-- end of rosetta table -->\n")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_on_a_full_disk_a_document_stays_as_it_was(disk, tmp_path):
    write_results(table_of([row()]), tmp_path / "good.parquet")
    before = (disk / "doc.md").read_bytes()
    for words in ("table good.parquet --into disk/doc.md", "report good.parquet -o disk/site"):
        done = said_by(*words.split(), cwd=tmp_path)
        assert (done.returncode, "Traceback" in done.stderr) == (10, False), done.stderr
        assert "There is no room left in disk/" in done.stderr
    assert (disk / "doc.md").read_bytes() == before
    assert not [path for path in disk.iterdir() if "partial" in path.name]


@pytest.mark.parametrize(
    "words", ["run --profile quick", "parity", "merge disk/r", "table good.parquet --into disk/doc.md"]
)
def test_on_a_disk_that_is_only_for_reading_every_command_says_so(words, disk, tmp_path):
    write_results(table_of([row()]), tmp_path / "good.parquet")
    write_results(table_of([row()]), disk / "r" / "good.parquet")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    cells = ["--engine", "process", "--only", "pytorch/rnn/cpu", "--results", "disk/r"]
    done = said_by(*words.split(), *(cells if words[0] in "rp" else []), cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert "Read-only file system" in done.stderr
    assert done.returncode in (8, 13), done.stderr


def test_a_matrix_in_another_encoding_says_which_is_wanted(tmp_path):
    (tmp_path / "matrix.yaml").write_bytes("axes: {library: [jax], workload: [rnn]}  # für\n".encode("latin-1"))
    done = said_by("plan", "--engine", "process", cwd=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "UTF-8" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plan_whose_reader_goes_away_ends_as_usual(tmp_path):
    (tmp_path / "plan").write_text('"$@" plan --engine process --profile quick | head -n 1\nexit "${PIPESTATUS[0]}"\n')
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = ["bash", "plan", *ROSETTA]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1), done.stderr
    assert "BrokenPipe" not in done.stderr
