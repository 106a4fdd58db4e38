"""What a run refuses before it starts, and how GPUs are handed out."""

import os
import threading

import pytest

from orchestrator import run
from orchestrator.compatibility import Host
from orchestrator.errors import DiskError, GpuError, SelectionError
from orchestrator.matrix import Cell
from orchestrator.plan import Planned, Verdict


def hopeless(cell: Cell, reason: str) -> list[Planned]:
    return [Planned(cell, Verdict.INCOMPATIBLE, reason)]


def test_a_missing_gpu_is_told_from_cells_that_run_nowhere():
    cell = Cell("pytorch", "rnn", "cuda13", "h200")
    with pytest.raises(GpuError, match="no NVIDIA driver"):
        run.refuse_hopeless(hopeless(cell, "no NVIDIA driver on this machine"), Host())
    with pytest.raises(SelectionError, match="not implemented yet"):
        run.refuse_hopeless(hopeless(cell, "not implemented yet: no image"), Host())


def test_one_cell_that_can_run_is_enough():
    done = Planned(Cell("pytorch", "rnn"), Verdict.DONE)
    run.refuse_hopeless([*hopeless(Cell("knet", "rnn"), "no"), done], Host())


def test_a_full_disk_is_noticed_before_the_first_cell(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "LEAST_FREE", 2**60)
    with pytest.raises(DiskError, match="MB free"):
        run.prepare_folder(tmp_path)


def test_a_gpu_belongs_to_one_cell_at_a_time():
    slots = run.Slots(Host({"v100": ("GPU-1", "GPU-2")}, (470,)), 1)
    held: list[str] = []
    clashes: list[str] = []
    guard = threading.Lock()

    def cell() -> None:
        with slots.gpus("v100") as (gpu,):
            with guard:
                clashes.extend([gpu] if gpu in held else [])
                held.append(gpu)
            with guard:
                held.remove(gpu)

    threads = [threading.Thread(target=cell) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clashes == []
    with slots.gpus("none") as none:
        assert none == ()


def test_cells_side_by_side_have_cores_of_their_own():
    alone, pair = run.Slots(Host(), 1), run.Slots(Host(), 2)
    with alone.cores() as all_of_them, pair.cores() as first, pair.cores() as second:
        assert all_of_them == ()
        assert first
        assert second
        if len(os.sched_getaffinity(0)) > 1:
            assert not set(first) & set(second)
