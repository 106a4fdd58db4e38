"""Area under the ROC curve, by its rank statistic."""

import numpy as np


def auc(scores, positive):
    """The chance that a positive has a higher score than a negative, where a tie counts half; None without either.

    ``scores`` are numbers and ``positive`` truths, both (N,). That is the statistic of Mann and Whitney over the
    positives' ranks.
    """
    positive = np.asarray(positive, bool)
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return None
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)  # the rank of the last of each group of equal scores; the group has its middle one
    ranks = (last - (counts - 1) / 2.0)[places.reshape(-1)]
    return float((ranks[positive].sum() - positives * (positives + 1) / 2.0) / (positives * float(negatives)))


def by_finding(scores, labels, findings):
    """The AUC of each finding by its name, None where it is absent (or nothing else is), and the mean of the others.

    ``scores`` and ``labels`` are (N, findings). Raises SystemExit if no finding has one, or a score is no number.
    """
    if not np.isfinite(scores).all():
        raise SystemExit("some scores of the test set are no numbers: the run is worth nothing")
    found = {name: auc(scores[:, place], labels[:, place] > 0) for place, name in enumerate(findings)}
    there = [value for value in found.values() if value is not None]
    if not there:
        raise SystemExit("no finding is both present and absent in the test set: there is no AUC")
    return found, float(np.mean(there))
