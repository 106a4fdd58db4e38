"""matrix.yaml → cells: the semantics of include and exclude, selectors, and errors a person can act on."""

import json
from pathlib import Path

import pytest

from orchestrator.cell.cell import Cell
from orchestrator.errors import MatrixError, SelectionError
from orchestrator.plan import matrix
from orchestrator.plan.combinations import cells_of_file
from orchestrator.plan.selection import select
from orchestrator.system.checkout import ROOT
from orchestrator.system.host import Device, Host

KNOWN = {
    "library": ["pytorch", "jax", "cntk"],
    "workload": ["cnn", "rnn"],
    "platform": ["cpu", "cuda8", "cuda9"],
    "gpu": ["none", "p100", "v100", "here"],
    "precision": ["fp32", "tf32"],
    "data": ["real", "synthetic"],
}


@pytest.fixture
def cells_of(tmp_path):
    """Cells of a matrix file given as text."""

    def read(text: str, profile: str | None = None, **overrides) -> list[Cell]:
        path = tmp_path / "matrix.yaml"
        path.write_text(text)
        return cells_of_file(path, profile, KNOWN, overrides)

    return read


def test_cells_are_the_product_of_the_axes(cells_of):
    cells = cells_of("axes: {library: [pytorch, jax], workload: [cnn, rnn]}")
    assert [cell.id for cell in cells] == ["pytorch/cnn/cpu", "pytorch/rnn/cpu", "jax/cnn/cpu", "jax/rnn/cpu"]
    assert {(cell.data, cell.repeat, cell.epochs) for cell in cells} == {("real", 0, None)}


def test_ids_name_what_is_not_the_default():
    assert Cell("pytorch", "rnn", "cuda9", "p100").id == "pytorch/rnn/cuda9/p100"
    assert Cell("mxnet", "rnn", variant="tuned", precision="tf32").id == "mxnet/rnn/cpu/tf32/tuned"


def test_star_stands_for_every_library_with_an_image(cells_of):
    cells = cells_of("axes: {library: [jax, '*'], workload: [rnn]}")
    assert [cell.library for cell in cells] == ["jax", "cntk", "pytorch"]


def test_the_gpu_here_without_a_card_is_no_cell_without_a_gpu(cells_of):
    text = "axes: {library: [jax], workload: [rnn], platform: [cpu, cuda9], gpu: [here]}"
    assert [cell.id for cell in cells_of(text)] == ["jax/rnn/cuda9/here"]
    assert [cell.id for cell in cells_of(text.replace("[here]", "[none, here]"))] == ["jax/rnn/cpu"]


def test_repeats_are_rounds_over_the_whole_matrix(cells_of):
    cells = cells_of("axes: {library: [pytorch, jax], workload: [rnn], repeat: [0, 1]}")
    assert [(cell.library, cell.repeat) for cell in cells] == [("pytorch", 0), ("jax", 0), ("pytorch", 1), ("jax", 1)]


# The example of GitHub's own documentation of matrices, with our axes' words in place of fruit, animal, color, shape:
# fruit → library {pytorch, jax}, animal → workload {cnn, rnn}, color → platform, shape → gpu.
GITHUB = """
axes: {library: [pytorch, jax], workload: [cnn, rnn]}
include:
  - {platform: cuda8}
  - {platform: cuda9, workload: cnn}
  - {library: pytorch, gpu: p100}
  - {library: cntk, workload: cnn}
  - {library: cntk, workload: rnn}
"""


def test_include_extends_or_adds_as_on_github(cells_of):
    cells = {(c.library, c.workload): (c.platform, c.gpu) for c in cells_of(GITHUB)}
    assert cells == {
        ("pytorch", "cnn"): ("cuda9", "p100"),
        ("pytorch", "rnn"): ("cuda8", "p100"),
        ("jax", "cnn"): ("cuda9", "none"),
        ("jax", "rnn"): ("cuda8", "none"),
        ("cntk", "cnn"): ("cpu", "none"),
        ("cntk", "rnn"): ("cpu", "none"),
    }


def test_exclude_never_removes_what_an_include_adds(cells_of):
    text = "axes: {library: [pytorch, jax], workload: [rnn]}\nexclude: [{library: jax}]\n"
    text += "include: [{library: jax, workload: rnn}]"
    assert [cell.library for cell in cells_of(text)] == ["pytorch", "jax"]


