"""The reference is right by finite differences, and layouts are converted there and back."""

from types import SimpleNamespace

import numpy as np
import pytest

from harness import weights
from harness.weights import Array, Weights
from orchestrator.cell import cell as cell_module
from orchestrator.cell import contract, quality
from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Status
from orchestrator.cell.parameters import parameters
from orchestrator.data import given_weights
from orchestrator.errors import DataError
from reference import cnn, densenet121, layers, optimisers, resnet50, rnn

RANDOM = np.random.RandomState(0)
CNN = SimpleNamespace(filters=[2, 3], hidden=5, n_classes=4)
RNN = SimpleNamespace(vocabulary=7, embedding=4, hidden=3, n_classes=2)


def values(declared, params):
    """Small networks of the same kind: 32×32 images would take finite differences minutes."""
    made = {}
    for array in declared(params):
        shape = (array.shape[0], array.shape[1] * 4) if array.kind == "flat" else array.shape
        made[array.name] = RANDOM.uniform(-0.5, 0.5, shape)
    return made


def check_gradients(network, given, x, y, form):
    """Compare with the differences quotient at three places of each parameter."""
    loss, gradients = network.gradients(given, x, y, form)
    assert loss == pytest.approx(layers.cross_entropy(network.scores(given, x, form), y)[0])
    for name, value in given.items():
        for place in RANDOM.choice(value.size, 3):
            index, step = np.unravel_index(place, value.shape), 1e-5
            ends = []
            for sign in (1, -1):
                value[index] += sign * step
                ends.append(network.gradients(given, x, y, form)[0])
                value[index] -= sign * step
            assert gradients[name][index] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-8), name


def test_the_gradients_of_the_cnn():
    given = values(weights.cnn, CNN)
    given["dense1.weight"] = RANDOM.uniform(-0.5, 0.5, (5, 3 * 2 * 2))
    check_gradients(cnn, given, RANDOM.uniform(size=(3, 3, 8, 8)), np.array([0, 3, 1]), None)


@pytest.mark.parametrize("reset", ["before", "after"])
@pytest.mark.parametrize("sigmoid", ["logistic", "hard"])
@pytest.mark.parametrize("biases", [1, 2])
def test_the_gradients_of_every_form_of_the_gru(reset, sigmoid, biases):
    given = values(weights.rnn, RNN)
    if biases == 1:
        del given["gru.state.bias"]
    form = SimpleNamespace(reset=reset, sigmoid=sigmoid)
    check_gradients(rnn, given, RANDOM.randint(0, 7, (3, 5)), np.array([0, 1, 1]), form)


def test_convolutions_and_pools_by_hand():
    image = np.arange(16.0).reshape(1, 1, 4, 4)
    box = np.ones((1, 1, 3, 3))
    assert layers.convolve(image, box)[0, 0, 1, 1] == image[0, 0, :3, :3].sum()
    assert layers.convolve(image, box, stride=2).shape == (1, 1, 2, 2)
    assert layers.convolve(image, box, stride=2)[0, 0, 1, 1] == image[0, 0, 1:, 1:].sum()
    assert layers.pool(image)[0].tolist() == [[[[5, 7], [13, 15]]]]
    assert resnet50.pool_3x3(image).tolist() == [[[[5, 7], [13, 15]]]]


def test_the_optimisers_by_hand():
    params = SimpleNamespace(learning_rate=0.1, momentum=0.9, beta_1=0.9, beta_2=0.999, epsilon=1e-8)
    form = SimpleNamespace(epsilon="corrected", head_start=0)
    for optimiser, expected in (
        (optimisers.Momentum(params, form), 1 - 0.2 - 0.38),
        (optimisers.Adam(params, form), 0.8),
    ):
        weight = {"w": np.array([1.0])}
        optimiser.update(weight, {"w": np.array([2.0])})
        optimiser.update(weight, {"w": np.array([2.0])})
        assert weight["w"][0] == pytest.approx(expected)


@pytest.mark.parametrize(("form", "step"), [("corrected", 0.2 / 2.1), ("uncorrected", 0.2 / (2 + 0.1 / 0.001**0.5))])
def test_where_adam_adds_epsilon(form, step):
    params = SimpleNamespace(learning_rate=0.1, beta_1=0.9, beta_2=0.999, epsilon=0.1)
    weight = {"w": np.array([1.0])}
    optimisers.Adam(params, SimpleNamespace(epsilon=form, head_start=0)).update(weight, {"w": np.array([2.0])})
    assert weight["w"][0] == pytest.approx(1 - step)


ARRAYS = {
    "conv": Array("c", "conv", (4, 3, 5, 5)),
    "dense": Array("d", "dense", (4, 6)),
    "flat": Array("f", "flat", (4, 3, 2, 2)),
    "gate": Array("g", "gate", (6, 5)),
    "bias": Array("b", "input bias", (6,)),
    "other bias": Array("s", "state bias", (6,)),
    "table": Array("t", "table", (7, 3)),
}


