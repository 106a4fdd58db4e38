"""Rows, their files and their merge: real Parquet, as it comes back from disk."""

import json
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from orchestrator.cell import contract, quality
from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Document, Outcome, Status
from orchestrator.errors import ResultError
from orchestrator.results import checking, decoder, decoding
from orchestrator.results.files import forget, read_results, table_of, write_incompatible, write_results, write_row
from orchestrator.results.merging import merge
from orchestrator.results.rows import LOG_TAIL, identity, incompatible_row, row_of
from orchestrator.results.schema import COLUMNS, SCHEMA_VERSION, VERSION_KEY
from orchestrator.results.schema import schema as schema_module

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
IMAGE = {"image": "rosetta/pytorch:2", "recipe": "abc", "framework": "pytorch", "base": "python:3.11"}
ENVIRONMENT = {
    "os": "Debian 12", "kernel": "6.1", "python": "3.11.7", "numpy": "2.3.5", "cpu": "AMD EPYC 7B13", "cores": 2,
    "memory": 25_000_000_000, "gpus": [],
}  # fmt: skip
DOCUMENT = {
    "contract": 1, "library": "pytorch", "workload": "rnn", "platform": "cpu", "precision": "fp32",
    "variant": "reference", "data": "real", "seed": 0, "n_gpus": 0, "epochs": 3, "samples": 24960, "steps": 1170,
    "samples_tested": 24960, "shortened": False, "metric": "accuracy", "quality": 0.857, "seconds": 300.5,
    "seconds_warm": 300.75, "phases": {"import": 1.5, "train": 301.0}, "epoch_seconds": [100.0, 100.25, 100.25],
    "epoch_losses": [0.6, 0.3, 0.2], "peak_memory": 500_000_000,
    "versions": {"framework": "2.13.0", "cuda": None, "cudnn": None, "packages": {"torch": "2.13.0"}},
    "environment": ENVIRONMENT,
}  # fmt: skip
V100 = {
    "platform": "cuda9",
    "n_gpus": 1,
    "environment": {**ENVIRONMENT, "gpus": [{"name": "Tesla V100-SXM2-16GB", "uuid": "GPU-1", "driver": "470.1"}]},
}


def document(**changes: Any) -> Document:
    return Document.model_validate(adding_up({**DOCUMENT, **changes}, changes))


def adding_up(said: dict[str, Any], given: Any) -> dict[str, Any]:
    """The same with the numbers that follow from what is given: steps, the test set, a time for each epoch."""
    batch = 64 * said.get("workers", 1) if said["workload"] != "resnet50" else 32
    whole = {"real": {"cnn": 9984, "rnn": 24960}.get(said["workload"], 64), "synthetic": 1280}[said["data"]]
    epochs, seconds = said["epochs"], said["seconds"]
    follows = {
        "steps": said["samples"] // batch * epochs,
        "samples_tested": min(whole, said["samples"]),
        "seconds_warm": seconds,
        "epoch_seconds": [seconds / epochs] * epochs,
        "epoch_losses": [0.6 / number for number in range(1, epochs + 1)],
        "phases": {"import": 1.5, "train": seconds + 0.5},
    }
    if {"epochs", "samples", "seconds", "data", "workload"} & set(given):
        return {**said, **{name: value for name, value in follows.items() if name not in given}}
    return said


def row(cell: Cell | None = None, run: str = "run-1", started: datetime = NOW, **changes: Any) -> dict[str, Any]:
    outcome = changes.pop("outcome", None) or Outcome(
        Status.OK,
        document=document(**changes),
        log="said",
        image_digest="sha256:1",
        started=started,
        wall_seconds=310.0,
    )
    cell = cell or Cell("pytorch", "rnn")
    return row_of(cell, outcome, key="0123", run=run, engine="docker", image=IMAGE, host="here")


def merged(*paths: Path, out: Path) -> list[dict[str, Any]]:
    count = merge(paths, out)
    rows: list[dict[str, Any]] = read_results(out).to_pylist()
    assert len(rows) == count.table.num_rows
    return rows


