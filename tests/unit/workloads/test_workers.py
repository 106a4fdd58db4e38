"""What the workers of one model tell each other through their pipes."""

import os
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import Pipe

import numpy as np
import pytest

from harness import workers


@pytest.fixture
def team(monkeypatch, tmp_path):
    """Three workers with pipes to the first, in this process in place of one each."""
    ends = []

    def start(first, number, argv):
        mine, its = Pipe()
        first._pipes.append(mine)
        ends.append(its)

    monkeypatch.setattr(workers.Workers, "_start", start)
    monkeypatch.setattr(workers.tempfile, "mkdtemp", lambda **_: str(tmp_path))
    made = []
    for number in range(3):
        monkeypatch.setenv(workers.RANK, str(number))
        if number:
            monkeypatch.setenv(workers.PIPE, str(os.dup(ends[number - 1].fileno())))
            ends[number - 1].close()
        made.append(workers.Workers(3, True, []))
    yield made
    for worker in made:
        for pipe in worker._pipes:
            pipe.close()


def together(team, action):
    """What each worker gets when all of them do it at once."""
    with ThreadPoolExecutor(len(team)) as pool:
        return list(pool.map(action, team))


def test_all_have_the_mean_to_the_bit_round_after_round(team, tmp_path):
    arrays = [np.random.RandomState(number).uniform(size=(5, 2)).astype(np.float32) for number in range(3)]
    for _ in range(3):
        told = [[array.copy(), np.full(2, number, np.float32)] for number, array in enumerate(arrays)]
        together(team, lambda worker, told=told: worker.average(told[worker.rank]))
        for mean, number in told:
            assert mean.dtype == np.float32
            np.testing.assert_array_equal(mean, told[0][0])
            np.testing.assert_allclose(mean, sum(arrays) / 3, rtol=1e-6)
            assert (number == 1).all()
    assert not list(tmp_path.iterdir())  # nothing goes by way of the disk


def test_more_than_a_pipe_holds_goes_through(team):
    told = [np.full(2**20, number, np.float32) for number in range(3)]
    together(team, lambda worker: worker.average([told[worker.rank]]))
    assert all((array == 1).all() for array in told)


def test_what_all_have_is_with_the_first_in_their_order(team):
    told = together(team, lambda worker: worker.gather([np.array(worker.rank)]))
    assert [int(arrays[0]) for arrays in told[0]] == [0, 1, 2]
    assert told[1:] == [None, None]


def test_what_the_first_has_is_shared(team):
    told = together(team, lambda worker: worker.share([np.array([worker.rank, 7])]))
    assert [arrays[0].tolist() for arrays in told] == [[0, 7]] * 3
    assert together(team, lambda worker: worker.share((1, -2) if worker.rank == 0 else None)) == [(1, -2)] * 3


def test_nobody_waits_for_one_that_is_gone(team, monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 0)
    team[2]._pipes[0].close()
    with pytest.raises((EOFError, ConnectionResetError)):
        together(team[:2], lambda worker: worker.gather([]))


def test_one_alone_is_its_own_mean(monkeypatch):
    monkeypatch.delenv(workers.RANK, raising=False)
    alone = np.full(2, 4, np.float32)
    workers.Workers(1, True, []).average([alone])
    assert alone.tolist() == [4, 4]
