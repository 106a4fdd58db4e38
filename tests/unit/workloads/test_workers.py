"""What the workers of one model tell each other through their folder."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from harness import workers


@pytest.fixture
def team(monkeypatch, tmp_path):
    """Three workers that meet in a folder, in this process in place of one each."""
    monkeypatch.setenv(workers.MEETING, str(tmp_path))
    monkeypatch.setattr(workers.Workers, "_start", lambda *_: None)
    monkeypatch.setattr(workers.tempfile, "mkdtemp", lambda **_: str(tmp_path))
    made = []
    for number in range(3):
        monkeypatch.setenv(workers.RANK, str(number))
        made.append(workers.Workers(3, True, []))
    return made


def together(team, action):
    """What each worker gets when all of them do it at once."""
    with ThreadPoolExecutor(len(team)) as pool:
        return list(pool.map(action, team))


def test_all_have_the_mean_to_the_bit_round_after_round(team, tmp_path):
    arrays = [np.random.RandomState(number).uniform(size=(5, 2)).astype(np.float32) for number in range(3)]
    for _ in range(3):
        told = together(team, lambda worker: worker.mean([arrays[worker.rank], np.float32(worker.rank)]))
        for mean, number in told:
            assert mean.dtype == np.float32
            np.testing.assert_array_equal(mean, told[0][0])
            np.testing.assert_allclose(mean, sum(arrays) / 3, rtol=1e-6)
            assert number == 1
    assert not list(tmp_path.iterdir())


def test_what_the_first_has_is_shared(team):
    told = together(team, lambda worker: worker.share([np.array([worker.rank, 7])]))
    assert [arrays[0].tolist() for arrays in told] == [[0, 7]] * 3


def test_one_alone_is_its_own_mean(monkeypatch):
    monkeypatch.delenv(workers.RANK, raising=False)
    assert workers.Workers(1, True, []).mean([np.float32(4)]) == [4]