# --- Rows -----------------------------------------------------------------------------------------------------------
def test_a_row_has_every_declared_column_and_says_what_the_document_said():
    made = row()
    assert list(COLUMNS) == schema_module().names
    assert set(made) == set(COLUMNS)
    expected = {
        "cell": "pytorch/rnn/cpu", "status": "ok", "reason": "", "seconds": 300.5, "quality": 0.857, "samples": 24960,
        "import_seconds": 1.5, "data_seconds": None, "train_seconds": 301.0, "wall_seconds": 310.0, "engine": "docker",
        "image_digest": "sha256:1", "framework_version": "2.13.0", "packages": '{"torch": "2.13.0"}', "gpu": "none",
        "cpu": "AMD EPYC 7B13", "gpu_name": None, "shortened": False, "schema": 1, "contract": 1, "log_tail": "said",
    }  # fmt: skip
    assert {key: made[key] for key in expected} == expected


def test_a_gpu_cell_keeps_the_gpu_it_asked_for_and_the_one_it_got():
    made = row(Cell("pytorch", "rnn", "cuda9", "v100"), **V100)
    assert (made["cell"], made["gpu"], made["gpu_name"], made["driver"], made["status"]) == (
        "pytorch/rnn/cuda9/v100", "v100", "Tesla V100-SXM2-16GB", "470.1", "ok",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"quality": 0.83}, "ok"),
        ({"quality": 0.88}, "ok"),
        ({"quality": 0.8299}, "quality"),
        ({"quality": 0.881}, "quality"),
        ({"quality": 0.5, "epochs": 2}, "ok"),
        ({"quality": 0.5, "samples": 24896}, "ok"),
        ({"quality": 0.5, "epochs": 4}, "quality"),
        ({"quality": 0.5, "data": "synthetic", "epochs": 2, "samples": 1280}, "quality"),
        ({"quality": 0.5, "data": "synthetic", "epochs": 2, "samples": 1216}, "ok"),
        ({"quality": 0.5, "workload": "densenet121"}, "ok"),
    ],
)
def test_a_run_is_judged_by_its_band_from_its_full_length_on(changes, status):
    assert quality.judge(document(**changes))[0] == status


def test_bad_quality_says_by_how_much_and_keeps_its_figures():
    made = row(quality=0.512)
    assert (made["status"], made["seconds"]) == ("quality", 300.5)
    assert made["reason"] == "accuracy .512 lies outside .83–.88"
    assert quality.judge(document(quality=0.82999))[1].startswith("accuracy .82999 lies outside")


def test_a_document_of_another_run_is_failed_and_its_figures_are_dropped():
    made = row(Cell("pytorch", "rnn", repeat=7))
    assert (made["status"], made["seconds"], made["repeat"]) == ("failed", None, 7)
    assert "seed 0 instead of 7" in made["reason"]


@pytest.mark.parametrize(
    ("cell", "changes", "said"),
    [
        (Cell("pytorch", "rnn", epochs=1), {}, "epochs 3 instead of 1"),
        (Cell("pytorch", "rnn", samples=6400), {}, "samples 24960 instead of 6400"),
        (Cell("pytorch", "rnn", "cuda9", "v100"), {"platform": "cuda9"}, "n_gpus 0 instead of 1, gpu none instead of"),
        (Cell("pytorch", "rnn", "cuda9", "p100"), V100, "gpu v100 instead of p100"),
        (Cell("pytorch", "rnn", "cuda9", "p100-sm60"), V100, "gpu v100 instead of p100-sm60"),
    ],
)
def test_so_is_one_of_another_length_or_without_the_gpu(cell, changes, said):
    assert said in row(cell, **changes)["reason"]


