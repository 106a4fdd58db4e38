"""Runs that say what they did not do are refused: whole runs of the harness with a library in NumPy."""

import os
import subprocess
import sys

import numpy as np
import pytest

from harness import checks
from orchestrator.cell import contract
from tests.unit.workloads import numpy_library


@pytest.fixture
def run(tmp_path):
    """Run the NumPy library; returns the document, or the last line of what it said."""

    def run(workload, more=None, *words, **changes):
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


WHOLE = "cell.run(cell.data(), predict, train_epoch=lambda x, y: np.mean([train_step(x[i:i+8], y[i:i+8]) for i in {}]))"
EVERY_BATCH = WHOLE.format("range(0, len(x), 8)").replace("predict,", "predict, weights=layouts,")
NO_BATCH = EVERY_BATCH.replace("range(0, len(x), 8)", "[0]")


def test_a_library_that_trains_a_whole_epoch_is_watched_epoch_by_epoch(run):
    document = run("rnn", None, "--epochs", "3", end=EVERY_BATCH)
    assert (document.checks.steps_watched, document.checks.steps_moved) == (3, 3)


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
    ],
)
def test_a_run_that_did_not_do_what_it_says_is_refused(run, changes, complaint):
    said = run("rnn", None, "--epochs", "2", **changes)
    assert said.startswith(f"this run is worth nothing: {complaint}"), said


def test_dropout_has_to_be_on_in_training(run, tmp_path):
    said = run("rnn", {"dropout": [0.5]}, "--epochs", "2")
    assert said == "this run is worth nothing: it trained without dropout"


def test_dropout_that_is_on_is_seen(run):
    document = run("rnn", {"dropout": [0.5]}, "--epochs", "2", update=f"{numpy_library.UPDATE}; loss *= random.rand()")
    assert document.checks.dropout is True


@pytest.mark.parametrize(
    ("features", "agreement"),
    [
        (numpy_library.FEATURES, 1.0),
        (f"kept.setdefault(calls % 20, {numpy_library.FEATURES})", 0.5),  # what the warm-up gave
        (f"{numpy_library.FEATURES} if calls % 20 == 2 else np.zeros((len(x), 32))", 0.5),  # one batch of all
    ],
)
def test_features_are_compared_where_nobody_can_foresee(run, features, agreement):
    document = run("resnet50", None, "--samples", "40", features=features)
    assert document.quality == agreement if agreement == 1 else document.quality <= agreement


@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_images_change_places_within_their_memory(count):
    images = np.arange(count * 2).reshape(count, 2)
    order = np.random.RandomState(count).permutation(count).tolist()
    expected = images[order]
    checks.move(images, order)
    assert (images == expected).all()
    kept = images.copy()
    chosen, looked_at = checks.other_order(images, images)
    assert (images[chosen] == looked_at).all()
    assert sorted(images[:, 0]) == sorted(kept[:, 0])
    again = [checks.other_order(expected.copy(), expected, always_same=True) for _ in range(2)]
    assert [chosen for chosen, _ in again] == [again[0][0]] * 2
    assert (again[0][1] == again[1][1]).all()
