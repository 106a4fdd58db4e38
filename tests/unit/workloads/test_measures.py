"""Losses as the scripts give them back: one for each step, or the last one alone."""

from types import SimpleNamespace

import numpy as np

from harness import measures


def test_each_steps_loss_counts():
    assert measures.epoch_loss([1, np.float32(2), SimpleNamespace(asscalar=lambda: 6)]) == 3


def test_where_steps_tell_nothing_the_last_ones_is_read_once():
    read = []
    assert measures.epoch_loss([None] * 390, lambda: read.append(1) or 0.25) == 0.25
    assert len(read) == 1
