"""Text files: UTF-8 whatever the locale, whole or not at all, and every YAML without keys that hide others."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.errors import MatrixError, ResultError, StorageError
from orchestrator.images.definitions import Framework
from orchestrator.images.definitions import read as read_definition
from orchestrator.plan import matrix
from orchestrator.system.checkout import ROOT
from orchestrator.system.text_files import read_text, write_text
from orchestrator.system.yaml_files import MOST_NODES


def test_a_disk_that_fills_up_leaves_the_document_as_it_was(tmp_path):
    path = tmp_path / "doc.md"
    path.write_text("mine\n" * 1000, encoding="utf-8")
    code = """
import resource, sys
from pathlib import Path
from orchestrator.errors import StorageError
from orchestrator.system.text_files import write_text
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_text(Path(sys.argv[1]), "x" * 100_000)
except StorageError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert "doc.md can't be read or written." in done.stdout
    assert path.read_text(encoding="utf-8") == "mine\n" * 1000
    assert os.listdir(tmp_path) == ["doc.md"]


def test_a_link_stays_a_link_and_a_mode_a_mode(tmp_path):
    real, link = tmp_path / "real.md", tmp_path / "link.md"
    real.write_text("old", encoding="utf-8")
    real.chmod(0o640)
    link.symlink_to(real)
    write_text(link, "new ×")
    assert link.is_symlink()
    assert real.read_bytes() == "new ×".encode()
    assert real.stat().st_mode & 0o777 == 0o640


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StorageError, match="sub can't be read or written"):
        write_text(tmp_path / "file" / "sub", "x")
    with pytest.raises(StorageError, match="not a regular file"):
        write_text(Path("/dev/null"), "x")


def test_what_is_no_utf8_is_named_with_its_line(tmp_path):
    path = tmp_path / "latin.md"
    path.write_bytes("a\nb\nstraße\n".encode("latin-1"))
    with pytest.raises(ResultError, match=r"latin\.md is not text in UTF-8") as error:
        read_text(path, ResultError)
    assert "Line 3" in error.value.why
    assert "UTF-8" in error.value.remedy
    with pytest.raises(MatrixError, match="larger than"):
        read_text(Path("/dev/zero"), MatrixError)


def test_no_text_file_is_read_or_written_in_the_encoding_of_a_locale():
    for path in (ROOT / "orchestrator").rglob("*.py"):
        if path.name not in ("inventory.py", "machine_code.py"):
            assert not re.search(r"\.read_text\(\)", path.read_text(encoding="utf-8")), path


TWICE = {
    "exclude": "axes: {library: [pytorch], workload: [rnn]}\nexclude: [{library: jax}]\nexclude: [{library: mxnet}]\n",
    "full": "axes: {library: [pytorch], workload: [rnn]}\nprofiles:\n  full: {}\n  full: {}\n",
}


@pytest.mark.parametrize(("key", "text"), TWICE.items(), ids=TWICE)
def test_a_key_that_is_there_twice_is_an_error_with_both_lines(key, text, tmp_path):
    path = tmp_path / "matrix.yaml"
    path.write_text(text, encoding="utf-8")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if line.strip().startswith(key)]
    with pytest.raises(MatrixError, match=rf"'{key}' twice: in line {lines[0]} and in line {lines[1]}"):
        matrix.read(path)


def test_so_it_is_in_the_definition_of_a_library(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("framework: x\nlicense: MIT\nlicense: BSD\n", encoding="utf-8")
    with pytest.raises(MatrixError, match="'license' twice: in line 2 and in line 3"):
        read_definition(path, Framework)


def test_few_bytes_that_stand_for_billions_are_refused(tmp_path):
    path = tmp_path / "matrix.yaml"
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    path.write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(MatrixError, match=f"more than {MOST_NODES:,}"):
        matrix.read(path)


def test_a_folder_that_no_system_can_have_is_no_traceback(tmp_path):
    path = tmp_path / "matrix.yaml"
    path.write_text('with: ["a\\0b"]\naxes: {library: [pytorch], workload: [rnn]}\n', encoding="utf-8")
    with pytest.raises(MatrixError, match=r"matrix\.yaml:1: with"):
        matrix.read(path)
