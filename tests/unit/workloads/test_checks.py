"""Runs that say what they did not do are refused: whole runs of the harness with a library in NumPy."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from harness import checks, parity
from orchestrator.cell import contract
from tests.unit.workloads import numpy_library


@pytest.fixture
def run(tmp_path):
    """Run the NumPy library; returns the document, or the last line of what it said."""

    def run(workload, more=None, *words, **changes):
        shutil.rmtree(tmp_path, ignore_errors=True)
        folder = numpy_library.folder(tmp_path / "workloads", workload, more, **changes)
        (tmp_path / "results").mkdir()
        variables = {**os.environ, "PYTHONPATH": str(folder), "ROSETTA_PLATFORM": "cpu"}
        variables["ROSETTA_RESULTS"] = str(tmp_path / "results")
        command = [
            sys.executable,
            "-m",
            "harness",
            "numpy",
            workload,
            "--data",
            "synthetic",
            "--samples",
            "320",
            *words,
        ]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        written = list((tmp_path / "results").glob("*.json"))
        assert (done.returncode == 0) == bool(written), done.stderr
        return contract.parse(written[0].read_bytes(), "here") if written else done.stderr.strip().splitlines()[-1]

    return run


def test_an_honest_run_says_what_was_checked(run):
    document = run("rnn", None, "--epochs", "2")
    assert (document.checks.steps_watched, document.checks.steps_moved) == (checks.WATCHED, checks.WATCHED)
    assert document.checks.scores < 1e-6
    assert document.checks.dropout is None
    assert document.phases["check"] > 0
    assert document.seconds == pytest.approx(sum(document.epoch_seconds))


LAZY = """
waiting = []


def later(x, y):
    waiting.append((x, y))
    return 0.69


def done():
    while waiting:
        now(*waiting.pop(0))
    return [model[name] for name in names]


now, layouts._get = train_step, done
cell.run(cell.data(), lambda x: done() and predict(x), later, weights=layouts)
"""


def test_what_a_library_puts_off_until_its_weights_are_read_counts(run):
    """A step that only takes note of its batch: all of the training would be done while the clock stands still."""
    slow = "(time.sleep(0.02), optimizer.update(model, gradients))"
    document = run("rnn", None, "--epochs", "2", update=slow, end="import time\n" + LAZY)
    assert document.checks.steps_moved == document.checks.steps_watched
    assert document.seconds > 0.02 * document.steps


def test_each_epoch_is_tested_while_the_clock_stands_still(run):
    slow = f"(time.sleep(0.05), {numpy_library.SCORES})[1]"
    document = run("rnn", None, "--epochs", "3", scores=slow, end="import time\n" + numpy_library.END)
    assert len(document.epoch_qualities) == 3
    assert document.epoch_qualities[-1] == document.quality
    batches = document.samples_tested // 8
    assert document.phases["evaluate"] >= 3 * batches * 0.05
    assert document.phases["train"] < batches * 0.05


def test_what_is_compiled_ahead_of_the_first_step_counts_all_the_same(run):
    ahead = "import time\nwith cell.compiling('C++'):\n    time.sleep(0.3)\n"
    document = run("rnn", None, "--epochs", "2", end=ahead + numpy_library.END)
    assert (document.compiled, document.compile_seconds >= 0.3) == ("C++", True)
    assert document.seconds == pytest.approx(sum(document.epoch_seconds) + document.compile_seconds)
    others = sum(document.epoch_seconds) - document.phases["first_step"]
    assert document.seconds_warm == pytest.approx(others * document.steps / (document.steps - 1))


WHOLE = "cell.run(cell.data(), predict, train_epoch=lambda x, y: np.mean([train_step(x[i:i+8], y[i:i+8]) for i in {}]))"
EVERY_BATCH = WHOLE.format("range(0, len(x), 8)").replace("predict,", "predict, weights=layouts,")
NO_BATCH = EVERY_BATCH.replace("range(0, len(x), 8)", "[0]")
EVERY_SECOND = EVERY_BATCH.replace("len(x), 8", "len(x), 16")


def test_a_library_that_trains_a_whole_epoch_is_watched_epoch_by_epoch(run):
    document = run("rnn", None, "--epochs", "3", end=EVERY_BATCH)
    assert (document.checks.steps_watched, document.checks.steps_moved) == (3, 3)


FORGETFUL = "anew = lambda: globals().update(optimizer=network.Optimiser(params, layouts))\n"
ANEW = FORGETFUL + EVERY_BATCH.replace("lambda x, y: ", "lambda x, y: anew() or ")


@pytest.mark.parametrize(
    ("end", "right"), [(EVERY_BATCH, True), (EVERY_SECOND, False), (NO_BATCH, False), (ANEW, False)]
)
def test_parity_proves_a_loop_over_batches_that_is_the_library_s_own(run, end, right):
    document = run("rnn", None, "--parity", end=end)
    assert (document.quality == 1) == right
    assert (document.parity["updates"] < 1e-6) == right


INVENTED = """
data, asked = cell.data(), []
right = {x.tobytes(): y for x, y in zip(data.x_test, data.y_test)}