def test_a_comparison_that_can_not_run_has_no_errors_and_says_how_long_it_would_be():
    cell = Cell("pytorch", "densenet121", parity=True, n_gpus=2)
    made = incompatible_row(cell, "not implemented yet", "docker")
    assert (made["status"], made["parity"], made["samples"], made["workers"]) == ("incompatible", "{}", 80, 2)


def test_more_samples_than_a_real_set_has_are_all_of_it():
    assert row(Cell("pytorch", "rnn", samples=100_000))["status"] == "ok"


def test_no_status_but_ok_is_turned_into_ok():
    late = Outcome(Status.TIMEOUT, "not finished after 5 s", log="x" * 9000)
    made = row(Cell("pytorch", "rnn", epochs=1, samples=1000), outcome=late)
    assert (made["status"], made["reason"], made["quality"]) == ("timeout", "not finished after 5 s", None)
    # what the run would have reported, so that a later good one of the same length stands in its place
    assert (made["epochs"], made["samples"], made["shortened"]) == (1, 960, True)
    assert len(made["log_tail"]) == LOG_TAIL
    assert row(outcome=Outcome(Status.OK))["status"] == "failed"


def test_a_container_that_calls_a_short_run_full_is_not_believed():
    assert row(Cell("pytorch", "rnn", epochs=1), epochs=1, shortened=False)["shortened"] is True
    assert row(Cell("pytorch", "rnn", samples=1280), samples=1280, shortened=False)["shortened"] is True
    assert row()["shortened"] is False


# --- Files ----------------------------------------------------------------------------------------------------------
def test_a_file_gives_back_the_row_that_was_written(tmp_path):
    path = tmp_path / "cells" / "k" / "pytorch" / "rnn" / "cpu.parquet"
    write_row(row(), path)
    table = read_results(path)
    assert table.schema.equals(schema_module())
    assert table.to_pylist() == [row()]
    assert [file.name for file in path.parent.iterdir()] == ["cpu.parquet"]
    assert pq.read_metadata(path).metadata[b"rosetta.schema"] == b"1"


def test_other_readers_see_the_declared_types(tmp_path):
    write_row(row(), tmp_path / "a.parquet")
    schema = pq.read_schema(tmp_path / "a.parquet")
    assert schema.field("started").type == pa.timestamp("us", tz="UTC")
    assert schema.field("epoch_losses").type.value_type == pa.float64()
    assert not schema.field("status").nullable
    assert schema.field("seconds").nullable


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=40)
numbers = st.none() | st.floats(allow_nan=False)
values = {
    "text": text, "text?": st.none() | text, "whole": st.integers(-(2**63), 2**63 - 1),
    "whole?": st.none() | st.integers(0, 2**63 - 1), "real?": numbers, "truth": st.booleans(),
    "truth?": st.none() | st.booleans(),
    "reals?": st.none() | st.lists(st.floats(allow_nan=False), max_size=5),
    "time?": st.none() | st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)),
}  # fmt: skip
rows = st.fixed_dictionaries(
    {name: values[kind] for name, kind in COLUMNS.items()} | {"schema": st.just(SCHEMA_VERSION)}
)
FREE = tuple(name for name, kind in COLUMNS.items() if kind.startswith("text") and name not in checking.RULES)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(any_row=rows)
def test_any_row_survives_a_file_or_is_refused_by_name(any_row, tmp_path):
    path = tmp_path / "any.parquet"
    written = {**row(), **{name: any_row[name] for name in FREE}}
    write_row(written, path)
    assert read_results(path).to_pylist() == [written]
    write_row(any_row, path)
    with pytest.raises(ResultError, match=r"any\.parquet is refused: \w+"):
        read_results(path)


def test_a_value_that_does_not_fit_is_an_error_of_ours():
    with pytest.raises(ResultError, match="does not fit the schema"):
        table_of([{**row(), "memory": 10**30}])


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.parquet"
    write_row(row(run="old"), path)
    with pytest.raises(pa.ArrowException):
        write_row({**row(), "status": None}, path)
    assert read_results(path)["run"].to_pylist() == ["old"]
    assert os.listdir(tmp_path) == ["a.parquet"]
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(ResultError, match=r"folder\.parquet can't be written"):
        write_row(row(), tmp_path / "folder.parquet")


