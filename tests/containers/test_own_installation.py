"""Images that are not ours, from the question what is in them to their verdicts."""

import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.cli.main import main
from orchestrator.images.image import image_for
from orchestrator.results.files import read_results
from orchestrator.results.paths import ResultsFolder

pytestmark = pytest.mark.container

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
    assert said.exit_code == 20
    assert "docker pull rosetta-test/no-such:1" in said.stderr


def test_an_image_without_python_is_refused(engine, tmp_path):
    said = rosetta("verify", "--image", "debian:bookworm-slim", "--results", tmp_path)
    assert said.exit_code == 20
    assert "has no Python" in said.stderr


def test_an_image_without_our_libraries_has_nothing_to_be_measured(engine, tmp_path):
    said = rosetta("verify", "--image", "python:3.11-slim-bookworm", "--results", tmp_path)
    assert said.exit_code == 20
    assert "nothing that can be measured" in said.stderr
    assert not Path(tmp_path, "own").exists()