def test_profile_replaces_axes_and_adds_parameters(cells_of):
    text = """
axes: {library: [pytorch, jax], workload: [cnn, rnn]}
profiles:
  short:
    axes: {workload: [rnn], data: [synthetic]}
    include: [{workload: rnn, epochs: 2, samples: 640}]
"""
    cells = cells_of(text, "short")
    assert {(c.workload, c.data, c.epochs, c.samples) for c in cells} == {("rnn", "synthetic", 2, 640)}
    assert len(cells) == 2
    assert cells_of(text, "short", epochs=7)[0].epochs == 7


@pytest.mark.parametrize("cuda", ["cuda: [8.0, 9.0]", "cuda: ['8', '9']", "platform: [cuda8, cuda9]"])
def test_cuda_versions_may_be_written_as_numbers(cells_of, cuda):
    cells = cells_of(f"axes: {{library: [pytorch], workload: [rnn], gpu: [p100], {cuda}}}")
    assert [cell.platform for cell in cells] == ["cuda8", "cuda9"]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("axes:\n  libary: [pytorch]\n  workload: [rnn]", 2, "Did you mean 'library'"),
        ("axes:\n  library: [pytroch]\n  workload: [rnn]", 2, "Did you mean 'pytorch'"),
        ("axes:\n  library:\n    - pytorch\n    - jaxx\n  workload: [rnn]", 4, "Did you mean 'jax'"),
        ("axes: {library: [jax], workload: [rnn]}\nexclude:\n  - {gpu: p10}", 3, "Did you mean 'p100'"),
        (
            "axes: {library: [jax], workload: [rnn]}\ninclude:\n  - {workload: rnn, epoch: 2}",
            3,
            "Did you mean 'epochs'",
        ),
        ("axes: {library: [jax], workload: [rnn]}\nprofiles:\n  a:\n    axis: {}", 4, "Did you mean 'axes'"),
        (
            "axes: {library: [jax], workload: [rnn]}\ninclude:\n  - {workload: rnn,\n     epochs: many}",
            4,
            "include.0.epochs",
        ),
        ("axes:\n  library: [jax]\n  cuda: [7.5]\n  workload: [rnn]", 3, "unknown platform 'cuda7'"),
    ],
)
def test_errors_name_file_line_and_the_nearest_word(cells_of, tmp_path, text, line, said):
    with pytest.raises(MatrixError) as caught:
        cells_of(text)
    assert f"{tmp_path / 'matrix.yaml'}:{line}: " in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "axes: [", "axes: {library: [jax]}", "axes: {library: [], workload: [rnn]}", "- a"]
)
def test_files_without_a_matrix_are_refused(cells_of, text):
    with pytest.raises(MatrixError):
        cells_of(text)


def test_excluding_everything_is_an_error(cells_of):
    with pytest.raises(MatrixError, match="the matrix is empty"):
        cells_of("axes: {library: [jax], workload: [rnn]}\nexclude: [{workload: rnn}]")


def test_unknown_profile_names_those_there_are(cells_of):
    with pytest.raises(MatrixError, match="Did you mean 'quick'"):
        cells_of("axes: {library: [jax], workload: [rnn]}\nprofiles: {quick: {}}", "quik")


CELLS = [Cell("pytorch", "rnn"), Cell("pytorch", "cnn"), Cell("jax", "rnn"), Cell("jax", "rnn", "cuda9", "p100")]


@pytest.mark.parametrize(
    ("only", "skip", "expected"),
    [
        (["*/rnn/cpu/*"], [], ["pytorch/rnn/cpu", "jax/rnn/cpu"]),
        (["*/rnn/cpu"], [], ["pytorch/rnn/cpu", "jax/rnn/cpu"]),
        (["{pytorch,jax}/rnn/*"], [], ["pytorch/rnn/cpu", "jax/rnn/cpu", "jax/rnn/cuda9/p100"]),
        (["*/p100"], [], ["jax/rnn/cuda9/p100"]),
        ([], ["jax/*"], ["pytorch/rnn/cpu", "pytorch/cnn/cpu"]),
        (["pytorch/*", "*/p100"], ["*/cnn/*"], ["pytorch/rnn/cpu", "jax/rnn/cuda9/p100"]),
    ],
)
def test_selectors(only, skip, expected):
    assert [cell.id for cell in select(CELLS, only, skip)] == expected


