"""Nothing from outside can hurt: hundreds of hostile inputs the whole way, and each kind of file that once did harm."""

import json
from datetime import UTC, datetime, timedelta

import duckdb
import polars
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks import hostile
from orchestrator.compare import causes
from orchestrator.errors import ResultError
from orchestrator.results import checking, decoding
from orchestrator.results.files import read_results, table_of, write_results, write_row
from orchestrator.results.merging import collect, merge
from tests.unit.results.test_results import DOCUMENT, row

INPUTS = 500


def test_hundreds_of_hostile_inputs_are_refused_marked_or_harmless(tmp_path):
    counts = hostile.campaign(INPUTS, 20261128, tmp_path)
    assert sum(counts.values()) == INPUTS, counts
    assert "TRACEBACK" not in {outcome for _, outcome in counts}, counts
    for kind in hostile.SHARES:
        assert {outcome for name, outcome in counts if name == kind} & {"refused", "refused, as text"}, counts


# --- Files ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("bomb", [hostile.by_dictionary, hostile.by_list], ids=["dictionary", "list"])
def test_a_small_file_that_unpacks_to_gigabytes_costs_only_itself(bomb, tmp_path):
    class Largest:
        def choice(self, sizes):
            return max(sizes)

    good, bad = tmp_path / "good.parquet", tmp_path / "bad.parquet"
    write_row(row(), good)
    bomb(bad, good.read_bytes(), Largest())
    assert bad.stat().st_size < 250_000  # of which each column of the schema takes some 2,200, though all are null
    found = decoding.read([good, bad])
    assert found.table["run"].to_pylist() == ["run-1"]
    (refusal,) = found.refused
    assert (refusal.path, refusal.is_note) == (bad, False)


def test_a_decoder_that_dies_costs_the_file_of_which_it_died(tmp_path):
    good = [tmp_path / f"{number}.parquet" for number in range(3)]
    for number, path in enumerate(good):
        write_row(row(run=f"run-{number}"), path)
    decoder = decoding.Decoder()
    assert decoder.read(good[:1]).table.num_rows == 1
    decoder._process.kill()
    assert decoder.read(good).table["run"].to_pylist() == ["run-0", "run-1", "run-2"]
    decoder.close()
    refused = decoding.died(good[0])
    assert "the decoding process died" in refused.refused[0].error.what


def test_a_file_that_went_through_other_programs_is_still_a_result(tmp_path):
    path = tmp_path / "results.parquet"
    write_results(table_of([row(), row(run="run-2")]), path)
    before = read_results(path)
    duckdb.execute(f"COPY (FROM '{path}') TO '{tmp_path / 'duckdb.parquet'}' (FORMAT parquet)")
    pq.read_table(path).to_pandas().to_parquet(tmp_path / "pandas.parquet")
    polars.read_parquet(path).write_parquet(tmp_path / "polars.parquet")
    for name in ("duckdb.parquet", "pandas.parquet", "polars.parquet"):
        assert b"rosetta.schema" not in (pq.read_metadata(tmp_path / name).metadata or {})
        assert read_results(tmp_path / name).equals(before), name


def test_somebody_else_s_files_are_left_alone_with_a_note(tmp_path):
    write_row(row(), tmp_path / "good.parquet")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "analysis.parquet")
    (tmp_path / "notes.json").write_text(json.dumps({"cells": []}))
    heard = []
    gathered = merge([tmp_path], tmp_path / "merged.parquet", heard.append)
    assert (gathered.table.num_rows, gathered.lost) == (1, [])
    assert sorted("analysis.parquet" in line for line in heard) == [False, True]
    assert all(line.startswith("note: left alone: ") for line in heard)


def test_two_files_that_tell_one_run_differently_both_do_not_count(tmp_path):
    write_row(row(), tmp_path / "a.parquet")
    write_row(row(run="other"), tmp_path / "b.parquet")
    write_row({**row(), "image": "ghcr.io/me/pytorch@sha256:1"}, tmp_path / "published.parquet")
    assert collect([tmp_path]).table["run"].to_pylist() == ["other", "run-1"]
    write_row(row(seconds=200.0), tmp_path / "c.parquet")
    found = collect([tmp_path])
    assert found.table["run"].to_pylist() == ["other"]
    (refusal,) = found.lost
    assert "Run run-1 of pytorch/rnn/cpu is there twice" in refusal.error.what


def test_a_run_that_begins_in_the_future_does_not_win(tmp_path):
    write_row(row(started=datetime.now(UTC) + timedelta(days=400), run="forged"), tmp_path / "a.parquet")
    write_row(row(run="honest"), tmp_path / "b.parquet")
    found = collect([tmp_path])
    assert found.table["run"].to_pylist() == ["honest", "forged"]
    assert pc.is_null(found.table["started"]).to_pylist() == [False, True]
    said = found.refused[0].error
    assert said.what.endswith("a.parquet has 1 row that starts in the future: it is unknown when it ran.")
    assert said.why == "Check that machine's clock."
    assert found.lost == []