def foreign(path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), path)


def of_version_2(path: Path) -> None:
    with pq.ParquetWriter(path, schema_module(), store_schema=False) as writer:
        writer.write_table(table_of([row()]))
        writer.add_key_value_metadata({VERSION_KEY: "2"})


def with_rows_of_version_2(path: Path) -> None:
    write_row({**row(), "schema": 2}, path)


def without_a_column(path: Path) -> None:
    pq.write_table(table_of([row()]).drop_columns(["quality"]), path)


def with_text_for_a_number(path: Path) -> None:
    table = table_of([row()])
    pq.write_table(table.set_column(table.schema.get_field_index("seconds"), "seconds", pa.array(["fast"])), path)


def with_null_status(path: Path) -> None:
    loose = pa.schema([field.with_nullable(True) for field in schema_module()], schema_module().metadata)
    pq.write_table(pa.Table.from_pylist([{**row(), "status": None}], loose), path)


def with_bytes_for_text(path: Path) -> None:
    write_row({**row(), "reason": "abcdefgh"}, path)
    path.write_bytes(path.read_bytes().replace(b"abcdefgh", b"\xff\xfe\xfd\xfc\xff\xfe\xfd\xfc"))


def truncated(path: Path) -> None:
    write_row(row(), path)
    path.write_bytes(path.read_bytes()[:-100])


def with_a_hole(path: Path) -> None:
    write_row(row(), path)
    path.write_bytes(b"PAR1" + bytes(1500) + path.read_bytes()[1504:])


DAMAGE = {
    foreign: "but not a result", of_version_2: "newer version of Rosetta Matrix: it has schema version 2",
    with_rows_of_version_2: "it has schema version 2, this one knows 1",
    without_a_column: "quality", with_text_for_a_number: "its types differ", with_null_status: "status: missing",
    with_bytes_for_text: "not UTF-8", truncated: "truncated", with_a_hole: "truncated or damaged",
    Path.touch: "truncated", lambda path: path.write_text("seconds,12\n" * 9): "is not a Parquet file",
}  # fmt: skip


@pytest.mark.parametrize(("damage", "said"), DAMAGE.items())
def test_a_bad_file_is_named_and_costs_only_its_own_rows(damage, said, tmp_path):
    out = tmp_path / "merged.parquet"
    write_row(row(), tmp_path / "good.parquet")
    damage(tmp_path / "bad.parquet")
    with pytest.raises(ResultError, match=said) as error:
        read_results(tmp_path / "bad.parquet")
    assert "bad.parquet" in str(error.value)
    heard: list[str] = []
    gathered = merge([tmp_path], out, heard.append)
    assert read_results(out).to_pylist() == [row()]
    assert len(heard) == len(gathered.refused) == 1
    assert re.search(said, heard[0])
    assert "bad.parquet" in heard[0]
    assert bool(gathered.lost) == (damage is not foreign)
    assert sorted(os.listdir(tmp_path)) == ["bad.parquet", "good.parquet", "merged.parquet"]
    (tmp_path / "good.parquet").unlink()
    before = out.read_bytes()
    if damage is not foreign:
        with pytest.raises(ResultError, match=said):
            merge([tmp_path], out)
        assert out.read_bytes() == before


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_damage_is_an_error_of_ours_or_harmless(data, tmp_path):
    path = tmp_path / "a.parquet"
    write_row(row(), path)
    raw = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=8)):
        raw[at] = data.draw(st.integers(0, 255))
    path.write_bytes(raw)
    try:
        table = read_results(path)
    except ResultError as error:
        event(error.what.rpartition("/")[2])
    else:
        assert table.schema.equals(schema_module())
        table.to_pylist()