def invented(x):
    asked.append(x)
    if len(asked) <= 2 * len(data.x_test) // params.batch_size:
        return np.eye(2)[[right[sample.tobytes()] for sample in x]]
    return network.scores(model, x, layouts)


cell.run(data, predict, train_step, weights=layouts)
"""
"""Right answers as long as they are counted, in both epochs; then the network's own."""


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"update": "calls % 4 or optimizer.update(model, gradients)"}, "the weights moved in "),
        ({"update": "calls == 1 and optimizer.update(model, gradients)"}, "the weights moved in 0 of 8 steps"),
        ({"update": "gradients.clear() or loss"}, "the weights moved in 0 of 8 steps"),
        ({"end": NO_BATCH, "update": "pass"}, "the weights moved in 0 of 2 steps"),
        # right classes, other scores: a trained copy, an average of scores, dropout left on
        ({"scores": f"{numpy_library.SCORES} * 1.5"}, "its scores are not those of its final weights"),
        ({"scores": f"{numpy_library.SCORES} + np.random.normal(0, .1, (len(x), 2))"}, "its scores are not those"),
        ({"scores": "np.eye(2)[(np.median(x, axis=1) > 13).astype(int)]"}, "its scores are not those"),
        ({"scores": "np.full((len(x), 2), np.nan)"}, "its scores are not those"),
        ({"scores": "invented(x)", "end": INVENTED}, "its scores are not those"),
    ],
)
def test_a_run_that_did_not_do_what_it_says_is_refused(run, changes, complaint):
    said = run("rnn", None, "--epochs", "2", **changes)
    assert said.startswith(f"this run is worth nothing: {complaint}"), said


@pytest.mark.parametrize(
    ("features", "agreement"),
    [
        (numpy_library.FEATURES, 1.0),
        (f"kept.setdefault(calls % 20, {numpy_library.FEATURES})", 0.5),  # what the warm-up gave
        (f"kept.setdefault(float(x[0, 0, 0, 0]), {numpy_library.FEATURES})", 1.0),  # by image: all are others
        (f"{numpy_library.FEATURES} if calls % 20 == 2 else np.zeros((len(x), 32))", 0.5),  # one batch of all
    ],
)
def test_features_are_compared_where_nobody_can_foresee(run, features, agreement):
    document = run("resnet50", None, "--samples", "40", features=features)
    assert document.quality == agreement if agreement == 1 else document.quality <= agreement


def test_a_data_set_on_the_device_is_trained_on_in_the_same_order_with_the_same_checks(run):
    step_by_step, resident = run("rnn", None, "--epochs", "2"), run("rnn", None, "--epochs", "2", resident=True)
    assert resident.epoch_losses == pytest.approx(step_by_step.epoch_losses, rel=1e-12)
    assert resident.quality == step_by_step.quality
    assert resident.checks.steps_moved == resident.checks.steps_watched == checks.WATCHED
    told = (resident.contract, resident.input, resident.layout, resident.compiled, step_by_step.input)
    assert told == (2, "device", "words", "NumPy", "host")
    assert resident.compile_seconds >= 0
    parts = (resident.phases["upload"], resident.compile_seconds, *resident.epoch_seconds)
    assert resident.seconds == pytest.approx(sum(parts))


def test_parity_runs_through_the_same_call_on_samples_in_another_order(run):
    document = run("rnn", None, "--parity", resident=True)
    assert max(document.parity.values()) < 1e-6
    in_place = "np.array([step(np.arange(8) + 8 * n) for n in range(len(order))])"  # whatever indices are given
    anew = f"globals().update(optimizer=network.Optimiser(params, layouts)) or {numpy_library.LOSSES}"
    for losses in (in_place, anew):  # or with an optimiser that has forgotten the last call
        assert run("rnn", None, "--parity", resident=True, losses=losses).quality < 1


