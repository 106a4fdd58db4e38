"""What the harness reads of NVIDIA's driver, from the pretended one: cards of all ages, slices, strangers, limits."""

import json
import os
import subprocess
import sys

import pytest

from orchestrator.system.checkout import ROOT
from orchestrator.system.host import PRETENDED
from tests.pretended_driver import hook
from tests.pretended_driver.machines import CARDS, GIB, MACHINES, STRANGERS, build_library, gpu, machine

BARE = [
    *(sys.executable, "-I", "-S", "-c"),
    f"import sys, runpy; sys.path.insert(0, {str(ROOT / 'workloads')!r})\n"
    "runpy.run_module('harness.visible_gpus', run_name='__main__')",
]
"""The probe in a Python without any package, isolated from the caller's settings."""


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A folder with the library of a driver of this version."""
    made = {}

    def folder_of(driver):
        if driver not in made:
            made[driver] = tmp_path_factory.mktemp("driver")
            build_library(driver, made[driver])
        return made[driver]

    return folder_of


@pytest.fixture
def seen(library, tmp_path):
    """What ``python -m harness.visible_gpus`` prints on a machine, in a Python without packages.

    The device with this ``uuid`` has a ``fault`` of nvml.c.
    """

    def seen(told, wanted="all", uuid="", fault=""):
        text = hook.described(json.loads(json.dumps(told)), wanted)
        (tmp_path / "machine").write_text(text.replace(f"uuid {uuid}\n", f"uuid {uuid}\n{fault}\n"))
        variables = {
            **os.environ,
            "LD_LIBRARY_PATH": str(library(told["driver"])),
            "PRETENDED_MACHINE": str(tmp_path / "machine"),
            "PRETENDED_USE": str(tmp_path / "use"),
        }
        done = subprocess.run(BARE, env=variables, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return json.loads(done.stdout)

    return seen


@pytest.mark.parametrize("name", MACHINES)
def test_every_machine_is_read_as_it_is(seen, name):
    told, found = MACHINES[name], seen(MACHINES[name])
    assert found["driver"] == told["driver"]
    whole = [each for each in found["gpus"] if each["mig"] != "slice"]
    assert [each["name"] for each in whole] == [each["name"] for each in told["gpus"]]
    for each, card in zip(whole, told["gpus"], strict=True):
        assert each["uuid"] == card["uuid"]
        assert each["uuid"].startswith(PRETENDED)
        assert each["memory"] == card["memory"]
        assert each["power_limit"] == card["power_limit"] / 1000
        assert (each["graphics_clock"], each["memory_clock"]) == (card["graphics_clock"], card["memory_clock"])
        assert each["temperature"] == card["temperature"]


def test_the_table_has_every_card_in_a_machine():
    names = {card["name"] for told in MACHINES.values() for card in told["gpus"]}
    assert names == {card[0] for card in CARDS.values()}
    uuids = [each["uuid"] for told in MACHINES.values() for card in told["gpus"] for each in card.get("slices", ())]
    assert uuids
    assert all(uuid.startswith("MIG-pretended-") for uuid in uuids)


@pytest.mark.parametrize("name", ["k80", "gtx-1080-ti"])
def test_what_an_old_driver_has_no_function_for_is_null(seen, name):
    found = seen(MACHINES[name])
    assert found["cuda"] is None
    for each in found["gpus"]:
        assert (each["capability"], each["energy"], each["mig"]) == (None, None, "off")
        assert each["processes"] == []
        assert each["throttled"] == []


def test_a_newer_driver_tells_capability_cuda_and_energy(seen):
    found = seen(MACHINES["h100"])
    assert found["cuda"] == [13, 0]
    assert found["gpus"][0]["capability"] == [9, 0]
    assert found["gpus"][0]["energy"] > 10**6


def test_a_card_before_volta_counts_no_energy_whatever_its_driver(seen):
    assert seen(MACHINES["p100"])["gpus"][0]["energy"] is None


@pytest.mark.parametrize("driver", ["384.81", "450.80.02", "470.57.02", "580.65.06"])
def test_processes_are_told_by_drivers_of_every_structure(seen, driver):
    found = seen(machine(driver, "9.0", gpu("v100", processes=STRANGERS)))
    assert found["gpus"][0]["processes"] == STRANGERS
    assert found["gpus"][0]["memory_used"] == sum(process["memory"] for process in STRANGERS)


def test_more_processes_than_there_was_room_for_at_first(seen):
    crowd = [{"pid": 1000 + number, "memory": 2**20} for number in range(64)]
    assert seen(machine("535.54.03", "12.2", gpu("a10g", processes=crowd)))["gpus"][0]["processes"] == crowd


def test_slices_are_devices_of_their_own_behind_their_gpu(seen):
    whole, *slices = seen(MACHINES["a100-slices"])["gpus"]
    assert (whole["mig"], whole["parent"]) == ("divided", None)
    profiles = [each["name"].removeprefix("NVIDIA A100-SXM4-40GB MIG ") for each in slices]
    assert profiles == ["3g.20gb", "2g.10gb", "1g.5gb"]
    assert [each["memory"] for each in slices] == [20 * GIB, 10 * GIB, 5 * GIB]
    for each in slices:
        assert (each["mig"], each["parent"], each["capability"]) == ("slice", whole["uuid"], [8, 0])
        assert (each["graphics_clock"], each["temperature"]) == (whole["graphics_clock"], whole["temperature"])
        assert each["energy"] is None  # its neighbours' is in it


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("fault 15", "nvmlDeviceGetHandleByIndex_v2: GPU is lost"),
        ("fault 4", "nvmlDeviceGetHandleByIndex_v2: Insufficient Permissions"),
        ("nameless 15", "nvmlDeviceGetName: GPU is lost"),
    ],
)
def test_a_gpu_that_is_lost_hides_none_of_the_others(seen, fault, reason):
    told = machine("535.104.05", "12.2", *(gpu("a100", number) for number in range(3)))
    found = seen(told, uuid="GPU-pretended-a100-1", fault=fault)
    assert [(each["uuid"], each["index"]) for each in found["gpus"]] == [
        ("GPU-pretended-a100-0", 0),
        ("GPU-pretended-a100-2", 2),
    ]
    assert found["unreadable"] == [{"index": 1, "reason": reason}]


def test_a_slice_that_is_lost_is_told_with_the_number_of_its_gpu(seen):  # slices have every second number here
    found = seen(MACHINES["a100-slices"], uuid="MIG-pretended-a100-40gb-0-1", fault="nameless 15")
    assert [each["mig"] for each in found["gpus"]] == ["divided", "slice", "slice"]
    assert found["unreadable"] == [{"index": 0, "reason": "slice 2: nvmlDeviceGetName: GPU is lost"}]


def test_what_throttles_a_card_is_named_and_idleness_is_not(seen):
    (card,) = seen(MACHINES["throttled"])["gpus"]
    assert card["throttled"] == ["power cap", "thermal, by the hardware"]


def test_memory_that_is_not_told_is_null(seen):
    (card,) = seen(machine("580.65.06", "13.0", gpu("gh200", memory=None)))["gpus"]
    assert (card["memory"], card["memory_used"]) == (None, None)


@pytest.mark.parametrize(
    ("name", "wanted", "visible"),
    [
        ("v100", "all", [0, 1, 2, 3]),
        ("v100", "2", [2]),
        ("v100", "0,3", [0, 3]),
        ("v100", "GPU-pretended-v100-1", [1]),
        ("v100", "none", []),
    ],
)
def test_a_container_sees_the_gpus_it_was_given(seen, name, wanted, visible):
    found = [each["uuid"] for each in seen(MACHINES[name], wanted)["gpus"]]
    assert found == [f"GPU-pretended-v100-{number}" for number in visible]


@pytest.mark.parametrize("wanted", ["MIG-pretended-a100-40gb-0-1", "0:1"])
def test_a_container_sees_the_slice_it_was_given_and_its_gpu(seen, wanted):
    found = seen(MACHINES["a100-slices"], wanted)["gpus"]
    assert [each["uuid"] for each in found] == ["GPU-pretended-a100-40gb-0", "MIG-pretended-a100-40gb-0-1"]


@pytest.mark.parametrize("wanted", ["", "void", "GPU-pretended-of-another-machine"])
def test_a_container_that_asks_for_none_of_these_gets_no_driver(wanted):
    assert hook.described(MACHINES["v100"], wanted) is None


def test_without_a_driver_the_reason_is_said(tmp_path):
    command = [sys.executable, "-m", "harness.visible_gpus"]
    variables = {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT / "workloads", env=variables, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    if found["driver"] is None:  # a developer's machine may have one
        reason = "no driver: libnvidia-ml.so.1 not found"
        processor = os.uname().machine
        assert found == {"driver": None, "cuda": None, "gpus": [], "reason": reason, "architecture": processor}


def test_a_driver_that_does_not_answer_says_why(library, tmp_path):
    command = [sys.executable, "-m", "harness.visible_gpus"]
    folder = library("535.104.05")
    variables = {**os.environ, "LD_LIBRARY_PATH": str(folder), "PRETENDED_MACHINE": str(tmp_path / "none")}
    done = subprocess.run(command, cwd=ROOT / "workloads", env=variables, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["reason"] == "nvmlInit_v2: Driver Not Loaded"


def test_the_package_needs_numpy_only_for_cells():
    code = "import harness.visible_gpus, sys; assert 'numpy' not in sys.modules; from harness import Cell, Weights"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT / "workloads", check=True)
