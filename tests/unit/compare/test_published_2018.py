"""The figures of 2018: the tables rendered from the file, against the figures of the published README written out."""

import hashlib
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.cell.workloads import workloads
from orchestrator.cli.main import main
from orchestrator.compare import published_2018
from orchestrator.compare.published_2018 import EDITIONS, JUNE, MARCH
from orchestrator.errors import ResultError
from orchestrator.report import fields, markdown, tables
from orchestrator.results.files import table_of
from tests.unit.report.test_tables import SHORT, ran

SHA256 = "6d99ad3002a3105eb0533b1dca88f163195c038b0b37d828f1abe61f025ae0c2"

# As printed: a time per column; DenseNet's of March in minutes and seconds.
SINGLE_GPU = {
    "cnn": """
        Caffe2 148 54 | Chainer 162 69 | CNTK 163 53 | MXNet (Gluon) 152 57 | Keras (CNTK) 194 76 | Keras (TF) 241 76
        Keras (Theano) 269 93 | TensorFlow 173 57 | Lasagne (Theano) 253 65 | MXNet 145 52 | PyTorch 169 51
        Julia (Knet) 159 –""",
    "rnn": """
        CNTK 32 15 yes | Keras (CNTK) 86 53 no | Keras (TF) 35 26 yes | MXNet 29 24 yes | PyTorch 31 16 yes
        TensorFlow 30 22 yes | Julia (Knet) 29 – yes""",
    "resnet50": """
        Caffe2 14.1 7.9 | Chainer 9.3 2.7 | CNTK 8.5 1.6 | Keras (CNTK) 21.7 5.9 | Keras (TF) 10.2 2.9
        TensorFlow 6.5 1.8 | MXNet 7.7 1.6 | PyTorch 7.7 1.9 | Julia (Knet) 6.3 –""",
}
PRINTED = {
    ("2018-06", "cnn"): SINGLE_GPU["cnn"] + "| R (Keras) 205 72",
    ("2018-06", "rnn"): SINGLE_GPU["rnn"] + "| MXNet (Gluon) – – – | R (MXNet) – – – | R (Keras) 35 25 yes",
    ("2018-06", "resnet50"): SINGLE_GPU["resnet50"] + "| MXNet (Gluon) – 1.7 | R (MXNet) – – | R (Keras) 17 7.4",
    ("2018-06", "densenet121"): """
        PyTorch 27 10 25 8 | Keras (TF) 38 18 36 15 | TensorFlow 33 22 25 14 | Chainer 29 8 27 7
        MXNet (Gluon) 29 10 28 8""",
    ("2018-03", "cnn"): SINGLE_GPU["cnn"].replace("152 57", "152 62").replace("145 52", "145 51") + "| R (MXNet) – –",
    ("2018-03", "rnn"): SINGLE_GPU["rnn"] + "| R (MXNet) – – –",
    ("2018-03", "resnet50"): SINGLE_GPU["resnet50"].replace("MXNet 7.7 1.6", "MXNet 7.7 2.0") + "| R (MXNet) – –",
    ("2018-03", "densenet121"): """
        PyTorch 41m46 28m50 23m7 11m48 | Keras (TF) 51m27 32m1 22m49 18m30 | TensorFlow 62m8 44m13 31m4 17m10
        Chainer – – – – | MXNet – – – –""",
}
COLUMNS = {
    ("2018-03", "densenet121"): ["P100", "2 × P100", "4 × P100", "4 × P100 synthetic"],
    ("2018-06", "densenet121"): ["V100", "4 × V100", "V100 synthetic", "4 × V100 synthetic"],
}


def printed(edition: published_2018.Edition, workload: str) -> dict[str, list[str]]:
    """The fields of a published table by library, with a unit."""
    unit = {"densenet121": "min"}.get(workload, "s") if edition is JUNE else "s"
    fields = {}
    for line in re.split(r"[|\n]", PRINTED[edition.name, workload]):
        if found := re.fullmatch(r"\s*(.+?)((?: [\d.m]+| –| yes| no)+)\s*", line):
            fields[found[1]] = [seconds(word, unit) for word in found[2].split()]
    return fields


def seconds(word: str, unit: str) -> str:
    if found := re.fullmatch(r"(\d+)m(\d+)", word):
        return f"{60 * int(found[1]) + int(found[2]):,} s"
    return f"{word} {unit}" if word[0].isdigit() else word


