"""GPUs and cores belong to one cell at a time, in all processes of a host; pretended GPUs leave their mark."""

import os
import signal
import stat
import subprocess
import sys
import time

import pytest

from orchestrator.engines import pretended
from orchestrator.errors import LackingError
from orchestrator.system import file_locks, slots
from orchestrator.system.gpus import model_of
from orchestrator.system.host import Device, Host
from orchestrator.system.slots import Slots
from tests.unit.results.test_results import V100, document

HOST = Host((Device("Tesla V100-SXM2-16GB", "GPU-1"), Device("Tesla V100-SXM2-16GB", "GPU-2")), (470,))


@pytest.fixture(autouse=True)
def own_locks(monkeypatch, tmp_path):
    monkeypatch.setenv("ROSETTA_LOCKS", str(tmp_path / "locks"))


def test_a_gpu_belongs_to_one_cell_of_all_orchestrators():
    ours, others = Slots(HOST, ["v100"], 0), Slots(HOST, ["v100"], 0)
    first, second = ours.take("v100"), others.take("v100")
    assert {first.gpus[0].uuid, second.gpus[0].uuid} == {"GPU-1", "GPU-2"}
    assert ours.take("v100") is None
    others.give_back(second, "v100")
    assert ours.take("v100").gpus == second.gpus


def test_where_no_lock_can_be_made_the_error_names_the_variable(monkeypatch):
    monkeypatch.setenv("ROSETTA_LOCKS", "/proc/self")
    with pytest.raises(LackingError, match="GPUs and data sets can't be locked in /proc/self, which ROSETTA_LOCKS"):
        Slots(HOST, ["v100"], 0).take("v100")


def test_a_folder_with_other_things_in_it_is_not_opened_to_everybody(monkeypatch, tmp_path):
    for name, mode in (("empty", 0o1777), ("full", 0o755)):
        folder = tmp_path / name
        folder.mkdir(mode=0o755)
        if name == "full":
            (folder / "settings").touch()
        monkeypatch.setenv("ROSETTA_LOCKS", str(folder))
        assert stat.S_IMODE(file_locks.host_folder().stat().st_mode) == mode


def test_slices_as_drivers_before_470_call_them_have_locks_beside_all_others(tmp_path):
    slices = [Device("NVIDIA A100-SXM4-40GB MIG 1g.5gb", f"MIG-GPU-8c1c/{number}/0") for number in (1, 2)]
    ours, others = (Slots(Host(tuple(slices), (450,)), ["a100-1g-5gb"], 0) for _ in range(2))
    held = [ours.take("a100-1g-5gb"), others.take("a100-1g-5gb")]
    assert {lease.gpus for lease in held} == {(each,) for each in slices}
    assert ours.take("a100-1g-5gb") is None
    assert {path.name for path in (tmp_path / "locks").iterdir()} == {"MIG-GPU-8c1c-1-0.lock", "MIG-GPU-8c1c-2-0.lock"}


def test_a_process_that_is_killed_gives_its_gpu_back(tmp_path):
    code = f"""
import sys, time
from pathlib import Path
from orchestrator.system import file_locks
lock = file_locks.take(Path({str(tmp_path / "a.lock")!r}))
print("held", flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        assert file_locks.take(tmp_path / "a.lock") is None
        assert file_locks.is_held(tmp_path / "a.lock")
        holder.send_signal(signal.SIGKILL)
    until = time.monotonic() + 10
    while file_locks.is_held(tmp_path / "a.lock") and time.monotonic() < until:
        time.sleep(0.01)
    assert file_locks.take(tmp_path / "a.lock") is not None


def test_who_is_alone_has_all_cores_and_others_share_them():
    assert slots.shares([0, 1, 2, 3], 1) == [()]
    assert slots.shares([0, 1, 2, 3], 2) == [(0, 1), (2, 3)]
    assert slots.shares([0, 1], 3) == [(0,), (1,), (0,)]
    pair = Slots(Host(), [], 2)
    first, second = pair.take("none"), pair.take("none")
    assert pair.take("none") is None
    assert first.memory + second.memory <= slots.MEMORY
    if len(os.sched_getaffinity(0)) > 1:
        assert not set(first.cores) & set(second.cores)


def test_what_ran_on_a_pretended_gpu_is_marked():
    lease = Slots(Host((Device("Tesla V100", "GPU-pretended-0"),), (470,)), ["v100"], 0).take("v100")
    for said in (document(**{**V100, "environment": document().environment}), document(**V100)):
        marked = pretended.pretend(said, lease)
        (gpu,) = marked.environment.gpus
        assert (model_of(gpu.name), gpu.driver, gpu.name) == ("v100", "pretended", "pretended Tesla V100")
        assert marked.shortened
        assert marked.environment.cpu.startswith("pretended GPU")


def test_several_gpus_of_a_cell_are_of_one_board():
    names = ["NVIDIA H100 PCIe", "NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3"]
    host = Host(tuple(Device(name, f"GPU-{number}") for number, name in enumerate(names)), (580,))
    ours, others = Slots(host, ["h100"], 0), Slots(host, ["h100"], 0)
    one = others.take("h100")
    assert [gpu.uuid for gpu in one.gpus] == ["GPU-0"]
    both = ours.take("h100", 2)
    assert [gpu.uuid for gpu in both.gpus] == ["GPU-1", "GPU-2"]
    others.give_back(one, "h100")
    assert Slots(host, ["h100"], 0).take("h100", 2) is None
    assert others.take("h100").gpus == one.gpus


def test_a_cell_has_all_its_gpus_or_none():
    ours, others = Slots(HOST, ["v100"], 0), Slots(HOST, ["v100"], 0)
    one = others.take("v100")
    assert ours.take("v100", 2) is None
    others.give_back(one, "v100")
    both = ours.take("v100", 2)
    assert {gpu.uuid for gpu in both.gpus} == {"GPU-1", "GPU-2"}
    assert others.take("v100") is None
    ours.give_back(both, "v100")
    assert len(ours.take("v100", 2).gpus) == 2
