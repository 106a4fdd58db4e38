"""What installations say of themselves is not trusted, and names their results."""

import json

import pytest

from orchestrator.cell.cell import OWN, Cell
from orchestrator.cell.contract import Outcome, Status
from orchestrator.errors import InstallationError, MatrixError
from orchestrator.images import installation, installation_probe
from orchestrator.images.definitions import library_index
from orchestrator.images.installation import Facts, Installation, Installed
from orchestrator.results import checking
from orchestrator.results.rows import row_of

INSTALLED = {
    "python": "3.11.7", "executable": "/opt/venv/bin/python", "prefix": "/opt/venv", "cores": 2,
    "modules": {"torch": "/opt/venv/torch/__init__.py", "numpy": "/opt/venv/numpy/__init__.py"},
    "packages": {"torch": "2.13.0", "numpy": "2.3.5"}, "variables": {},
}  # fmt: skip
TORCH = {"module": "torch", "version": "2.13.0", "file": "/opt/venv/torch/__init__.py", "threads": 2, "onednn": True}


def installed(**changes) -> Installed:
    return installation.read_installed(json.dumps({**INSTALLED, **changes}).encode(), "here")


def facts(**changes) -> Facts:
    return installation.read_facts(json.dumps({**TORCH, **changes}).encode(), "torch", "here")


def image(installed: Installed, facts: Facts, cards: int = 0) -> Installation:
    told = installation.told_of(installed, facts, cards)
    return Installation(library_index()["pytorch"], OWN, "mine", told)


def test_a_true_answer_is_read():
    assert installed().packages["numpy"] == "2.3.5"
    assert (facts().threads, facts().error) == (2, None)


@pytest.mark.parametrize(
    "changes", [{"python": 3}, {"extra": 1}, {"cores": -1}, {"modules": {"torch": "x" * 500}}, {"packages": None}]
)
def test_another_answer_is_refused(changes):
    with pytest.raises(InstallationError, match="did not report"):
        installed(**changes)


@pytest.mark.parametrize("changes", [{"threads": "2"}, {"extra": 1}, {"switches": ["x"] * 99}, {"module": "jax"}])
def test_a_module_that_answers_otherwise_can_not_be_imported(changes):
    found = facts(**changes)
    assert found.error
    assert found.version is None


def test_an_answer_neither_steers_a_terminal_nor_begins_a_line():
    found = installation.read_facts(b'{"module": "\\u001b[2J\\n"}', "torch", "here")
    assert "\x1b" not in found.error
    assert "\n" not in found.error


def test_no_run_is_lost_for_an_odd_character_in_a_variable_or_a_path():
    found = image(installed(variables={"XLA_FLAGS": "--a=1\n\t--b=2"}), facts(device="Card\u202e", file="/é/日本"))
    assert json.loads(found.told)["variables"] == {"XLA_FLAGS": "--a=1  --b=2"}
    cell = Cell("pytorch", "rnn", platform=OWN)
    row = row_of(cell, Outcome(Status.FAILED), key="k", run="r", engine="process", image=found.columns, host="here")
    assert checking.wrong(row) is None


def test_bytes_that_are_no_text_are_told_in_hexadecimal():
    assert installation_probe.text(b"/caf\xe9".decode(errors="surrogateescape")) == "/caf\\udce9"


def test_results_are_named_by_what_is_installed_and_set_and_not_by_where_it_lies():
    usual = image(installed(), facts())
    assert usual.recipe == image(installed(executable="/elsewhere/python"), facts(file="/elsewhere/torch.py")).recipe
    others = [
        image(installed(packages={"torch": "2.13.0", "numpy": "2.3.6"}), facts()),
        image(installed(variables={"OMP_NUM_THREADS": "1"}), facts()),
        image(installed(), facts(threads=1)),
        image(installed(python="3.12.1"), facts()),
    ]
    assert len({usual.recipe, *(other.recipe for other in others)}) == 5
    assert usual.columns["image"] == "mine"
    assert json.loads(usual.columns["installation"])["packages"]["numpy"] == "2.3.5"


@pytest.mark.parametrize("name", ["", "a/b", "..", "-x", "x" * 41, "a b", "a\n"])
def test_a_name_has_to_be_a_folders(name):
    with pytest.raises(MatrixError, match="is not a valid name"):
        installation.checked_name(name)


@pytest.mark.parametrize(
    ("version", "numbers"), [("2.11.0a0+git1", (2, 11, 0)), ("1.9", (1, 9)), ("nightly", ()), ("", ())]
)
def test_versions_of_nightly_builds_are_read_too(version, numbers):
    assert installation.numbers(version) == numbers
