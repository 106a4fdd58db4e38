"""What the two sides of `rosetta compare` stand for, and what is refused."""

import math
import shutil

import pytest
from click.testing import CliRunner

from orchestrator.cli import sides
from orchestrator.cli.kinds import Duration
from orchestrator.cli.main import main
from orchestrator.cli.options import Length, Selection
from orchestrator.errors import MatrixError, SelectionError
from orchestrator.system.checkout import ROOT
from orchestrator.system.console import screen

SHORT = Length(data="synthetic", epochs=1, samples=64)


@pytest.fixture
def contests(tmp_path):
    """The comparisons of two sides, with the process engine, which runs nothing here."""

    def contests(a: str, b: str, *only: str):
        selection = Selection(None, "full", only, (), (), tmp_path, "process", None, False)
        return sides.contests((a, b), selection, SHORT, screen())

    return contests


def names(found) -> list[str]:
    return [contest.name for contest in found]


def test_two_cells_of_the_same_workload(contests):
    (found,) = contests("pytorch/rnn/cpu", "tensorflow/rnn/cpu")
    assert found.name == "pytorch/rnn/cpu – tensorflow/rnn/cpu"
    assert [side.cell.library for side in found.sides] == ["pytorch", "tensorflow"]
    assert found.folder.parent.name == "compare"


def test_two_libraries_are_compared_workload_by_workload(contests):
    found = contests("pytorch/{cnn,rnn}/cpu", "tensorflow/{rnn,cnn,resnet50}/cpu")
    assert sorted(names(found)) == [f"pytorch/{w}/cpu – tensorflow/{w}/cpu" for w in ("cnn", "rnn")]


def test_settings_change_both_sides_of_a_selection(contests):
    found = contests("variant=reference", "variant=highapi", "tensorflow-2018/cnn/cpu")
    assert [side.cell.variant for side in found[0].sides] == ["reference", "highapi"]


def test_cores_alone_make_two_sides_of_one_cell(contests):
    (found,) = contests("cores=1", "cores=2", "pytorch/rnn/cpu")
    assert (found.name, [side.cores for side in found.sides]) == ("pytorch/rnn/cpu", [1, 2])
    (other,) = contests("cores=1", "cores=3", "pytorch/rnn/cpu")
    assert found.folder != other.folder


@pytest.fixture
def checkout(tmp_path_factory):
    """Another checkout whose scripts differ by a comment."""
    folder = tmp_path_factory.mktemp("other")
    for name in ("images", "workloads"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / "workloads" / "rnn" / "pytorch.py").open("a") as file:
        file.write("# another one\n")
    return folder


def test_two_checkouts_differ_where_their_scripts_do(contests, checkout, tmp_path):
    (found,) = contests(f"checkout={ROOT}", f"checkout={checkout}", "pytorch/rnn/cpu")
    ours, theirs = (side.planned(0, tmp_path).key for side in found.sides)
    assert ours != theirs
    with pytest.raises(SelectionError, match="Both sides of tensorflow/rnn/cpu are the same"):
        contests(f"checkout={ROOT}", f"checkout={checkout}", "tensorflow/rnn/cpu")


def test_a_folder_that_is_no_checkout_is_refused(contests, tmp_path):
    with pytest.raises(MatrixError, match="is not a checkout"):
        contests("checkout=.", f"checkout={tmp_path}", "pytorch/rnn/cpu")


@pytest.mark.parametrize(
    ("a", "b", "only", "said"),
    [
        ("pytorch/rnn/cpu", "pytorch/rnn/cpu", (), "are the same"),
        ("precision=fp32", "precision=tf32", (), "names no cells"),
        ("colour=red", "colour=blue", ("pytorch/rnn/cpu",), "colour=red is not part of a side"),
        ("cores=0", "cores=1", ("pytorch/rnn/cpu",), "must be a number, 1 or more"),
        ("cores=some", "cores=1", ("pytorch/rnn/cpu",), "must be a number, 1 or more"),
        ("precision=fp32", "precision=tf32", ("pytorch/rnn/cpu",), "can't run here"),
        ("pytorch/rnn/cpu", "tensorflow/cnn/cpu", (), "no cell in common"),
        ("{pytorch,jax}/rnn/cpu", "tensorflow/rnn/cpu", (), "which cells to compare"),
    ],
)
def test_what_makes_no_comparison_is_refused_with_its_reason(contests, a, b, only, said):
    with pytest.raises(SelectionError, match=said):
        contests(a, b, *only)


def test_a_comma_within_braces_is_part_of_the_glob():
    words = sides.words_of("{pytorch,jax}/rnn/cpu,variant=highapi,cores=2")
    assert (words.cells, words.settings, words.cores) == ("{pytorch,jax}/rnn/cpu", {"variant": "highapi"}, 2)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("20s", 20), ("30m", 1800), ("1h", 3600), ("1h30m", 5400), ("45 min", 2700), ("1.5 h", 5400),
     ("1d", 86400), ("none", math.inf)],
)  # fmt: skip
def test_a_budget_is_read_as_people_write_it(text, seconds):
    assert Duration()(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0m", "soon", "an hour", "1h and more", "-1h", "1x"])
@pytest.mark.parametrize("command", [["compare", "a/b", "c/d"], ["campaign", "--dry-run"]])
def test_what_is_no_amount_of_time_is_refused(command, text):
    done = CliRunner().invoke(main, [*command, "--budget", text])
    assert (done.exit_code, "is not a duration: use 90s, 30m, 2h, 1d or none" in done.output) == (2, True)