def test_too_much_is_refused_before_it_is_read(tmp_path):
    many = schema_module().empty_table().slice(0)
    path = tmp_path / "many.parquet"
    nothing = pa.Table.from_arrays(
        [pa.nulls(decoder.MOST_ROWS + 1, field.type) for field in many.schema],
        schema=pa.schema([field.with_nullable(True) for field in many.schema], many.schema.metadata),
    )
    pq.write_table(nothing, path)
    assert path.stat().st_size < 200_000
    with pytest.raises(ResultError, match="unpacks to 1,000,001 rows"):
        read_results(path)
    with path.open("wb") as file:
        file.truncate(decoding.LARGEST_FILE + 1)
    with pytest.raises(ResultError, match="is larger than"):
        read_results(path)


# --- Incompatible cells, and running again --------------------------------------------------------------------------
def test_incompatible_cells_are_noted_once_with_their_last_reason(tmp_path):
    cntk, knet = Cell("cntk", "rnn"), Cell("knet", "rnn")
    write_incompatible(tmp_path, [(cntk, "needs a container"), (knet, "not implemented yet")], "process")
    write_incompatible(tmp_path, [(cntk, "no memory")], "process")
    found = read_results(tmp_path / "incompatible.parquet").to_pylist()
    assert {(r["cell"], r["status"], r["reason"]) for r in found} == {
        ("cntk/rnn/cpu", "incompatible", "no memory"),
        ("knet/rnn/cpu", "incompatible", "not implemented yet"),
    }
    assert {r["seconds"] for r in found} == {None}


def test_only_what_would_run_again_is_set_aside(tmp_path):
    def put(name: str, made: dict[str, Any]) -> Path:
        path = tmp_path / "cells" / name / f"{made['cell']}.parquet"
        write_row({**made, "run": name}, path)
        return path

    bad = Outcome(Status.FAILED, "exit code 1")
    ok, failed = put("1", row()), put("2", row(outcome=bad))
    short = put("3", row(Cell("pytorch", "rnn", samples=1280), outcome=bad))
    repeat = put("4", row(Cell("pytorch", "rnn", repeat=1), outcome=bad))
    other = put("5", row(Cell("chainer", "rnn"), outcome=bad))
    damaged = tmp_path / "cells" / "6" / "pytorch" / "rnn" / "cpu.parquet"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"PAR1")
    forget(tmp_path, [Cell("pytorch", "rnn")], "failed")
    assert [p.exists() for p in (ok, failed, short, repeat, other, damaged)] == [True, False, True, True, True, False]
    assert len(list(tmp_path.rglob("*.superseded"))) == 2
    forget(tmp_path, [Cell("pytorch", "rnn")], "all")
    assert [p.exists() for p in (ok, short, repeat, other)] == [False, True, True, True]
    assert merged(tmp_path, out=tmp_path / "merged.parquet") == [
        r for path in (other, short, repeat) for r in read_results(path).to_pylist()
    ]