@pytest.mark.parametrize(("name", "workload"), PRINTED)
def test_every_number_of_the_eight_tables(name: str, workload: str):
    edition = EDITIONS[name]
    made = dict(zip(workloads(), tables.published_tables(edition), strict=True))[workload]
    expected = printed(edition, workload)
    count = len(next(iter(expected.values())))
    assert {title: [entry.time for entry in row[:count]] for title, row in made.rows.items()} == expected
    headings = [" ".join(heading[1:]) for heading in made.columns[:count]]
    assert headings == COLUMNS.get((edition.name, workload), ["K80", "P100", "GRU"][:count])


def test_rows_stand_in_the_order_of_the_readme():
    march = tables.published_tables(MARCH)
    assert list(march[0].rows)[:4] == ["Caffe2", "Chainer", "CNTK", "MXNet (Gluon)"]
    assert list(march[0].rows)[-2:] == ["Julia (Knet)", "R (MXNet)"]
    assert list(march[3].rows) == ["PyTorch", "Keras (TF)", "TensorFlow", "Chainer", "MXNet"]


def test_doubts_are_marked_and_said():
    doubted = {
        (edition.name, table.title.split(":")[0], title)
        for edition in EDITIONS.values()
        for table in tables.published_tables(edition)
        for title, row in table.rows.items()
        if any(fields.DOUBTED in entry.marks for entry in row)
    }
    resnet, densenet = "ResNet-50", "DenseNet-121 on ChestX-ray14"
    assert doubted == {
        *((name, "GRU on IMDB", "PyTorch") for name in EDITIONS),
        *((name, resnet, "CNTK") for name in EDITIONS),
        ("2018-06", resnet, "R (Keras)"), ("2018-06", densenet, "Chainer"),
        ("2018-03", densenet, "PyTorch"), ("2018-03", densenet, "Keras (TF)"),
    }  # fmt: skip
    notes = [note.text for table in tables.published_tables(JUNE) for note in table.notes]
    assert any("Chainer" in note and "test AUC collapsed" in note for note in notes)


def test_a_time_has_the_quality_of_its_own_run_only():
    june = JUNE.figures("densenet121")
    chainer = june["chainer", published_2018.Column("v100", 4)]
    assert (chainer.shown, chainer.seconds, chainer.quality) == ("8 min", 505, 0.5511)
    pytorch = JUNE.figures("rnn")["pytorch", published_2018.Column("p100")]
    assert (pytorch.shown, pytorch.quality) == ("16 s", None)  # the notebook has a run of 12.6 s


def test_scaling_and_input_lag_of_2018():
    def of(edition: published_2018.Edition, library: str, heading: str) -> str:
        table = tables.published_tables(edition)[3]
        (index,) = [n for n, lines in enumerate(table.columns) if " ".join(lines).endswith(heading)]
        return table.rows[library][index].time

    for library, real, synthetic in (
        ("PyTorch", "2.76", "2.99"), ("Keras (TF)", "2.13", "2.32"), ("TensorFlow", "1.51", "1.83"),
        ("Chainer", "3.42", "3.70"), ("MXNet (Gluon)", "2.95", "3.29"),
    ):  # fmt: skip
        assert of(JUNE, library, "4 × V100 speed-up").startswith(real)
        assert of(JUNE, library, "4 × V100 synthetic speed-up").startswith(synthetic)
    assert of(MARCH, "PyTorch", "4 × P100 input lag") == "679 s, 49 %"  # "~11 min" in the README


def test_nobody_edits_the_file():
    assert hashlib.sha256(published_2018.FILE.read_bytes()).hexdigest() == SHA256


@pytest.mark.parametrize(
    ("question", "shown"),
    [
        (("pytorch", "reference", "cnn", "p100", 1, "real"), "51 s"),
        (("pytorch-2018", "reference", "cnn", "p100", 1, "real"), "51 s"),
        (("gluon", "reference", "cnn", "v100", 1, "real"), "37.2 s"),
        (("mxnet", "highapi", "cnn", "k80", 1, "real"), "144 s"),
        (("pytorch", "reference", "densenet121", "p100", 2, "real"), "1,730 s"),
        (("jax", "reference", "cnn", "p100", 1, "real"), None),
    ],
)
def test_what_a_cell_is_measured_by(question, shown):
    figure = published_2018.figure_for(*question)
    assert (figure and figure.shown) == shown


def test_the_command_prints_them():
    found = CliRunner().invoke(main, ["table", "--published", "2018-06"])
    assert found.exit_code == 0
    assert "8 min?  .551" in found.output
    assert "3.42 ×, 86 %?" in found.output  # what is made of a doubtful time is doubtful
    assert max(map(len, found.output.splitlines())) <= 80


