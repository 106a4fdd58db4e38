"""A short campaign with a real image on the CPU: interrupted, taken up again, to the file and page it ends with."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.containers.interruption import interrupted_after_a_cell

pytestmark = pytest.mark.container

ROSETTA = str(Path(sys.executable).parent / "rosetta")
CELLS = ["--only", "pytorch/rnn/*", "--data", "synthetic", "--epochs", "1", "--samples", "64", "--repeats", "2"]
WORDS = [ROSETTA, "campaign", "--cpu", "--budget", "1h", *CELLS]


def test_a_campaign_is_interrupted_goes_on_and_ends_with_what_is_sent_in(engine, cells_of, tmp_path):
    code, _ = interrupted_after_a_cell(WORDS, tmp_path)
    assert code == 130
    assert cells_of(tmp_path / "results" / "parity") == []  # the first that ended was a comparison

    done = subprocess.run(WORDS, cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    file, page = (tmp_path / "results" / "reports" / f"campaign.{kind}" for kind in ("parquet", "md"))
    rows = pq.read_table(file).to_pylist()
    assert sorted((row["repeat"], row["parity"] is None, row["status"]) for row in rows) == [
        (0, False, "ok"),
        (0, True, "ok"),
        (1, True, "ok"),
    ]
    text = page.read_text()
    for said in ("| fp32 |", "same model", "GRU on IMDB", "pytorch/rnn", "found nothing wrong in 3 rows"):
        assert said in text
    audited = subprocess.run([ROSETTA, "audit", file], capture_output=True, text=True, check=False)
    assert audited.returncode == 0, audited.stdout