def test_a_selector_that_matches_nothing_shows_ids_that_are_near():
    with pytest.raises(SelectionError, match="pytorch/rnn/cpu"):
        select(CELLS, ["pytroch/rnn/cpu"], [])


def test_the_committed_schema_is_current():
    assert json.loads((ROOT / "matrix.schema.json").read_text()) == json.loads(matrix.json_schema())


def test_the_committed_matrix_names_the_published_tables():
    from orchestrator.plan.selection import known_words

    cells = cells_of_file(ROOT / "matrix.yaml", "full", known_words())
    published = {"caffe2", "chainer", "cntk", "gluon", "keras-cntk", "keras-tf", "keras-theano", "knet", "lasagne",
                 "mxnet", "mxnet-r", "pytorch", "tensorflow"}  # fmt: skip
    assert published <= {cell.library for cell in cells}
    assert {cell.gpu for cell in cells} == {"none", "k80", "p100", "v100", "h200"}
    assert {cell.platform for cell in cells} == {"cpu", "cuda8", "cuda9", "cuda11", "cuda12", "cuda13"}
    assert {cell.workload for cell in cells} == {"cnn", "rnn", "resnet50", "densenet121"}
    assert all((cell.platform == "cpu") == (cell.gpu == "none") for cell in cells)


def test_the_committed_variants_have_scripts_and_leave_the_quick_profile_alone():
    from orchestrator.cell.scripts import script_of
    from orchestrator.plan.selection import known_words

    cells = cells_of_file(ROOT / "matrix.yaml", "full", known_words())
    variants = [cell for cell in cells if cell.variant != "reference"]
    highapi = {f"{library}/cnn/cpu/highapi" for library in ("cntk", "mxnet", "tensorflow-2018")}
    assert {*highapi, "mxnet/rnn/cpu/tnc"} <= {cell.id for cell in variants}
    for cell in variants:
        assert script_of(cell.library, cell.workload, cell.variant).is_file(), cell.id
    quick = cells_of_file(ROOT / "matrix.yaml", "quick", known_words())
    assert {cell.variant for cell in quick} == {"reference"}


def test_the_published_crops_stand_beside_their_references_in_a_profile_of_their_own():
    from orchestrator.cell.scripts import script_of
    from orchestrator.plan.selection import known_words

    def ids(profile, variant):
        cells = cells_of_file(ROOT / "matrix.yaml", profile, known_words())
        return {cell.id.removesuffix(f"/{variant}") for cell in cells if cell.variant == variant}

    resized = ids("resized-crop", "resized-crop")
    assert resized == ids("resized-crop", "reference")
    assert {name for name in resized if "/cpu" in name} == {
        f"{library}/densenet121/cpu" for library in ("gluon", "gluon-2018", "pytorch", "pytorch-2018")
    }
    assert {"pytorch-2018/densenet121/cuda9/v100", "pytorch-2018/densenet121/cuda9/v100x4"} <= resized
    assert not ids("full", "resized-crop")
    script = script_of("pytorch", "densenet121", "resized-crop")
    assert script == script_of("pytorch", "densenet121")
    assert script.is_file()


def test_a_matrix_may_name_any_card_and_a_mistyped_word_is_none(tmp_path):
    from orchestrator.plan.selection import known_words

    path = tmp_path / "matrix.yaml"
    text = "axes: {{library: [pytorch], workload: [rnn], platform: [cuda12], gpu: [{}]}}"
    for gpu in ("titan-v", "rtx-9090", "a100-3g-20gb"):
        path.write_text(text.format(gpu))
        assert [cell.gpu for cell in cells_of_file(path, None, known_words())] == [gpu]
    path.write_text(text.format("heer"))
    with pytest.raises(MatrixError, match="Did you mean 'here'"):
        cells_of_file(path, None, known_words())


RTX = Host(
    (
        Device("NVIDIA GeForce RTX 4090", "GPU-1", capability=(8, 9)),
        Device("NVIDIA A100-SXM4-40GB MIG 3g.20gb", "MIG-1", capability=(8, 0)),
        Device("NVIDIA None-Such", "GPU-2", capability=(9, 0)),
    ),
    (580, 65),
)