# --- Merge ----------------------------------------------------------------------------------------------------------
def test_a_merge_holds_every_run_of_all_machines_once_and_sorted(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for number, library in enumerate(["pytorch", "chainer", "mxnet"]):
        write_row(row(Cell(library, "rnn"), run=f"h{number}", library=library), here / f"{library}.parquet")
    write_row(row(run="t0", started=NOW + timedelta(days=1)), there / "a" / "b" / "cpu.parquet")
    merge([here], here / "merged.parquet")
    write_row(row(run="h0"), there / "copy-of-h0.parquet")
    rows = merged(here, there, here / "merged.parquet", out=tmp_path / "all.parquet")
    assert [(r["library"], r["run"]) for r in rows] == [
        ("chainer", "h1"), ("mxnet", "h2"), ("pytorch", "t0"), ("pytorch", "h0"),
    ]  # fmt: skip


def test_an_incompatible_cell_gives_way_to_a_run_of_the_same_cell_repeat_and_data(tmp_path):
    def no(cell: Cell, folder: str) -> None:
        write_incompatible(tmp_path / folder, [(cell, "no V100 on this machine")], "docker")

    v100 = Cell("pytorch", "rnn", "cuda9", "v100")
    for folder in ("a", "b"):
        no(v100, folder)
        no(Cell("pytorch", "rnn", "cuda9", "v100", repeat=1), folder)
        no(Cell("pytorch", "rnn", "cuda9", "v100", data="synthetic"), folder)
    write_row(row(v100, **V100), tmp_path / "c" / "v100.parquet")
    rows = merged(tmp_path, out=tmp_path / "merged.parquet")
    assert [(r["repeat"], r["data"], r["status"]) for r in rows] == [
        (0, "real", "ok"), (1, "real", "incompatible"), (0, "synthetic", "incompatible"),
    ]  # fmt: skip


def test_a_merge_does_not_read_itself_nor_what_is_hidden_or_partial(tmp_path, monkeypatch):
    write_row(row(), tmp_path / "cells" / "a.parquet")
    for name in (
        ".a.parquet.1.partial",
        ".hidden.parquet",
        "a.log",
        "old.superseded",
        "merged.parquet",
        "sub/merged.parquet",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no Parquet")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "b.parquet").write_text("no Parquet")
    for _ in range(2):
        assert len(merged(tmp_path, out=tmp_path / "all.parquet")) == 1
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert len(merged(Path(), out=Path("all.parquet"))) == 1


def test_a_merged_file_can_be_its_own_input(tmp_path):
    out = tmp_path / "merged.parquet"
    write_row(row(run="1"), tmp_path / "1.parquet")
    write_row(row(run="2"), tmp_path / "2.parquet")
    merged(tmp_path / "1.parquet", out=out)
    assert [r["run"] for r in merged(out, tmp_path / "2.parquet", out=out)] == ["1", "2"]


def test_nothing_merges_to_an_empty_table_and_a_wrong_name_is_an_error(tmp_path):
    assert merged(tmp_path, out=tmp_path / "merged.parquet") == []
    with pytest.raises(ResultError, match="There is no"):
        merge([tmp_path / "reslts"], tmp_path / "merged.parquet")


@pytest.mark.parametrize(
    ("name", "why"), [("a.parquet/x", "Not a directory"), ("x" * 300, "File name too long"), ("", "not a plain file")]
)
def test_a_file_that_can_t_be_opened_is_not_called_damaged(name, why, tmp_path):
    (tmp_path / "a.parquet").touch()
    with pytest.raises(ResultError, match=f"can't be read: .*{why}"):
        read_results(tmp_path / name)


def test_a_document_of_a_container_run_by_hand_is_a_result(tmp_path):
    raw = json.dumps({**DOCUMENT, **V100, "seed": 3})
    for name in ("pytorch-rnn-1.json", "copy/pytorch-rnn-1.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(raw)
    (found,) = merged(tmp_path, out=tmp_path / "merged.parquet")
    expected = {
        "cell": "pytorch/rnn/cuda9/v100", "repeat": 3, "engine": "by hand", "status": "ok", "seconds": 300.5,
        "gpu": "v100", "image": "", "host": "", "epoch_losses": [0.6, 0.3, 0.2],
    }  # fmt: skip
    assert {key: found[key] for key in expected} == expected
    (tmp_path / "bad.json").write_text(json.dumps({**DOCUMENT, "quality": 0.5}))
    assert sorted(r["status"] for r in merged(tmp_path, out=tmp_path / "merged.parquet")) == ["ok", "quality"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"effective_precision": "tf32"}, "it was measured in tf32, not in fp32"),
        ({"platform": "cuda12"}, "the platform cuda12 with 0 cards"),
        ({**V100, "platform": "cpu"}, "the platform cpu with 1 card"),
        ({**V100, "n_gpus": 7}, "7 cards, but 1 worker"),
        ({**V100, "contract": 2, "gpus": []}, "it proves the use of 0 cards instead of 1"),
        ({"metric": "kittens"}, "its quality is told as kittens"),
        ({"seconds_warm": 1e-9}, "1e-09 s warm"),
    ],
)
def test_a_document_by_hand_is_held_to_what_it_says_like_any_other(changes, said, tmp_path):
    (tmp_path / "by-hand.json").write_text(json.dumps({**DOCUMENT, **changes}))
    with pytest.raises(ResultError, match=re.escape(said)):
        merge([tmp_path], tmp_path / "merged.parquet")


