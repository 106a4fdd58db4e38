"""What can't be meant is refused with the reason and a way out, and what was asked for is never silently left out."""

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from orchestrator.cli.main import main
from orchestrator.errors import INTERRUPTED, ResultError, SelectionError, SlowerError
from orchestrator.report.costs import COSTS
from tests.unit.cli.test_borders import ROSETTA
from tests.unit.compare.test_comparison import written as agreeing
from tests.unit.report.test_tables import SHORT, failed, four, ran
from tests.unit.results.test_results import row, table_of, write_results


def rosetta(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def written(path: Path, *rows: dict[str, Any]) -> Path:
    """A file of valid rows."""
    return Path(agreeing(path.parent, path.name, list(rows)))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("table x --csv --json", "--csv and --json can't be used together."),
        ("table x --csv --html", "--csv and --html can't be used together."),
        ("table x --badges b --csv", "--csv and --badges can't be used together."),
        ("table x --markdown --into b", "--markdown and --into can't be used together."),
        ("table x --results b", "FILE and --results can't be used together."),
        ("table x --published 2018-03", "FILE and --published can't be used together."),
        ("table --published 2018-03 --columns peak", "--published and --columns can't be used together."),
        ("notebook pytorch cnn --all", "--all and LIBRARY can't be used together."),
        ("notebook --all --variant highapi", "--all and --variant can't be used together."),
        ("diff x y --json --markdown", "--json and --markdown can't be used together."),
        ("verify x --json --markdown", "--json and --markdown can't be used together."),
        ("verify x --engine docker", "nothing is run: --engine."),
        ("report x --serve -o y", "--serve and --output can't be used together."),
        ("report x --port 1", "--port has no effect without --serve."),
        ("campaign --json", "--json has no effect without --dry-run."),
        ("run --print --json", "--print and --json can't be used together."),
        ("run --python x --print", "--print and --python can't be used together."),
        ("run --python x --on slurm", "--python and --on can't be used together."),
        ("run --max-repeats 5", "--max-repeats has no effect without --until-stable."),
        ("parity --markdown --rerun all", "--markdown and --rerun can't be used together."),
        ("diff x y --threshold nan", "'nan' is not a finite number."),
        ("diff x y --threshold inf", "'inf' is not a finite number."),
        ("compare x y --difference nan", "'nan' is not a finite number."),
        ("run --until-stable nan", "'nan' is not a finite number."),
        ("run --deadline inf", "'inf' is not a finite number."),
        ("run --samples abc", "'abc' is not a valid whole number."),
        ("run --deadline abc", "'abc' is not a valid number."),
        ("table --columns pric", "there is no column 'pric'. Did you mean 'price'?"),
        ("table --published 2018-3", "Did you mean '2018-03'?"),
        ("completion bsh", "Did you mean 'bash'?"),
        ("plan --engine dokcer", "Did you mean 'docker'?"),
        ("plan --data syntetic", "Did you mean 'synthetic'?"),
        *(
            (f"{command} {option} x", f"No such option '{option}'")  # all is done by the Docker engine here
            for command in ("images save --output x", "publish --registry ghcr.io/me")
            for option in ("--engine", "--address", "--on", "--site")
        ),
    ],
)
def test_a_command_line_that_can_not_be_is_refused(words, said):
    done = rosetta(*words.split())
    assert (done.exit_code, said in done.stderr) == (2, True), done.output


@pytest.mark.parametrize("words", [("plan", "--only"), ("plan", "--skip"), ("run", "--rerun"), ("profile",)])
def test_an_empty_pattern_is_none(words):
    done = rosetta(*words, "")
    assert done.exit_code == 2
    assert "the pattern is empty. Name cells, such as 'pytorch/rnn/*'" in done.stderr


def test_no_option_has_a_type_whose_messages_are_click_s_own():
    """So that the next choice and the next number are as plain."""
    kinds = {type(param.type).__name__ for command in main.commands.values() for param in command.params}
    assert not kinds & {"IntRange", "FloatRange"}
    assert {type(p.type).__module__ for c in main.commands.values() for p in c.params if "Choice" in str(p.type)} == {
        "orchestrator.cli.kinds"
    }


def test_columns_can_be_named_one_by_one(tmp_path):
    card = ran("pytorch", 100, 0.86, "cuda9", "v100", energy=10.0, gpu_peak_memory=10**9)
    path = written(tmp_path / "a.parquet", card)
    done = rosetta("table", path, "--columns", "energy,energy", "--columns", "memory", "--csv")
    assert done.exit_code == 0, done.output
    assert [done.output.count(COSTS[name].heading) for name in ("energy", "memory")] == [1, 1]


