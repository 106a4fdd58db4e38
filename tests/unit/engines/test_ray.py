"""What a node gives a cell, and what is said of a cluster that is not as it must be; a real one is in containers."""

import os
import sys

import pytest

from orchestrator.cell.cell import Cell
from orchestrator.engines.choice import choose_engine
from orchestrator.engines.cluster import cause, labelled
from orchestrator.engines.node import Order, Source, place
from orchestrator.engines.protocol import Task
from orchestrator.engines.ray import names_registry
from orchestrator.errors import EngineError, GpuError, MissingPartError
from orchestrator.system.host import Device, Host, described
from orchestrator.system.slots import MEMORY

V100, K80 = "Tesla V100-SXM2-16GB", "Tesla K80"
HOST = Host((Device(K80, "GPU-0"), Device(V100, "GPU-1"), Device(V100, "GPU-2")), (470,))


@pytest.fixture(autouse=True)
def own_locks(monkeypatch, tmp_path):
    monkeypatch.setenv("ROSETTA_LOCKS", str(tmp_path / "locks"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


def order(gpu: str, jobs: int = 0, job: int = 0) -> Order:
    cell = Cell("pytorch", "rnn", "cpu" if gpu == "none" else "cuda9", gpu)
    return Order(Task(cell, None, "key", "run"), Source("sha256:1", (), "home"), ("v100",), jobs, job)


@pytest.mark.parametrize("name", ["2", "GPU-2"])
def test_a_cell_has_the_gpu_that_ray_gave_it_and_a_share_of_the_rest(name):
    with place(order("v100"), [name], HOST) as lease:
        assert [gpu.uuid for gpu in lease.gpus] == ["GPU-2"]
        assert lease.cores == (4, 5, 6, 7)
        assert lease.memory == MEMORY // 2


def test_cells_without_gpu_share_a_node_with_those_that_have_one():
    with (
        place(order("none", jobs=2, job=0), [], HOST) as first,
        place(order("none", jobs=2, job=1), [], HOST) as second,
    ):
        assert (first.cores, second.cores) == ((4, 5), (6, 7))
        assert first.gpus == ()


def test_a_number_is_the_drivers_own_also_where_a_gpu_is_lost():
    lost = Host((Device(V100, "GPU-0", index=0), Device(V100, "GPU-2", index=2)), (470,))
    with place(order("v100"), ["2"], lost) as lease:
        assert [gpu.uuid for gpu in lease.gpus] == ["GPU-2"]


def test_a_node_has_the_gpus_that_its_label_names_and_says_if_it_names_none():
    assert [each.uuid for each in labelled(HOST, "V100").devices] == ["GPU-1", "GPU-2"]
    for label, said in (("", "(none)"), ("A100", "A100")):
        (line,) = described(labelled(HOST, label))
        assert line == f"no GPU: its node of Ray has the label {said}, but its GPUs are k80, v100"
    without = Host(lacks="no driver")
    assert labelled(without, "") == without


def test_a_label_may_tell_cards_of_one_name_apart():
    host = Host(tuple(Device("NVIDIA", f"GPU-{one}", capability=(one, 0)) for one in (7, 9)), (580,))
    assert [each.uuid for each in labelled(host, "UNNAMED-SM90").devices] == ["GPU-9"]


def test_gpus_of_unlike_boards_are_refused():
    unlike = Host((Device(V100, "GPU-0"), Device("Tesla V100-PCIE-32GB", "GPU-1")), (470,))
    with pytest.raises(GpuError, match="different boards"), place(order("v100"), ["0", "1"], unlike):
        pass


@pytest.mark.parametrize("name", ["0", "7", "GPU-7"])
def test_a_gpu_that_is_none_of_the_model_is_refused(name):
    with pytest.raises(GpuError, match="which is no "), place(order("v100"), [name], HOST):
        pass


@pytest.mark.parametrize(
    ("digest", "is_pulled"),
    [
        ("rosetta/pytorch@sha256:1", False),
        ("pytorch@sha256:1", False),
        ("ghcr.io/me/pytorch@sha256:1", True),
        ("localhost:5000/pytorch@sha256:1", True),
    ],
)
def test_an_image_is_pulled_only_from_where_it_was_pushed(digest, is_pulled):
    assert names_registry(digest) == is_pulled


def test_of_an_error_remains_what_a_person_needs():
    assert cause(RuntimeError("The node\nis dead. This can happen if …")) == "The node is dead"
    assert cause(RuntimeError()) == "RuntimeError"


def test_without_ray_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "orchestrator.engines.ray", raising=False)
    with pytest.raises(MissingPartError, match="'ray'") as caught:
        choose_engine("ray")
    assert "rosetta-matrix[ray]" in caught.value.remedy


@pytest.mark.parametrize("address", ["ray://here:10001", "here", "127.0.0.1:1"])
def test_an_address_where_no_cluster_is(address):
    with pytest.raises(EngineError) as caught:
        choose_engine("ray", address=address)
    assert "ray start" in caught.value.remedy