def gpus_of(word: str, path: Path, host: Host) -> list[str]:
    """The GPUs of the cells of a matrix with this word for one."""
    from orchestrator.plan.selection import selected_cells

    path.write_text(f"axes: {{library: [jax], workload: [rnn], platform: [cuda13], gpu: [{word!r}]}}")
    return [cell.gpu for cell in selected_cells(path, None, [], [], {}, lambda: host)]


@pytest.mark.parametrize("host", [RTX, Host()])
@pytest.mark.parametrize(
    "word",
    ["thor", "titan", "orin", "titan-v", "k20", "a10", "a10g", "l4", "b200", "gh200", "rtx4090", "gtx75", "a100x"],
)
def test_a_card_that_is_not_here_is_a_word_like_one_that_is(word, host, tmp_path):
    assert gpus_of(word, tmp_path / "matrix.yaml", host) == [word]


@pytest.mark.parametrize("host", [RTX, Host()])
@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        *((word, "Did you mean 'here'?") for word in ("here-x", "heer", "her", "Here", "*")),
        *((word, "Did you mean 'none'?") for word in ("none-x", "nune", "nnone", "None")),
        *((word, "Did you mean 'v100'?") for word in ("v-100", "v1oo", "V100", "v100.", "Tesla V100-SXM2-16GB")),
        *((word, f"Write gpu: [{word[:-2]}] and n_gpus: [{word[-1]}].") for word in ("rtx-4090x2", "thorx4")),
        ("RTX 4090", "Did you mean 'rtx-4090'?"),
        ("geforce-rtx-4090", "Did you mean 'rtx-4090'?"),
        ("Orin-SM87", "Did you mean 'orin-sm87'?"),
        ("a100-3g.20gb", "Did you mean 'a100-3g-20gb'?"),
        ("Thor", "Did you mean 'thor'?"),
        *(
            (word, "a card's short name: small letters, digits and hyphens, as k80")
            for word in ("true", "cpu", "", "8")
        ),
    ],
)
def test_a_word_that_is_plainly_no_card_says_what_was_meant(word, remedy, host, tmp_path):
    with pytest.raises(MatrixError) as caught:
        gpus_of(word, tmp_path / "matrix.yaml", host)
    assert f"unknown gpu '{word}'" in caught.value.what
    assert remedy in caught.value.remedy


def test_the_cards_that_are_here_are_suggested_and_named(tmp_path):
    with pytest.raises(MatrixError) as caught:
        gpus_of("4090", tmp_path / "matrix.yaml", RTX)
    assert caught.value.remedy.startswith("Did you mean 'rtx-4090'? It may be 'none', 'here' for every model")
    assert caught.value.remedy.endswith("The cards here are rtx-4090, a100-3g-20gb, none-such.")
    assert gpus_of("none-such", tmp_path / "matrix.yaml", RTX) == ["none-such"]


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        ("workload: [CNN]", "unknown workload 'CNN'. Did you mean 'cnn'?"),
        ("workload: [cnn], precision: ['FP 32']", "unknown precision 'FP 32'. Did you mean 'fp32'?"),
        ("workload: [cnn], variant: ['A B']", "has a form or characters that it may not have. It is 'A B'."),
    ],
)
def test_no_word_is_answered_with_a_regular_expression(axes, said, cells_of):
    with pytest.raises(MatrixError) as caught:
        cells_of(f"axes: {{library: [jax], {axes}}}")
    assert said in str(caught.value).replace("\n", " ")


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(MatrixError, match="can't be read"):
        cells_of_file(Path(tmp_path, "none.yaml"), None, KNOWN)


def test_what_the_command_line_asks_for_reaches_cells_that_only_an_include_makes(cells_of):
    text = "axes: {library: [pytorch], workload: [cnn]}\ninclude: [{library: jax, workload: rnn, variant: tuned}]\n"
    cells = cells_of(text, data=["synthetic"], repeat=[0, 1])
    assert [(cell.library, cell.data, cell.repeat) for cell in cells] == [
        ("pytorch", "synthetic", 0),
        ("jax", "synthetic", 0),
        ("pytorch", "synthetic", 1),
        ("jax", "synthetic", 1),
    ]
