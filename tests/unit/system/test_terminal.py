"""The one door to the terminal: what passes it, who uses it, and what becomes of a reader that goes away."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cell.cell import Cell
from orchestrator.engines.output import failure
from orchestrator.errors import ResultError
from orchestrator.publish.reproduction import Pair
from orchestrator.publish.screen import show as show_pairs
from orchestrator.results.merging import merge
from orchestrator.run.screen import Lines, Live
from orchestrator.system import console
from orchestrator.system.checkout import ROOT
from orchestrator.system.console import PlainConsole
from orchestrator.system.slots import Lease
from orchestrator.system.terminal import echo, note, plain
from tests.unit.results.test_results import row

OSC = "\x1b]52;c;cm0gLXJm\x07\x1b]0;title\x1b\\\x9b2J\u202e\u2066\x08\r"
HARMFUL = re.compile("[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\x1b(?!\\[[0-9;]*m)")
"""Controls, and escapes that are no colour of our own."""


@given(text=st.text())
def test_plain_text_has_nothing_that_steers(text):
    made = plain(text)
    assert not HARMFUL.search(made)
    assert "\x1b" not in made
    assert len(made) == len(text)
    assert plain(made) == made


def test_there_is_one_door():
    allowed = {"terminal.py", "console.py", "main.py", "__main__.py"}
    pattern = re.compile(r"click\.echo|(?<![\w.])print\(|(?<![\w.])Console\(|sys\.std(out|err)\.write")
    # those two run inside containers, by the image's own Python
    inside = {"inventory.py", "machine_code.py"}
    for path in (ROOT / "orchestrator").rglob("*.py"):
        if path.name not in allowed | inside:
            assert not pattern.search(path.read_text(encoding="utf-8")), path


def test_what_a_cell_says_last_and_calls_its_metric_can_not_steer_a_terminal():
    out = io.StringIO()
    console = PlainConsole(file=out, force_terminal=True, width=100)
    cell = Cell("pytorch", "rnn")
    for progress in (Lines(console), Live(console)):
        progress.started(cell, Lease((), (0,), 1))
        progress.say(OSC)
        outcome = failure(f"words\n{OSC}last", 1)
        progress.finished(cell, row(outcome=outcome))
        progress.finished(cell, {**row(epochs=2), "metric": OSC})
    assert not HARMFUL.search(out.getvalue())
    assert "last" in out.getvalue()


def test_nor_can_files_in_merge_and_cells_in_reproduce(tmp_path, capsys):
    (tmp_path / f"{OSC.replace('/', '')}.parquet").write_text("no Parquet")
    with pytest.raises(ResultError) as error:
        merge([tmp_path], tmp_path / "out.parquet", note)
    echo(str(error.value), err=True)
    echo(OSC)
    show_pairs([Pair(OSC, 0, 0.5, 0.5, False, (OSC,))], as_json=False)
    show_pairs([Pair(OSC, 0, 0.5, 0.5, False, (OSC,))], as_json=True)
    said = capsys.readouterr()
    assert not HARMFUL.search(said.out + said.err)
    assert "title" in said.err


ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
ROSETTA = [sys.executable, "-c", "from orchestrator.cli.main import main; main()"]
TABLE = [*ROSETTA, "table", str(ROOT / "docs" / "results")]


def test_a_full_output_is_an_error_of_three_sentences():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(TABLE, env=ENVIRONMENT, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 10
    assert done.stderr.startswith("error: Output could not be written: the disk it goes to is full.\n")
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_ends_nothing(tmp_path):
    code = """
import sys
from orchestrator.cell.cell import Cell
from orchestrator.run.screen import Lines
from orchestrator.system.console import screen
from orchestrator.system.slots import Lease
from orchestrator.system.terminal import lost_output
lines = Lines(screen())
for number in range(3000):
    lines.started(Cell("pytorch", "rnn", repeat=number), Lease((), (0,), 1))
assert lost_output() is None
open(sys.argv[1], "w").write("went on")
"""
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "end")], env=ENVIRONMENT, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        process.stdout.close()
    assert process.returncode == 0
    assert (tmp_path / "end").read_text() == "went on"


def test_a_folder_that_is_gone_is_named(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    shell = ["sh", "-c", 'rmdir "$PWD"; exec "$@"', "sh", *ROSETTA, "table"]
    done = subprocess.run(shell, cwd=gone, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 13
    assert "error: the current folder can't be read or written." in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("columns", ["0", "1", "19"])
def test_a_console_of_no_width_prints_all_the_same(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    console.screen().print("twelve words")
    assert "twelve words" in capsys.readouterr().out
