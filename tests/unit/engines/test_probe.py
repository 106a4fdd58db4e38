"""What a probe tells of a machine's GPUs is not trusted: it is a typed answer, or a reason why there are none."""

import json
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.engines import probe
from orchestrator.system.host import Host, described

GPU = {
    "name": "NVIDIA A10G", "uuid": "GPU-8c1c4a9e", "capability": [8, 6], "memory": 24 * 2**30, "power_limit": 300.0,
    "mig": "off", "parent": None, "memory_used": 2**20, "processes": [{"pid": 1, "memory": None}], "energy": 1.0,
    "graphics_clock": 1320, "memory_clock": 6251, "temperature": 40, "throttled": [],
}  # fmt: skip
IDLE = {**GPU, "processes": []}
ANSWER = {"driver": "535.104.05", "cuda": [12, 2], "gpus": [GPU]}

KEYS = st.sampled_from([*GPU, *ANSWER, "reason"])


def said(**changes) -> Host:
    return probe.host_in(json.dumps({**ANSWER, **changes}).encode())


def test_an_answer_becomes_a_machine():
    host = said()
    (device,) = host.devices
    assert (host.driver, host.models, host.lacks) == ((535, 104, 5), ("a10g",), "")
    assert (device.capability, device.memory, device.others, device.mig) == ((8, 6), 24 * 2**30, 1, False)


def test_a_divided_card_is_its_slices():
    part = {**GPU, "name": "NVIDIA A100-SXM4-40GB MIG 3g.20gb", "uuid": "MIG-1", "mig": "slice", "parent": "GPU-1"}
    host = said(gpus=[{**GPU, "mig": "divided"}, part])
    assert host.models == ("a100-3g-20gb",)


def test_without_a_driver_there_is_a_reason():
    host = said(driver=None, cuda=None, gpus=[], reason="no driver: libnvidia-ml.so.1 not found")
    assert (host.devices, host.driver, host.lacks) == ((), (), "no driver: libnvidia-ml.so.1 not found")


@pytest.mark.parametrize(
    "changes",
    [
        {"driver": "580; rm -rf /"},
        {"driver": "9" * 400},
        {"driver": "٥٨٠"},
        {"gpus": {}},
        {"gpus": [GPU] * 2000},
        {"more": 1},
        {"unreadable": [{"index": 1}]},
        {"cuda": {"\x1b]0;title\x07": []}},
    ],
    ids=str,
)
def test_what_no_driver_says_is_no_machine(changes):
    host = said(**changes)
    assert host.devices == ()
    assert host.lacks.startswith("the driver could not be asked: ")
    assert len(host.lacks) <= 300
    assert host.lacks.isprintable()


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ({"uuid": "all"}, "uuid: "),
        ({"uuid": "GPU-2\n--privileged"}, "uuid: "),
        ({"name": ""}, "name: "),
        ({"memory": -1}, "memory: "),
        ({"memory": 10**30}, "memory: "),
        ({"capability": [8]}, "capability: "),
        ({"power_limit": float("inf")}, "power_limit: "),
        ({"uuid": GPU["uuid"]}, f"it has the UUID of another GPU, {GPU['uuid']}"),
    ],
    ids=str,
)
def test_a_gpu_that_tells_nonsense_hides_none_of_the_others(odd, reason):
    host = said(gpus=[IDLE, {**IDLE, "uuid": "GPU-2", **odd}, {**IDLE, "uuid": "GPU-3"}])
    assert [device.uuid for device in host.devices] == [GPU["uuid"], "GPU-3"]
    (lost,) = host.unreadable
    assert (lost.index, lost.reason.startswith(reason)) == (1, True)
    cards, told = described(host)
    assert cards == "2 × NVIDIA A10G (a10g), driver 535.104.05"
    assert told == f"GPU 1 can't be read: {lost.reason}"
    assert told.isprintable()


def test_a_card_behind_slices_keeps_the_drivers_number():
    slices = [{**IDLE, "uuid": f"MIG-{number}", "mig": "slice", "parent": "GPU-0", "index": 0} for number in range(7)]
    (lost,) = said(gpus=[*slices, {**IDLE, "uuid": "all", "index": 1}]).unreadable
    assert lost.index == 1


@pytest.mark.parametrize(
    "odd",
    [{"processes": [{}] * 10_001}, {"temperature": -5}, {"graphics_clock": None}, {"throttled": 1}, {"\x1b[2J": 1}],
    ids=str,
)
def test_what_no_plan_needs_hides_no_gpu(odd):
    host = said(gpus=[{**GPU, **odd}])
    assert (host.models, host.unreadable) == (("a10g",), ())


def test_what_the_driver_could_not_read_is_told_once_for_each_reason():
    lost = [{"index": number, "reason": "GPU is \x1b[2Jlost\n"} for number in (3, 5)]
    host = said(gpus=[IDLE], unreadable=lost)
    assert described(host)[1:] == ["GPUs 3, 5 can't be read: GPU is [2Jlost"]
    none = said(gpus=[], unreadable=lost)
    assert described(none)[0] == "no GPU: driver 535.104.05 is there, but none of the 2 can be read"
    assert described(said(gpus=[])) == ["no GPU: driver 535.104.05 is there, but it shows none"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=10) | KEYS, inside, max_size=6),
    max_leaves=20,
)


@given(
    st.binary(max_size=500) | st.text(max_size=200).map(str.encode) | JSON.map(lambda value: json.dumps(value).encode())
)
@example(b"")
@example(b"[" * 2**20)
@example(b'{"driver": "580.1", "gpus": [' + b"{}," * 2**18)
@example(json.dumps(ANSWER).encode()[:-1])
@example(json.dumps(ANSWER).encode() * 2)
@example(b"\x1b[2J\x00" + json.dumps(ANSWER).encode())
def test_whatever_a_probe_prints_there_is_an_answer(printed):
    host = probe.host_in(printed)
    assert host.devices == ()
    assert host.lacks
    assert host.lacks.isprintable()


@given(st.text(min_size=1, max_size=200))
def test_whatever_a_card_is_called_it_has_a_model_and_steers_no_terminal(name):
    host = said(gpus=[{**GPU, "name": name}])
    (device,) = host.devices
    assert re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", device.model)
    assert device.model not in ("none", "here")
    assert all(line.isprintable() for line in described(host))


@given(st.text(max_size=500))
def test_a_reason_stays_a_line(reason):
    assert said(driver=None, cuda=None, gpus=[], reason=reason).lacks.isprintable()
    assert probe.refusal(reason).isprintable()


@pytest.mark.parametrize(
    ("refusal", "meant"),
    [
        ('could not select device driver "" with capabilities: [[gpu]]', "the NVIDIA Container Toolkit is missing"),
        ("nvidia-container-cli: initialization error: nvml error: driver not loaded", "installed but not loaded"),
        (
            "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=GPU-1, nvidia.com/gpu=GPU-2",
            "the engine's device list (CDI) does not name its GPUs by UUID",
        ),
        ("unresolvable CDI devices nvidia.com/gpu=all", "it has no CDI device for them"),
        ("something new", "the engine hands out no GPUs: something new"),
    ],
)
def test_what_an_engine_refuses_is_told_in_words_that_help(refusal, meant):
    assert meant in probe.refusal(refusal)


def test_this_process_can_ask_its_own_driver():
    host = probe.of_this_process()
    assert host.devices or host.lacks


def test_the_processor_is_told_with_the_cards_or_without():
    assert said(architecture="aarch64").architecture == "aarch64"
    assert said(architecture="aarch64", driver=None, gpus=[]).architecture == "aarch64"
