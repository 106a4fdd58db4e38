"""Interpreters of a user's own: asked by a real one, and run as a stand-in for one."""

import json
import os
import shlex
import sys
import time
from pathlib import Path

import pytest

from orchestrator.cell.cell import OWN, Cell
from orchestrator.cell.contract import Status
from orchestrator.engines import own
from orchestrator.engines.own import OwnPython
from orchestrator.engines.protocol import Task
from orchestrator.errors import InstallationError
from orchestrator.images.definitions import library_index
from orchestrator.images.installation import Installation
from tests.unit.cell.test_contract import raw

TORCH = """
import os
__version__ = "2.4.1"
class version:
    cuda = None
class backends:
    class mkldnn:
        is_available = staticmethod(lambda: True)
class _C:
    _get_mkldnn_enabled = staticmethod(lambda: False)
class __config__:
    show = staticmethod(lambda: "BLAS_INFO=open, USE_MKLDNN=ON")
get_num_threads = lambda: int(os.environ.get("OMP_NUM_THREADS", 7))
print("greetings")
"""


@pytest.fixture
def stub(tmp_path, monkeypatch) -> Path:
    """A folder on the path of this interpreter with a module that calls itself torch, and its metadata."""
    (tmp_path / "lib" / "torch-2.4.1.dist-info").mkdir(parents=True)
    (tmp_path / "lib" / "torch-2.4.1.dist-info" / "METADATA").write_text("Name: Torch\nVersion: 2.4.1\n")
    (tmp_path / "lib" / "torch.py").write_text(TORCH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    return tmp_path / "lib"


def test_an_interpreter_says_what_it_can_import_and_from_where(stub):
    found = OwnPython(Path(sys.executable)).installed()
    assert found.modules["torch"] == str(stub / "torch.py")
    assert found.packages["torch"] == "2.4.1"
    assert found.packages["numpy"] in found.packages.values()
    assert (found.python, found.executable) == (".".join(map(str, sys.version_info[:3])), sys.executable)
    assert not list(stub.rglob("__pycache__"))


def test_a_module_says_how_it_was_built_whatever_it_prints(stub, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    facts = OwnPython(Path(sys.executable)).facts("torch")
    assert (facts.version, facts.cuda, facts.onednn, facts.blas, facts.threads) == ("2.4.1", None, False, "open", 1)
    assert facts.error is None


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("raise ImportError('libcudart.so.12: no such file')", "ImportError: libcudart.so.12: no such file"),
        ("import os; os.kill(os.getpid(), 11)", "ended without any output"),
        ("import os; os.write(1, b'{}'); os._exit(0)", "ended without any output"),
        ("raise SystemExit", "SystemExit"),
    ],
)
def test_a_module_that_can_not_be_imported_has_its_reason(stub, module, said):
    (stub / "torch.py").write_text(module)
    assert said in (OwnPython(Path(sys.executable)).facts("torch").error or "")


def test_secrets_are_not_handed_on(stub, monkeypatch):
    for name in ("NVIDIA_API_KEY", "TF_VAR_password", "TORCH_HUB_TOKEN", "HOME_OF_SECRETS"):
        monkeypatch.setenv(name, "hush-hush")
    monkeypatch.setenv("MKL_NUM_THREADS", "3")
    (stub / "torch.py").write_text("import os; raise ImportError(sorted(os.environ.items()))")
    engine = OwnPython(Path(sys.executable))
    assert engine.installed().variables["MKL_NUM_THREADS"] == "3"
    assert "hush-hush" not in str(engine.installed().variables) + str(engine.facts("torch").error)


@pytest.mark.parametrize("script", ["echo '{'", "true", "echo '[]'", "head -c 3000000 /dev/zero"])
def test_what_is_no_python_is_refused(tmp_path, script):
    program = tmp_path / "python"
    program.write_text(f"#!/bin/bash\n{script}\n")
    program.chmod(0o755)
    with pytest.raises(InstallationError, match="did not report"):
        OwnPython(program).installed()


@pytest.mark.parametrize("around", ["echo loading; {}", "{}; echo done", "printf 'loading… '; {}"])
def test_what_a_start_up_script_prints_is_no_part_of_the_answer(tmp_path, around):
    program = tmp_path / "python"
    run = shlex.quote(sys.executable) + ' "$@"'
    program.write_text(f"#!/bin/bash\n{around.format(run)}\n")
    program.chmod(0o755)
    assert OwnPython(program).installed().executable == sys.executable


def test_an_interpreter_that_does_not_start_says_why(tmp_path):
    program = tmp_path / "python"
    program.write_text("#!/bin/bash\necho 'libpython3.11.so.1.0: cannot open shared object file' >&2; exit 127\n")
    program.chmod(0o755)
    with pytest.raises(InstallationError) as raised:
        OwnPython(program).installed()
    assert (
        raised.value.why
        == "It ended without any output but this complaint: libpython3.11.so.1.0: cannot open shared object file"
    )


def test_a_module_that_hangs_is_ended_with_its_children_and_leaves_the_others(stub, monkeypatch, tmp_path):
    (stub / "torch.py").write_text(
        "import os, pathlib, subprocess, time\n"
        f"pathlib.Path({str(tmp_path / 'child')!r}).write_text(str(subprocess.Popen(['sleep', '600']).pid))\n"
        "time.sleep(600)\n"
    )
    monkeypatch.setattr(own, "PATIENCE", 3.0)
    assert OwnPython(Path(sys.executable)).facts("torch").error == "It did not answer within 3 s."
    state = Path("/proc", (tmp_path / "child").read_text(), "stat")
    for _ in range(100):  # a killed process may take a moment to end
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        time.sleep(0.1)
    raise AssertionError(state.read_text())


def test_a_variable_need_not_be_text(monkeypatch):
    monkeypatch.setenv("OMP_PLACES", "\udcff")
    assert OwnPython(Path(sys.executable)).installed().variables["OMP_PLACES"] == "\\udcff"


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(InstallationError, match="not an interpreter"):
        OwnPython(tmp_path / "python")


@pytest.mark.parametrize(("gpu", "words"), [("none", True), ("h200", False)])
def test_a_cell_runs_by_the_interpreter_with_the_users_variables_and_no_secret(tmp_path, monkeypatch, gpu, words):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("A_TOKEN", "secret")
    document = tmp_path / "document"
    document.write_bytes(raw(platform=OWN))
    program = tmp_path / "python"
    script = f'echo "$@"; env; cp {shlex.quote(str(document))} $ROSETTA_RESULTS/a.json'
    program.write_text(f"#!/bin/bash\n{script}\n")
    program.chmod(0o755)
    told = json.dumps({"module": "torch", "version": "2.4.1"})
    image = Installation(library_index()["pytorch"], OWN, "mine", told)
    cell = Cell("pytorch", "rnn", OWN, gpu, data="synthetic")
    outcome = OwnPython(program).run(Task(cell, image, "key", "run"), lambda event: None)
    assert outcome.status is Status.OK
    assert ("--gpus 0" in outcome.log) == words
    assert {"ROSETTA_PLATFORM=own", "OMP_NUM_THREADS=1"} <= set(outcome.log.splitlines())
    assert "secret" not in outcome.log
    assert os.environ["A_TOKEN"] == "secret"


def test_what_an_interpreter_leaves_in_its_folder_ends_nothing(tmp_path):
    python = tmp_path / "python"
    deep = f"""{sys.executable} -c 'import os; [(os.mkdir("d"), os.chdir("d")) for _ in range(1500)]'"""
    python.write_text(f"#!/bin/sh\n{deep}\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(InstallationError, match="did not report"):
        OwnPython(python).installed()
