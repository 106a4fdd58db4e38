"""The AUC by its rank statistic is scikit-learn's, with ties and absent findings."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from harness import auc

RANDOM = np.random.RandomState(0)


@pytest.mark.parametrize("distinct", [2, 7, 10**9])
@pytest.mark.parametrize("count", [5, 100, 17_198])
def test_it_is_scikit_learns(count, distinct):
    scores = RANDOM.randint(0, distinct, count) / 7
    labels = np.arange(count) % 5 == 0
    RANDOM.shuffle(labels)
    assert auc.auc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)


def test_by_hand():
    assert auc.auc([1, 2, 3, 4], [0, 0, 1, 1]) == 1
    assert auc.auc([4, 3, 2, 1], [0, 0, 1, 1]) == 0
    assert auc.auc([1, 1, 1, 1], [0, 1, 1, 1]) == 0.5
    assert auc.auc([1, 2], [1, 1]) is None
    assert auc.auc([1, 2], [0, 0]) is None


def test_an_absent_finding_has_none_and_is_no_part_of_the_mean():
    labels = np.array([[1, 0, 1], [0, 0, 1], [1, 0, 0]])
    scores = np.array([[3.0, 0, 0], [1, 0, 1], [2, 0, 2]])
    assert auc.by_finding(scores, labels, ["a", "b", "c"]) == ({"a": 1, "b": None, "c": 0}, 0.5)


def test_scores_that_are_no_numbers_and_sets_without_findings_end_the_run():
    with pytest.raises(SystemExit, match="no numbers"):
        auc.by_finding(np.array([[np.nan]]), np.array([[1]]), ["a"])
    with pytest.raises(SystemExit, match="no finding"):
        auc.by_finding(np.array([[1.0]]), np.array([[1]]), ["a"])
