"""The import contract refuses what it is there to refuse: ways up, to a neighbour, and in a circle, late ones too."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.system.checkout import ROOT


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("system/slots.py", "from orchestrator.run import order"),
        ("data/datasets.py", "from orchestrator.results import files"),
        ("results/schema.py", "from orchestrator.results import merging"),
    ],
    ids=["upward", "to a neighbour", "in a circle"],
)
@pytest.mark.parametrize(
    "form",
    ["\n{0}  # noqa\n", "\n\ndef late() -> None:\n    {0}\n", "\n\nif TYPE_CHECKING:\n    {0}\n"],
    ids=["at the head", "late", "for types"],
)
def test_one_wrong_import_breaks_the_contract(tmp_path, module, line, form):
    shutil.copytree(ROOT / "orchestrator", tmp_path / "orchestrator", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / "orchestrator" / module).open("a") as file:
        file.write(form.format(line))
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1, done.stdout
    assert " BROKEN" in done.stdout


def test_packages_have_no_code_in_their_init():
    for path in (ROOT / "orchestrator").rglob("__init__.py"):
        assert not [line for line in path.read_text().split('"""')[-1].splitlines() if line.strip()], path


def test_every_folder_with_modules_is_a_package_that_the_contract_sees():
    for path in (ROOT / "orchestrator").rglob("*.py"):
        assert (path.parent / "__init__.py").is_file(), path