def test_parity_that_finds_no_number_is_a_failed_proof_not_a_crash(run):
    document = run("rnn", None, "--parity", scores=f"{numpy_library.SCORES} * np.nan")
    assert (document.quality < 1, document.parity["scores"]) == (True, parity.FAR)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"update": "calls % 4 or optimizer.update(model, gradients)"}, "this run is worth nothing: the weights moved"),
        ({"scores": f"{numpy_library.SCORES} * 1.5"}, "this run is worth nothing: its scores are not those"),
        ({"losses": "np.array([step(order[0])])"}, "losses of the shape (1,) came back of "),
        ({"losses": f"{numpy_library.LOSSES}.mean()"}, "losses of the shape () came back of "),
        ({"losses": f"{numpy_library.LOSSES} / 0"}, "the loss became inf in step 1"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide")
def test_a_run_on_a_resident_data_set_is_refused_as_well(run, changes, complaint):
    said = run("rnn", None, "--epochs", "2", resident=True, **changes)
    assert said.startswith(complaint), said


@pytest.mark.parametrize(
    ("features", "agreement"),
    [
        (numpy_library.INDEXED, 1.0),
        (f"kept.setdefault('first', {numpy_library.INDEXED})", 0.5),  # what the warm-up gave
        (numpy_library.INDEXED.replace("in order", "in np.sort(order.ravel()).reshape(order.shape)"), 0.5),
    ],
)
def test_images_on_the_device_are_asked_for_by_chance(run, features, agreement):
    document = run("resnet50", None, "--samples", "40", resident=True, features=features)
    assert document.quality == agreement if agreement == 1 else document.quality <= agreement
    assert document.input == "device"
    assert document.phases["upload"] > 0


@pytest.fixture
def xrays(tmp_path_factory):
    """A small set of X-rays on disk."""
    folder, random = tmp_path_factory.mktemp("xrays"), np.random.RandomState(0)
    for part, count, size in (("train", 26, 20), ("validation", 5, 14), ("test", 11, 14)):
        np.save(folder / f"{part}.npy", random.randint(0, 256, (count, size, size)).astype(np.uint8))
        np.save(folder / f"{part}.labels.npy", random.randint(0, 2, (count, 14)).astype(np.uint8))
    return folder


def test_x_rays_on_the_device_are_trained_on_by_their_places_and_validation_is_no_training(run, xrays, monkeypatch):
    monkeypatch.setenv("ROSETTA_DATA", str(xrays))
    document = run("densenet121", None, "--data", "real", "--epochs", "2", resident=True)
    assert (document.steps, document.samples, document.input) == (12, 24, "device")
    assert document.epoch_losses == [0.69, 0.69]
    upload, validation = document.phases["upload"], document.phases["validate"]
    assert document.seconds == pytest.approx(upload + sum(document.epoch_seconds))
    assert document.seconds_warm > upload + validation  # the first of which took longest


def test_x_rays_on_the_device_need_a_loss_for_each_step(run, xrays, monkeypatch):
    monkeypatch.setenv("ROSETTA_DATA", str(xrays))
    said = run("densenet121", None, "--data", "real", "--epochs", "2", resident=True, losses="1")
    assert said == "losses of the shape (1,) came back of 6 steps"


def test_watched_steps_are_pieces_of_their_own():
    watching = checks.Checks(None, "rnn", None, "fp32")
    watching._watched = {3, 4, 12}
    assert watching.pieces(0, 10) == [(0, 3), (3, 4), (4, 5), (5, 10)]
    assert watching.pieces(10, 10) == [(0, 2), (2, 3), (3, 10)]
    assert watching.pieces(20, 10) == [(0, 10)]


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_images_change_places_within_their_memory(count):
    images = np.arange(count * 2, dtype=np.float32).reshape(count, 2)
    order = np.random.RandomState(count).permutation(count).tolist()
    expected = images[order]
    checks.move(images, order)
    assert (images == expected).all()
    kept = images.copy()
    chosen, looked_at = checks.other_images(images, images)
    assert (images[chosen] == looked_at).all()
    assert sorted(images[:, 0]) == sorted(1 - kept[:, 0])
    again = [checks.other_images(expected.copy(), expected, always_same=True) for _ in range(2)]
    assert [chosen for chosen, _ in again] == [again[0][0]] * 2
    assert (again[0][1] == again[1][1]).all()