@pytest.mark.parametrize(
    "washed", [{"load_after": 0.9}, {"cpu_used": 0.99}, {"cpu": "another"}, {"gpu_others": 0}, {"threads": 8}]
)
def test_a_copy_of_a_run_without_its_marks_contradicts_it(washed, tmp_path):
    marks = {"load_after": 30.0, "cpu_used": 0.4, "gpu_others": 2, "threads": 1}
    write_row({**row(), **marks}, tmp_path / "z.parquet")
    write_row({**row(), **marks, **washed}, tmp_path / "a.parquet")
    write_row(row(run="run-2"), tmp_path / "other.parquet")
    found = merge([tmp_path], tmp_path / "merged.parquet")
    assert [each["run"] for each in found.table.to_pylist()] == ["run-2"]
    assert "different figures" in found.lost[0].error.what


HUGE = {**DOCUMENT, "environment": {**ENVIRONMENT, "memory": 10**30}}


@pytest.mark.parametrize(
    "raw", ["", "[" * 5000, json.dumps({**DOCUMENT, "contract": 9}), json.dumps(HUGE), json.dumps(DOCUMENT)[:-9]]
)
def test_a_bad_document_is_named(raw, tmp_path):
    (tmp_path / "by-hand.json").write_text(raw)
    with pytest.raises(ResultError, match=r"by-hand\.json"):
        merge([tmp_path], tmp_path / "merged.parquet")
    assert not (tmp_path / "merged.parquet").exists()


def test_an_oversized_document_is_not_read_whole(tmp_path):
    with (tmp_path / "huge.json").open("wb") as file:
        file.truncate(contract.LARGEST_DOCUMENT * 1000)
    with pytest.raises(ResultError, match=r"huge\.json"):
        merge([tmp_path], tmp_path / "merged.parquet")


cells = st.builds(
    Cell, st.sampled_from(["pytorch", "mxnet"]), st.just("rnn"), data=st.sampled_from(["real", "synthetic"]),
    repeat=st.integers(0, 2),
)  # fmt: skip
attempts = st.lists(st.tuples(cells, st.booleans(), st.integers(0, 3), st.integers(0, 5)), max_size=12)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(machines=st.lists(attempts, min_size=1, max_size=3), data=st.data())
def test_the_order_and_grouping_of_merges_does_not_matter(machines, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("merge")
    files = []
    for number, attempted in enumerate(machines):
        made = [
            {
                **row(cell, outcome=Outcome(Status.FAILED, "x", started=NOW + timedelta(hours=hour))),
                "run": f"{cell}{run}{hour}",
            }
            if runs
            else incompatible_row(cell, "can't", "docker")
            for cell, runs, run, hour in attempted
        ]
        files.append(folder / f"{number}.parquet")
        write_results(table_of(made), files[-1])
    once = merged(*files, out=folder / "once.parquet")
    shuffled = data.draw(st.permutations(files))
    first = shuffled[: len(files) // 2 + 1]
    merged(*first, out=folder / "half.parquet")
    twice = merged(folder / "half.parquet", *shuffled, out=folder / "twice.parquet")
    assert sorted(map(str, twice)) == sorted(map(str, once))
    assert len({r["run"] for r in once}) == len(once)
    asked = {(cell.id, cell.repeat, cell.data) for attempted in machines for cell, *_ in attempted}
    assert {identity(r) for r in once} == asked
    ran = {identity(r) for r in once if r["status"] != "incompatible"}
    assert not ran & {identity(r) for r in once if r["status"] == "incompatible"}