# --- beside new results ---------------------------------------------------------------------------------------------
def headings(*rows) -> dict[str, list[str]]:
    every, _ = tables.tables(table_of(rows), published=True)
    return {table.title.split(":")[0]: [" ".join(lines) for lines in table.columns] for table in every}


def test_the_figures_of_2018_have_columns_of_their_own():
    every, _ = tables.tables(
        table_of([ran(name, s, repeat=n) for name, s in (("pytorch", 300), ("jax", 200)) for n in range(4)]),
        published=True,
    )
    rnn = every[1]
    assert rnn.columns == [("CPU",), ("2018, CUDA 8", "K80"), ("2018, CUDA 8", "P100")]
    assert [entry.time for entry in rnn.rows["PyTorch"]] == ["300 s", "31 s", "16 s"]
    assert [entry.time for entry in rnn.rows["JAX (Flax)"]] == ["200 s", "", ""]
    assert [entry.time for entry in rnn.rows["CNTK"]] == ["", "32 s", "15 s"]
    assert [entry.fastest for entry in rnn.rows["JAX (Flax)"]] == [True, False, False]
    assert len(every) == 4
    assert "2018, CUDA 9 4 × V100 synthetic" in headings()["DenseNet-121 on ChestX-ray14"]


def test_not_beside_runs_that_were_shortened():
    assert headings(ran("pytorch", 3, **SHORT))["GRU on IMDB"] == ["CPU"]


def test_a_run_on_the_same_card_stands_beside_the_figure_and_not_in_its_place():
    every, _ = tables.tables(table_of([ran("pytorch", 12, 0.86, "cuda8", "p100")]), published=True)
    assert [entry.time for entry in every[1].rows["PyTorch"]] == ["12 s", "31 s", "16 s"]


def densenet(seconds: float, n_gpus: int, data: str = "real", **changes):
    return ran(
        "pytorch", seconds, 0.81, "cuda12", "v100", workload="densenet121", data=data, n_gpus=n_gpus,
        epochs=5, samples=87306, metric="mean AUC", shortened=False, **changes,
    )  # fmt: skip


def test_densenet_with_its_input_lag_and_speed_up():
    rows = [densenet(2000, 1), densenet(1000, 2), densenet(600, 4), densenet(1900, 1, "synthetic")]
    every, marks = tables.tables(table_of([*rows, densenet(480, 4, "synthetic")]))
    assert [" ".join(lines) for lines in every[0].columns] == [
        "CUDA 12 V100", "CUDA 12 2 × V100", "CUDA 12 4 × V100", "CUDA 12 V100 synthetic", "CUDA 12 4 × V100 synthetic",
        "CUDA 12 V100 input lag", "CUDA 12 4 × V100 input lag",
        "CUDA 12 2 × V100 speed-up", "CUDA 12 4 × V100 speed-up", "CUDA 12 4 × V100 synthetic speed-up",
    ]  # fmt: skip
    assert [entry.time for entry in every[0].rows["PyTorch"]] == [
        "2,000 s", "1,000 s", "600 s", "1,900 s", "480 s",
        "100 s, 5 %", "120 s, 20 %", "2.00 ×, 100 %", "3.33 ×, 83 %", "3.96 ×, 99 %",
    ]  # fmt: skip
    assert marks == []  # synthetic data is a question of its own here


# --- into a document ------------------------------------------------------------------------------------------------
def test_the_block_of_a_document_is_replaced_and_the_rest_stays(tmp_path: Path):
    path = tmp_path / "README.md"
    path.write_text(f"# Ours\n\n{markdown.BEGIN}\nold\n{markdown.END}\n\nend\n")
    assert markdown.put_into(path, "| new |\n")
    assert path.read_text() == f"# Ours\n\n{markdown.BEGIN}\n\n| new |\n\n{markdown.END}\n\nend\n"
    assert not markdown.put_into(path, "| new |\n")


@pytest.mark.parametrize("text", ["", markdown.BEGIN, f"{markdown.END}\n{markdown.BEGIN}", f"{markdown.BEGIN}\n" * 2])
def test_a_document_without_the_place_is_left_alone(tmp_path: Path, text: str):
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(ResultError, match="no place for tables"):
        markdown.put_into(path, "new")
    assert path.read_text() == text


def test_the_readmes_tables_are_those_of_the_results_in_docs(tmp_path: Path, capsys):
    copy = tmp_path / "README.md"
    copy.write_text(Path("README.md").read_text())
    main(["table", "docs/results", "--into", str(copy)], standalone_mode=False)
    assert "up to date" in capsys.readouterr().out, "rosetta table docs/results --into README.md"