# --- Rows -----------------------------------------------------------------------------------------------------------
FORGED = {
    "seconds": [-5.0, 0.0, 1e300, float("nan"), float("inf"), None, 200.0],
    "quality": [0.5, 1.5, None, float("nan")],
    "status": ["wonderful", None, ""],
    "platform": ["rocm6", "cuda" + "9" * 5000, ""],
    "gpus_after": ["[", '{"a": 1}', '[{"throttled": 3}]', "[" * 900],
    "parity": ["{", "[]", '{"scores": "low"}', '{"scores": -1}'],
    "findings": ['{"Mass": 2}'],
    "installation": ["[]", "{", '{"file": "\\u001b]0;x"}', '{"packages": {"a\\nb": "1"}}'],
    "checks": ["5", '{"dropout": ["\\u202e"]}'],
    "packages": ['{"torch": "\\u009b2J"}'],
    "metric": ["accuracy\nerror: a line of its own"],
    "cpu": ["EPYC\n# a heading of its own", "EPYC\r\n<!-- end of rosetta table -->"],
    "epochs": [None, 0, -1, 6],
    "steps": [1, None],
    "samples_tested": [64],
    "epoch_losses": [[0.5, 0.5, 0.5], [0.5], [float("nan")] * 3],
    "epoch_seconds": [[1.0, 1.0, 1.0], None, [-1.0] * 3],
    "wall_seconds": [0.9, -1.0],
    "cell": ["pytorch/rnn/cuda9/v100", "../../x"],
    "run": ["", "one\x1b]0;title"],
    "key": ["../../../etc"],
    "reason": ["x" * 200_000],
    "schema": [2],
    "workers": [-1, 10**6],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in FORGED.items() for value in values], ids=lambda x: str(x)[:20]
)
def test_a_forged_field_is_refused_by_name_and_costs_no_other_row(name, value, tmp_path):
    path = tmp_path / "forged.parquet"
    loose = pa.schema([field.with_nullable(True) for field in table_of([]).schema])
    rows = [row(run="before"), {**row(), name: value}, row(run="after")]
    hostile.store(pa.Table.from_pylist(rows, loose), path)
    found = decoding.read([path])
    assert found.table["run"].to_pylist() == ["before", "after"]
    (refusal,) = found.refused
    assert "forged.parquet, row 2 (" in refusal.error.what
    with pytest.raises(ResultError, match="row 2"):
        read_results(path)


def test_a_column_that_comes_later_needs_no_rule_of_its_own():
    assert set(checking.RULES) <= set(checking.CHECKED)
    assert checking.wrong(row()) is None


def test_a_forged_document_by_hand_is_refused_by_name(tmp_path):
    write_row(row(), tmp_path / "good.parquet")
    (tmp_path / "forged.json").write_text(json.dumps({**DOCUMENT, "steps": 1}))
    found = collect([tmp_path])
    assert found.table.num_rows == 1
    assert "forged.json is refused: 1 steps of 64 are not 3 epochs of 24,960 samples" in found.lost[0].error.what


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("EPYC\nerror: forged", "EPYC error: forged"),
        ("EPYC\t\x1b[2J", "EPYC  [2J"),
        ("é 日本\u00a0🚀  ", "é 日本\u00a0🚀  "),
    ],
    ids=["a line of its own", "controls", "names of all scripts"],
)
def test_a_document_whose_machine_has_an_odd_name_counts_and_the_name_is_harmless(name, shown, tmp_path):
    machine = {**DOCUMENT["environment"], "cpu": name, "os": name}
    versions = {**DOCUMENT["versions"], "device": name, "packages": {name: name}}
    document = {**DOCUMENT, "environment": machine, "versions": versions}
    (tmp_path / "by-hand.json").write_text(json.dumps(document))
    (found,) = collect([tmp_path]).table.to_pylist()
    assert (found["cpu"], found["os"], found["device"], json.loads(found["packages"])) == (*[shown] * 3, {shown: shown})


def test_a_file_whose_name_begins_a_line_is_told_in_one(tmp_path):
    write_row(row(), tmp_path / "good.parquet")
    (tmp_path / "a\nerror: forged\n.parquet").write_text("no Parquet")
    (tmp_path / "b\nerror: forged\n.json").write_text('{"contract": 1}')
    heard: list[str] = []
    assert merge([tmp_path], tmp_path / "merged.parquet", heard.append).table.num_rows == 1
    assert len(heard) == 2
    assert not any("\n" in line for line in heard)


def test_a_version_of_thousands_of_digits_is_compared_like_any_other():
    endless = {**row(), "driver": "580", "cuda": "1" * 5000}
    assert "older driver: 580, the baseline 580.65" in causes.reasons(
        [endless], {**row(), "driver": "580.65", "cuda": "12.8"}
    )


@pytest.mark.parametrize("name", ["n\nl/merged.parquet", "a\0b", "\ud800", "n" * 300])
def test_a_file_that_can_not_be_is_told_in_one_line(name, tmp_path):
    with pytest.raises(ResultError) as caught:
        read_results(tmp_path / name)
    assert "\n" not in caught.value.what