@pytest.mark.parametrize("layout", [{}, {"conv": "HWIO", "dense": "IO", "flat": "HWC", "gates": "zrn", "biases": 1}])
def test_what_is_given_is_what_is_taken(layout):
    kept = []
    mine = Weights(lambda: kept, kept.extend, **layout)
    given = [(array, RANDOM.uniform(size=array.shape)) for array in ARRAYS.values()]
    mine.give(given)
    assert len(kept) == (7 if not layout else 6)
    taken = mine.take(given)
    for array, value in mine.mine(given):
        assert np.array_equal(taken[array.name], value.reshape(taken[array.name].shape)), array


def test_layouts_are_what_their_letters_say():
    kept = []
    Weights(None, kept.extend, conv="HWIO", dense="IO", flat="HWC", gates="zrn").give(
        [(ARRAYS[kind], np.arange(float(np.prod(ARRAYS[kind].shape))).reshape(ARRAYS[kind].shape)) for kind in ARRAYS]
    )
    conv, dense, flat, gate, bias, *_ = kept
    assert conv.shape == (5, 5, 3, 4)
    assert dense.shape == (6, 4)
    assert flat.shape == (12, 4)
    assert flat[:4, 0].tolist() == [0, 4, 8, 1]  # the three channels of the first pixel, then the second pixel
    assert gate.shape == (5, 6)
    assert bias.tolist() == [2, 3, 0, 1, 4, 5]


def test_a_wrong_shape_is_named():
    mine = Weights(lambda: [np.zeros((6, 4))], None)
    with pytest.raises(SystemExit, match=r"d has the shape \(6, 4\) instead of \(4, 6\)"):
        mine.take([(ARRAYS["dense"], None)])
    with pytest.raises(SystemExit, match="the script has 1 parameters, the workload 2"):
        mine.take([(ARRAYS["dense"], None), (ARRAYS["conv"], None)])


@pytest.mark.parametrize(
    ("workload", "count"),
    [("cnn", 3_441_592), ("rnn", 3_818_302), ("resnet50", 23_561_152), ("densenet121", 7_051_854)],
)
def test_given_weights_are_the_published_networks(workload, count):
    given = weights.given(workload, SimpleNamespace(**parameters()[workload]))
    assert sum(value.size for _, value in given) == count
    assert all(value.dtype == np.float32 for _, value in given)
    assert all(value.std() > 0 for _, value in given)


@pytest.fixture
def own(tmp_path):
    """Writes weights of one's own for the small GRU, changed as asked, and gives what makes the harness read them."""

    def own(**changes):
        arrays = {a.name: RANDOM.uniform(-1, 1, a.shape).astype(np.float32) for a in weights.rnn(RNN)}
        arrays = {name: value for name, value in {**arrays, **changes}.items() if value is not None}
        np.savez(str(tmp_path / "own.npz"), **arrays)
        return SimpleNamespace(**vars(RNN), weights_file=str(tmp_path / "own.npz")), arrays

    return own