def test_a_card_without_a_price_has_a_note(tmp_path):
    path = written(tmp_path / "a.parquet", row())
    (tmp_path / "prices.yaml").write_text("None: 3.06\n")
    done = rosetta("table", path, "--columns", "price", "--prices", tmp_path / "prices.yaml")
    assert done.exit_code == 0
    assert "has no price for CPUs ('none'); is it 'None' there?" in done.stderr
    (tmp_path / "prices.yaml").write_text("v100: three\n")
    done = rosetta("table", path, "--columns", "price", "--prices", tmp_path / "prices.yaml")
    assert "prices.yaml is not a list of prices: v100: must be a number." in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("cnn", "pytorch"), "Did you mean 'pytorch cnn'?"),
        (("pytroch", "cnn"), "Did you mean 'pytorch cnn'?"),
        (("pytorch", "cn"), "Did you mean 'pytorch cnn'?"),
        (("cntk", "cnn", "--variant", "higapi"), "Did you mean 'cntk cnn --variant highapi'?"),
        (("caffe2", "densenet121"), ""),
        (("nothing", "like-it"), ""),
    ],
)
def test_a_script_that_is_not_there_has_the_one_that_was_meant_or_none(words, said):
    done = rosetta("notebook", *words)
    assert done.exit_code == SelectionError.exit_code
    assert said in done.stderr
    assert ("Did you mean" in done.stderr) == bool(said)


# --- Files ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("command", [("table",), ("merge", "-o", "out.parquet")], ids=lambda words: words[0])
def test_the_only_file_must_be_a_result(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pq.write_table(pa.table({"x": [1]}), "foreign.parquet")
    done = rosetta(*command, "foreign.parquet")
    assert done.exit_code == ResultError.exit_code
    assert "foreign.parquet is a Parquet file, but not a result.\nName a results file or folder." in done.stderr
    assert not Path("out.parquet").exists()
    Path("notes.parquet").write_text("mine")
    assert "notes.parquet is not a Parquet file.\nName a results" in rosetta(*command, "notes.parquet").stderr
    written(tmp_path / "good.parquet", row())
    done = rosetta(*command, "foreign.parquet", "good.parquet")  # beside a result it is left alone
    assert (done.exit_code, "left alone: " in done.stderr) == (0, True)


def test_a_newer_file_says_to_upgrade(tmp_path):
    path = tmp_path / "a.parquet"
    write_results(table_of([{**row(), "schema": 2}]), path)
    done = rosetta("table", path)
    assert done.exit_code == ResultError.exit_code
    assert "was written by a newer version of Rosetta Matrix: it has schema version 2, this one knows 1." in done.stderr
    assert done.stderr.endswith("Upgrade this program to read it.\n")


# --- Comparisons ----------------------------------------------------------------------------------------------------
def test_results_without_a_common_cell_say_so(tmp_path):
    a, b = (written(tmp_path / f"{name}.parquet", *four(name, 10)) for name in ("pytorch", "mxnet"))
    empty = written(tmp_path / "empty.parquet")
    for sides, why in (((a, b), ""), ((a, empty), empty), ((empty, a), empty)):
        done = rosetta("diff", *sides)
        assert done.exit_code == SelectionError.exit_code
        assert f"{sides[0]} and {sides[1]} have no cell in common." in done.stderr
        assert not why or f"No cell was measured in {empty}." in done.stderr
        assert "2018" not in done.stderr


def test_cells_of_other_lengths_are_in_common_but_not_compared(tmp_path):
    a = written(tmp_path / "a.parquet", *four("pytorch", 10, **SHORT))
    b = written(tmp_path / "b.parquet", *four("pytorch", 10, **SHORT | {"samples": 640}))
    done = rosetta("diff", a, b)
    assert done.exit_code == SelectionError.exit_code
    assert f"No cell of {b} can be compared with {a}." in done.stderr
    assert "another length" in done.stderr


def test_advice_names_reasons_only_where_there_are_some(tmp_path):
    a = written(tmp_path / "a.parquet", *four("pytorch", 10))
    done = rosetta("diff", a, written(tmp_path / "b.parquet", *four("pytorch", 20)))
    assert done.exit_code == SlowerError.exit_code
    assert f"1 of 1 cell is slower than {a}, or failed." in done.stderr
    assert "See the likely reasons above" not in done.stderr
    done = rosetta("diff", a, written(tmp_path / "c.parquet", *four("pytorch", 20, cores=1)))
    assert "See the likely reasons above. First check what else" in done.stderr
    done = rosetta("diff", a, written(tmp_path / "d.parquet", failed("pytorch", "failed", "exit code 1")))
    assert done.exit_code == SlowerError.exit_code
    assert done.stderr.endswith("Read their logs, next to their results.\n")


# --- Ctrl-C ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "words",
    [f"{words} --engine process --matrix PIPE" for words in ("plan", "run --print")] + ["doctor --engine process"],
)
def test_ctrl_c_ends_every_command_with_130_and_a_line(words, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    code = ROSETTA[2]
    if "PIPE" not in words:  # the doctor reads no file that can be a pipe
        code = f"from orchestrator.report import doctor; doctor.examine = lambda *_: open('pipe')\n{code}"
    command = [*ROSETTA[:2], code, *words.replace("PIPE", "pipe").split()]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    running = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, text=True)
    with open(tmp_path / "pipe", "w"):  # it is being read
        time.sleep(0.2)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)
    assert (running.returncode, said.strip()) == (INTERRUPTED, "interrupted")


def test_an_installation_with_an_odd_name_is_told_a_valid_one():
    done = CliRunner().invoke(main, ["verify", "--python", "my env=/usr/bin/python3", "--only", "pytorch/cnn/cpu"])
    assert done.exit_code == 22
    assert "'my env' is no name" in done.stderr
    assert "Call it my-env=/usr/bin/python3." in done.stderr
