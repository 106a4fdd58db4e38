"""Commands in messages can be typed as they stand, whatever the user's folders are called."""

import ast
import os
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.data import datasets
from orchestrator.errors import DataError, ResultError
from orchestrator.results.paths import listed
from orchestrator.run import status
from orchestrator.system.checkout import ROOT
from orchestrator.system.terminal import command_line, quoted
from tests.unit.results.nobody import as_nobody

COMMAND = re.compile(r"(?:\b(?:rosetta|docker|pip|ssh) [a-z]+|\b(?:rm|chmod|mkdir) )[^.;,'\n]*\0")


@pytest.mark.parametrize(
    "words", [("rosetta", "run", "--results", Path("my results")), ("rosetta", "run", "--only", "*")]
)
def test_advice_is_one_command_for_a_shell(words) -> None:
    assert shlex.split(command_line(*words)) == list(map(str, words))
    assert quoted(*words) == command_line(*words)  # it has quotes of its own
    assert quoted("rosetta", "run") == "'rosetta run'"


def test_no_message_makes_a_command_by_hand() -> None:
    """A name of ours in it is harmless: of an extra, a data set, a framework, a buildx plugin."""
    ours = {"extra", "plugin", "name", "dataset", "made"}
    found = []
    for path in sorted((ROOT or Path()).glob("orchestrator/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [p.value if isinstance(p, ast.Constant) else "\0" for p in node.values]
                names = {ast.unparse(p.value) for p in node.values if isinstance(p, ast.FormattedValue)}
                if COMMAND.search("".join(map(str, parts))) and not names <= ours:
                    found.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    assert found == []


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder to which everybody finds, as pytest's own are not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_the_way_out_of_a_folder_that_others_may_not_read_can_be_typed(open_folder: Path) -> None:
    folder = open_folder / "my results"
    (folder / "cells" / "0123").mkdir(parents=True)
    for shut in (folder, folder / "cells", folder / "cells" / "0123"):
        shut.chmod(0o700 if os.getuid() == 0 else 0)
        asked = [as_nobody(ask, ResultError) for ask in (lambda: list(listed(folder)), lambda: status.read(folder))]
        shut.chmod(0o700)
        for said in asked:
            assert said.startswith(f"{shut} can't be read: Permission denied.")
            assert "ROSETTA_USER=$(id -u) docker compose up" in said
            (command,) = re.findall(r"\((chmod .*)\), or", said)
            *words, place = shlex.split(command)
            assert words == ["chmod", "-R", "o+rX"]
            assert shut.is_relative_to(place)
            assert Path(place).is_relative_to(folder)
        shut.chmod(0o755)
    folder.chmod(0o700)
    subprocess.run(["sh", "-c", command], check=True)
    assert Path(place).stat().st_mode & 0o005 == 0o005


def test_a_damaged_index_is_removed_by_the_printed_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "my cache"
    monkeypatch.setenv("ROSETTA_CACHE", str(cache))
    with pytest.raises(DataError) as refused:
        datasets.report_check(["imdb"])
    assert "'rosetta data fetch imdb'" in refused.value.remedy