def test_weights_of_ones_own_stand_in_place_of_the_given_ones(own):
    params, arrays = own(stranger=np.zeros(3))
    given = weights.given("rnn", params)
    assert [array.name for array, _ in given] == [array.name for array in weights.rnn(RNN)]
    for array, value in given:
        np.testing.assert_array_equal(value, arrays[array.name])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dense.bias": None}, "own.npz lacks dense.bias"),
        ({"dense.bias": np.zeros(7)}, r"dense.bias in own.npz: \(7,\) instead of \(2,\)"),
        ({"dense.bias": np.array([1, np.nan])}, "dense.bias in own.npz: no finite number"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(own, changes, said):
    params, _ = own(**changes)
    with pytest.raises(SystemExit, match=said):
        weights.given("rnn", params)


def test_nothing_but_numbers_is_read_from_a_file_of_weights(own):
    params, _ = own(**{"dense.bias": np.array([{"any": "object"}, None])})
    with pytest.raises(ValueError, match="allow_pickle"):
        weights.given("rnn", params)


def test_a_cell_that_was_given_weights_says_which():
    cell = Cell("pytorch", "rnn", parity=True, weights="ab" * 32)
    assert contract.arguments(cell)[-5:-3] == ["--weights", "abababababababab.npz"]
    assert contract.arguments(Cell("pytorch", "rnn"))[2:4] == ["--data", "real"]
    assert cell.id == Cell("pytorch", "rnn").id
    assert "weights" not in cell_module.AXES


def test_other_weights_than_declared_are_refused():
    params = SimpleNamespace(**{**parameters()["cnn"], "weights_sha256": "0"})
    with pytest.raises(SystemExit, match="SHA-256"):
        weights.given("cnn", params)


@pytest.mark.parametrize(
    ("change", "cell"),
    [
        ({"weights_sha256": "0"}, Cell("pytorch", "rnn", parity=True)),
        ({"embedding": 126}, Cell("pytorch", "rnn", parity=True)),
        ({"weights_sha256": "0"}, Cell("jax", "resnet50")),
    ],
    ids=["wrong sum", "wrong shape", "features"],
)
def test_wrong_weights_are_named_before_any_container_runs(change, cell, monkeypatch):
    declared = parameters()
    changed = {**declared, cell.workload: {**declared[cell.workload], **change}}
    monkeypatch.setattr(given_weights, "parameters", lambda: changed)
    with pytest.raises(DataError, match=f"given weights of {cell.workload}") as caught:
        given_weights.check([cell])
    assert "have the SHA-256" in caught.value.why


def test_weights_that_no_cell_is_given_are_not_looked_at(monkeypatch):
    monkeypatch.setattr(given_weights, "parameters", lambda: {"cnn": {"weights_sha256": "0"}})
    given_weights.check([Cell("pytorch", "cnn")])


@pytest.mark.parametrize(
    ("errors", "status", "said"),
    [
        ({"scores": 1e-6, "loss": 1e-6, "parameters": 1e-5, "updates": 1e-3}, Status.OK, ""),
        ({"scores": 1e-3, "loss": 1e-6, "parameters": 1e-5, "updates": 1e-3}, Status.QUALITY, "scores differ by 0.001"),
        ({"scores": 1e-6, "loss": 1e-6, "parameters": 1e-5}, Status.QUALITY, "updates are missing"),
    ],
)
def test_parity_is_judged_by_the_declared_tolerances(errors, status, said):
    judged, reason = quality.judge_parity("cnn", errors)
    assert judged is status
    assert said in reason


DENSENET = SimpleNamespace(blocks=[2, 1], growth=3, findings=["a", "b"])


@pytest.mark.parametrize("workers", [1, 2])
def test_the_gradients_of_densenet_with_the_statistics_of_each_worker(workers):
    given = {
        array.name: RANDOM.uniform(0.5, 1.5, array.shape) if array.kind in ("scale", "variance") else
        RANDOM.uniform(-0.5, 0.5, array.shape)
        for array in weights.densenet121(DENSENET)
    }  # fmt: skip
    x, y = RANDOM.uniform(size=(4, 3, 16, 16)), RANDOM.randint(0, 2, (4, 2))
    form = SimpleNamespace(workers=workers)
    _, found = densenet121.gradients(given, x, y, form)
    assert set(found) == {name for name in given if not name.endswith((".mean", ".variance"))}
    for name, gradient in found.items():
        index, step, ends = np.unravel_index(RANDOM.randint(gradient.size), gradient.shape), 1e-6, []
        for sign in (1, -1):
            given[name][index] += sign * step
            ends.append(densenet121.gradients(given, x, y, form)[0])
            given[name][index] -= sign * step
        assert gradient[index] == pytest.approx((ends[0] - ends[1]) / (2 * step), abs=1e-7, rel=1e-4), name


def test_each_worker_normalises_by_itself():
    given = {a.name: RANDOM.uniform(0.5, 1, a.shape) for a in weights.densenet121(DENSENET)}
    x, y = RANDOM.uniform(size=(4, 3, 16, 16)), RANDOM.randint(0, 2, (4, 2))
    one, two = (densenet121.gradients(given, x, y, SimpleNamespace(workers=workers))[0] for workers in (1, 2))
    assert one != two
    halves = [densenet121.gradients(given, x[h], y[h], SimpleNamespace(workers=1))[0] for h in (slice(2), slice(2, 4))]
    assert two == pytest.approx(np.mean(halves), abs=1e-12)


def test_cudnns_block_is_read_as_cudnn_names_its_parts():
    """By the ids of cuDNN's parts: 0 to 2 are of the input, 3 to 5 of the state, each reset, update, new."""
    declared = {array.name: array for array in weights.rnn(RNN)}
    names = ["gru.input.weight", "gru.state.weight", "gru.input.bias", "gru.state.bias"]
    given = [RANDOM.uniform(size=declared[name].shape).astype(np.float32) for name in names]
    block = weights.cudnn_block(given)
    (inputs, hidden), start = (RNN.embedding, RNN.hidden), 0
    for part in range(6):
        width = inputs if part < 3 else hidden
        matrix = block[start : start + hidden * width].reshape(hidden, width)
        assert (matrix == given[part // 3][part % 3 * hidden : (part % 3 + 1) * hidden]).all()
        start += hidden * width
    for part in range(6):
        bias = block[start + part * hidden : start + (part + 1) * hidden]
        assert (bias == given[2 + part // 3][part % 3 * hidden : (part % 3 + 1) * hidden]).all()
    assert block.size == start + 6 * hidden
    for ours, theirs in zip(given, weights.from_cudnn_block(block, inputs, hidden), strict=True):
        np.testing.assert_array_equal(ours, theirs)
