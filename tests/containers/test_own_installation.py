"""Images that are not ours, from the question what is in them to their verdicts."""

import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.cli.main import main
from orchestrator.compare import causes
from orchestrator.compare.audit import audit
from orchestrator.engines import process
from orchestrator.images.image import image_for
from orchestrator.results.files import read_results
from orchestrator.results.paths import ResultsFolder

pytestmark = [pytest.mark.container, pytest.mark.alone]

FOREIGN = """
FROM debian:bookworm-slim
COPY --from={ours} /usr/local /opt/theirs
COPY --from={ours} /usr/lib /usr/lib
ENV PATH=/opt/theirs/bin:/usr/bin:/bin LD_LIBRARY_PATH=/opt/theirs/lib PYTHONPATH= OMP_NUM_THREADS=1
ENTRYPOINT ["/bin/false"]
"""
"""PyTorch in another base, under another path, with nothing of the contract: no harness, no /results, no user."""

CELL = ["--only", "pytorch/rnn/*", "--data", "synthetic", "--epochs", "1", "--samples", "64"]


@pytest.fixture(scope="module")
def foreign(engine):
    ours = image_for("pytorch", "cpu")
    subprocess.run(["docker", "image", "inspect", ours.tag], check=True, capture_output=True)
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        text = FOREIGN.format(ours=ours.tag).encode()
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    tag = "rosetta-test/foreign:latest"
    done = subprocess.run(["docker", "build", "-q", "-t", tag, "-"], input=context.getvalue(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    yield tag
    engine.images.remove(tag, force=True)


def rosetta(*words: object):
    return CliRunner().invoke(main, [str(word) for word in words])


def test_a_foreign_image_is_asked_proved_and_measured_in_a_cells_isolation(foreign, tmp_path, engine):
    said = rosetta("verify", "--image", f"theirs={foreign}", *CELL, "--results", tmp_path)
    assert "torch 2." in said.stdout, said.output
    assert "OMP_NUM_THREADS=1" in said.stdout
    folder = ResultsFolder(tmp_path).own("theirs")
    (row,) = [row for row in read_results(folder.merged).drop_columns("started").to_pylist() if row["parity"] is None]
    assert (row["status"], row["platform"], row["cell"]) == ("ok", "own", "pytorch/rnn/own"), row["reason"]
    assert row["proof"].startswith("parity in this installation")
    assert row["image_digest"] == engine.images.get(foreign).id
    told = json.loads(row["installation"])
    assert told["file"].startswith("/opt/theirs/lib/python3")
    assert told["threads"] == 1
    ((_, proof),) = folder.parity.results()
    assert read_results(proof)["status"].to_pylist() == ["ok"]
    # what is mounted is read-only, and whoever ran it was nobody
    again = rosetta("run", "--image", f"theirs={foreign}", *CELL, "--results", tmp_path)
    assert again.exit_code == 0
    assert "started" not in again.stdout
    assert "own: theirs" in again.stdout


def test_an_image_that_is_not_here_is_refused(engine, tmp_path):
    said = rosetta("verify", "--image", "rosetta-test/no-such:1", "--results", tmp_path)
    assert said.exit_code == 22
    assert "docker pull rosetta-test/no-such:1" in said.stderr


def test_an_image_without_python_is_refused(engine, tmp_path):
    said = rosetta("verify", "--image", "debian:bookworm-slim", "--results", tmp_path)
    assert said.exit_code == 22
    assert "has no Python" in said.stderr


def test_an_image_without_our_libraries_has_nothing_to_be_measured(engine, tmp_path):
    said = rosetta("verify", "--image", "python:3.11-slim-bookworm", "--results", tmp_path)
    assert said.exit_code == 22
    assert "can be measured" in said.stderr
    assert not Path(tmp_path, "own").exists()


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> Path:
    """A virtual environment with PyTorch, as somebody may have it: the one that stands for our image without Docker."""
    image = image_for("pytorch", "cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROSETTA_CACHE", str(tmp_path_factory.mktemp("cache")))
        process.install(image)
        return process.environment_of(image) / "bin" / "python"


def test_an_environment_is_measured_untouched_and_what_cripples_it_is_named_first(environment, tmp_path, monkeypatch):
    before = listed(environment.parents[1])
    crippled = tmp_path / "crippled"
    crippled.mkdir()
    (crippled / "sitecustomize.py").write_text("import torch; torch._C._set_mkldnn_enabled(False)\n")
    results = ["--results", tmp_path / "results"]
    for name, path in (("usual", ""), ("crippled", str(crippled))):
        monkeypatch.setenv("PYTHONPATH", path)
        said = rosetta("run", "--python", f"{name}={environment}", *CELL, *results)
        assert said.exit_code == 0, said.output
        assert ("no oneDNN" in said.stdout) == (name == "crippled")
    assert f"own: {name}" in said.stdout
    assert listed(environment.parents[1]) == before

    rows = read_results(ResultsFolder(tmp_path / "results").merged).drop_columns("started").to_pylist()
    timed = {row["image"]: row for row in rows if row["parity"] is None}
    assert {row["status"] for row in rows} == {"ok"}
    assert timed["usual"]["key"] != timed["crippled"]["key"]
    assert next(causes.reasons([timed["crippled"]], timed["usual"])).startswith("no oneDNN")
    compared = json.loads(rosetta("diff", "usual", "crippled", *results, "--json").stdout)
    assert [one["cell"] for one in compared] == ["pytorch/rnn/own (crippled)"]
    assert not audit(rows)


def listed(folder: Path) -> list[tuple[str, int]]:
    """The files of a folder and when they were changed."""
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file())
