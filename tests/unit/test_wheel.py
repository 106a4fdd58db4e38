"""What is installed where there is no checkout: the wheel, the same from an sdist, and optional parts."""

import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest

from orchestrator.errors import MissingPartError
from orchestrator.system import checkout, extras
from orchestrator.system.checkout import ROOT

TOP = (".dockerignore", "images", "matrix.yaml", "workloads")


def tracked(*places):
    done = subprocess.run(["git", "-C", ROOT, "ls-files", *places], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def built(source, kind, folder):
    """What hatchling builds from a folder, as a path."""
    code = f"from hatchling import build; print(build.build_{kind}({str(folder)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=True)
    return folder / done.stdout.split()[-1]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    return built(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def unpacked(sdist, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    return next(folder.iterdir())


@pytest.mark.parametrize("source", ["checkout", "sdist"])
def test_a_wheel_has_every_file_of_the_program_and_no_other(source, unpacked, tmp_path):
    with zipfile.ZipFile(built(ROOT if source == "checkout" else unpacked, "wheel", tmp_path)) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        for name in tracked("images", "matrix.yaml", "workloads"):
            assert wheel.read(f"orchestrator/program/{name}") == (ROOT / name).read_bytes()
    expected = {f"orchestrator/program/{name}" for name in tracked(*TOP)} | tracked("orchestrator")
    assert expected <= names
    new = tracked("--others", "--exclude-standard")  # files that are not committed yet
    assert names - expected <= new | {f"orchestrator/program/{name}" for name in new}
    assert not [name for name in names if not name.startswith("orchestrator/")]


def test_an_sdist_has_what_a_wheel_is_built_from_and_nothing_of_tests_or_results(unpacked):
    there = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert tracked(*TOP, "orchestrator", "pyproject.toml", "LICENSE", "hatch_build.py") <= there
    assert not [name for name in there if name.startswith(("tests/", "results/", "docs/", ".venv"))]


def test_an_editable_install_leaves_the_files_in_the_checkout(tmp_path):
    with zipfile.ZipFile(built(ROOT, "editable", tmp_path)) as wheel:
        assert [name for name in wheel.namelist() if ".dist-info/" not in name] == ["_rosetta_matrix.pth"]


def test_the_modules_of_each_optional_part_come_with_its_extra():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert extras.EXTRAS.keys() == project["optional-dependencies"].keys() - {"dev"}
    for extra, modules in extras.EXTRAS.items():
        named = " ".join(project["optional-dependencies"][extra])
        for module in modules:
            distribution = {"azure.core": "azure-identity", "vl_convert": "vl-convert-python"}.get(module, module)
            assert distribution.replace(".", "-") in named
            assert distribution.replace(".", "-") not in " ".join(project["dependencies"])
        extras.need(extra)


def test_a_missing_part_is_one_error_that_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(MissingPartError) as caught:
        extras.need("report")
    assert "altair is not installed" in str(caught.value)
    assert "pip install 'rosetta-matrix[report]'" in str(caught.value)
    assert not extras.is_there("no_such_package.part")


def test_an_installed_package_has_the_commit_that_pip_wrote_down(monkeypatch, tmp_path):
    info = tmp_path / "rosetta_matrix-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rosetta-matrix\nVersion: 0.1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("orchestrator.system.checkout.ROOT", None)
    fresh = checkout.commit.__wrapped__
    assert (fresh(), checkout.origin()) == (None, "")
    told = '{"url": "https://me:secret@example.org/r.git", "vcs_info": {"vcs": "git", "commit_id": "a1b2"}}'
    (info / "direct_url.json").write_text(told)
    assert (fresh(), checkout.origin()) == (("a1b2", False), "https://example.org/r.git")
    (info / "direct_url.json").write_text('{"url": "file:///tmp/r.whl", "archive_info": {}}')
    assert (fresh(), checkout.origin()) == (None, "")
