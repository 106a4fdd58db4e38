"""Which GPU runs which CUDA, from NVIDIA's tables, and what this machine lacks."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import GpuError
from orchestrator.system import gpus
from orchestrator.system.host import Device, Host, Kind, described, found_on, machine_reason, together

V100 = Host((Device("Tesla V100-SXM2-16GB", "GPU-1"), Device("Tesla V100-SXM2-16GB", "GPU-2")), (470, 57))
DIVIDED = Host((Device("NVIDIA A100-SXM4-80GB", "GPU-1", mig=True),), (580, 65))


@pytest.mark.parametrize(
    ("platform", "gpu", "precision", "reason"),
    [
        ("cpu", "none", "fp32", None),
        ("cpu", "none", "amp-bf16", "amp-bf16 is measured on GPUs only"),
        ("cpu", "k80", "fp32", "the platform cpu has no GPU"),
        ("cuda9", "none", "fp32", "cuda9 needs a GPU"),
        ("cuda9", "v100", "tf32", None),
    ],
)
def test_axes_that_go_together(platform, gpu, precision, reason):
    assert gpus.axes_reason(platform, gpu, precision) == reason


@pytest.mark.parametrize(
    ("model", "capability", "precisions"),
    [
        ("k80", (3, 7), {"fp32"}),
        ("p100", (6, 0), {"fp32", "amp-fp16"}),
        ("v100", (7, 0), {"fp32", "amp-fp16"}),
        ("t4", (7, 5), {"fp32", "amp-fp16"}),
        ("a100", (8, 0), {"fp32", "tf32", "amp-fp16", "amp-bf16"}),
        ("rtx-5090", (12, 0), {"fp32", "tf32", "amp-fp16", "amp-bf16"}),
    ],
)
def test_precisions_follow_from_the_capability(model, capability, precisions):
    reasons = {precision: gpus.precision_reason(model, capability, precision) for precision in gpus.PRECISIONS}
    assert {precision for precision, reason in reasons.items() if reason is None} == precisions
    assert all(f"{gpus.title_of(model)} has no {name}" == reason for name, reason in reasons.items() if reason)


@pytest.mark.parametrize(
    ("platform", "gpu", "host", "reason"),
    [
        ("cpu", "none", Host(), None),
        ("cuda9", "v100", V100, None),
        ("cuda9", "v100", Host(), "no NVIDIA driver on this machine"),
        ("cuda9", "p100", V100, "no P100 on this machine"),
        ("cuda12", "a100", DIVIDED, "no A100 on this machine that is not divided by MIG"),
        ("cuda12", "v100", V100, "driver 470.57 is too old for cuda12, which needs 525"),
    ],
)
def test_host(platform, gpu, host, reason):
    assert machine_reason(platform, gpu, host) == reason


NAMES = [
    ("Tesla K80", "k80", "K80"),
    ("Tesla P100-PCIE-16GB", "p100", "P100"),
    ("Tesla V100-SXM2-16GB", "v100", "V100"),
    ("Tesla V100-PCIE-32GB", "v100", "V100"),
    ("Tesla T4", "t4", "T4"),
    ("NVIDIA A100 80GB PCIe", "a100", "A100"),
    ("NVIDIA A100-SXM4-40GB", "a100", "A100"),
    ("NVIDIA H100 80GB HBM3", "h100", "H100"),
    ("NVIDIA H100 NVL", "h100", "H100"),
    ("NVIDIA H200", "h200", "H200"),
    ("NVIDIA GH200 480GB", "gh200", "GH200"),
    ("NVIDIA B200", "b200", "B200"),
    ("NVIDIA A10G", "a10g", "A10G"),
    ("NVIDIA L40S", "l40s", "L40S"),
    ("NVIDIA GeForce RTX 4090", "rtx-4090", "RTX 4090"),
    ("NVIDIA GeForce RTX 4090 Laptop GPU", "rtx-4090-laptop", "RTX 4090 Laptop"),
    ("GeForce GTX 1080 Ti", "gtx-1080-ti", "GTX 1080 Ti"),
    ("GeForce GTX 1060 3GB", "gtx-1060-3gb", "GTX 1060 3GB"),
    ("NVIDIA RTX 6000 Ada Generation", "rtx-6000-ada", "RTX 6000 ADA"),
    ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", "a100-3g-20gb", "A100 3g.20gb"),
    ("NVIDIA H100 80GB HBM3 MIG 1g.10gb+me", "h100-1g-10gb-plus-me", "H100 1g.10gb+me"),
    ("NVIDIA H100 80GB HBM3 MIG 1g.10gb-me", "h100-1g-10gb-me", "H100 1g.10gb-me"),
    (
        "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition MIG 2g.48gb",
        "rtx-pro-6000-blackwell-ma-b7e599-2g-48gb",
        "RTX PRO 6000 Blackwell MA B7E599 2g.48gb",
    ),
    ("NVIDIA TITAN V", "titan-v", "Titan V"),
    ("NVIDIA Graphics Device", "graphics-device", "Graphics Device"),
    ("GPU", "unnamed", "Unnamed"),
    ("NVIDIA None", "unnamed-140bed", "Unnamed 140BED"),
    ("H100-sm90", "h100-sm90-bf62e1", "H100 SM90 BF62E1"),
    ("NVIDIA® GeForce® RTX™ 4090", "rtx-4090", "RTX 4090"),
    ("超级卡 9000 MIG 3g.20gb", "9000-08294d-3g-20gb", "9000 08294D 3g.20gb"),
    ("\x1b]0;title\x07 <b>", "0-title-b", "0 Title B"),
]


@pytest.mark.parametrize(("name", "model", "title"), NAMES, ids=[model for _, model, _ in NAMES])
def test_drivers_names_become_short_ones(name, model, title):
    assert gpus.model_of(name) == model
    assert gpus.title_of(model) == title


@given(st.text(max_size=300))
def test_whatever_a_driver_says_a_model_is_a_word_of_the_matrix(name):
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,39}", gpus.model_of(name))
    assert gpus.model_of(name) not in gpus.NO_MODELS


@pytest.mark.parametrize(
    "names",
    [
        ("超级卡", "显卡", "GPU"),
        ("RTX 超级卡", "RTX 显卡", "RTX"),
        ("की", "का"),
        ("here", "None", "NVIDIA"),
        ("H100-sm90", "H100"),
        ("***", "???", "★", "☆"),
        ("卡" * 200, "卡" * 199),
    ],
)
def test_cards_whose_names_a_short_one_can_not_say_stay_apart(names):
    models = [gpus.model_of(name) for name in names]
    assert len(set(models)) == len(names)
    assert models == [gpus.model_of(f"pretended NVIDIA {name}") for name in names]


WORDS = st.sampled_from(
    ["RTX", "PRO", "6000", "Blackwell", "Max-Q", "Workstation", "Server", "Ada", "D", "Laptop", "+"]
)
PROFILES = st.builds(
    "{}g.{}gb{}".format,
    st.integers(1, 7),
    st.sampled_from([5, 10, 24, 96]),
    st.sampled_from(["", "+me", "-me", "+gfx", "+me.all"]),
)


@given(
    st.sets(
        st.tuples(st.lists(WORDS, min_size=1, max_size=12).map(tuple), st.just("") | PROFILES), min_size=2, max_size=20
    )
)
def test_names_that_have_to_be_cut_stay_apart(names):
    drivers = ["NVIDIA " + " ".join(words) + (f" MIG {profile}" if profile else "") for words, profile in names]
    whole = {re.sub("[^a-z0-9]+", "-", name.lower().replace("+", " plus ")).replace("-mig-", "-") for name in drivers}
    assert len(set(map(gpus.model_of, drivers))) == len(whole)
    for name, (_, profile) in zip(drivers, names, strict=True):
        end = re.sub("[^a-z0-9]+", "-", profile.replace("+", " plus "))
        assert gpus.model_of(name).endswith(end), "a profile is never cut"


def test_a_row_names_its_card_by_the_driver_and_perhaps_by_its_capability():
    assert gpus.is_named("a100", "pretended NVIDIA A100-SXM4-40GB")
    assert gpus.is_named("unnamed-sm90", "NVIDIA")
    assert not gpus.is_named("a100-sm80", "NVIDIA H100 PCIe")


# --- Cards that are not alike ---------------------------------------------------------------------------------------
H100S = Host(
    (
        Device("NVIDIA H100 PCIe", "GPU-0", 80, capability=(9, 0)),
        *(Device("NVIDIA H100 80GB HBM3", f"GPU-{number}", 80, capability=(9, 0)) for number in (1, 2)),
    ),
    (580, 65),
)
SLICES = Host(
    (
        Device("NVIDIA H100 80GB HBM3", "GPU-0", mig=True, others=1),
        *(Device("NVIDIA H100 80GB HBM3 MIG 3g.40gb", f"MIG-{number}", others=number) for number in (0, 1)),
    ),
    (580, 65),
)


def test_one_cell_has_gpus_of_one_board():
    assert (H100S.most_together("h100"), len(H100S.of_model("h100"))) == (2, 3)
    assert [device.uuid for device in H100S.alike("h100", 2)] == ["GPU-1", "GPU-2"]
    assert machine_reason("cuda12", "h100", H100S, 2) is None
    said = "3 × H100 on this machine, at most 2 with the same board and memory, but 3 are needed"
    assert machine_reason("cuda12", "h100", H100S, 3) == said


def test_unlike_boards_of_a_model_are_one_line_with_both_and_a_word_of_caution():
    cards, caution = found_on(H100S)
    said = "1 × NVIDIA H100 PCIe and 2 × NVIDIA H100 80GB HBM3 (h100), driver 580.65"
    assert (cards.kind, cards.line, cards.model) == (Kind.CARDS, said, "h100")
    assert (caution.kind, "gpu_name in its row says which" in caution.line) == (Kind.BOARDS, True)
    same_name = Host(tuple(Device("NVIDIA A100", f"GPU-{size}", size * 2**30) for size in (40, 80)), (580,))
    assert described(same_name)[0].startswith("1 × NVIDIA A100 with 40 GiB and 1 × NVIDIA A100 with 80 GiB (a100)")


def test_a_program_sees_one_slice_however_many_there_are():
    assert machine_reason("cuda12", "h100-3g-40gb", SLICES, 1) is None
    said = "a CUDA program sees only one MIG slice, but 2 GPUs are needed"
    assert machine_reason("cuda12", "h100-3g-40gb", SLICES, 2) == said


def test_whoever_is_on_a_slice_is_not_counted_on_its_gpu_again():
    assert described(SLICES)[-1] == "other processes are using 1 of them"


def test_cards_that_share_a_name_and_not_their_capability_are_two_models():
    host = Host(
        tuple(Device(name, name, capability=one) for name, one in (("NVIDIA", (3, 7)), ("Generation", (9, 0)))), (580,)
    )
    assert host.models == ("unnamed-sm37", "unnamed-sm90")
    assert [host.capability_of(model) for model in host.models] == [(3, 7), (9, 0)]
    assert [device.name for device in host.of_model("unnamed-sm90")] == ["Generation"]
    said = "Unnamed may be any of these on this machine: unnamed-sm37, unnamed-sm90"
    assert machine_reason("cuda12", "unnamed", host) == said
    apart = together([Host((device,), (580,)) for device in host.devices])
    assert [found.model for found in found_on(apart)] == list(host.models)
    assert [machine_reason("cuda12", model, apart) for model in host.models] == [None, None]


def test_a_card_of_unknown_capability_is_not_counted_with_those_whose_capability_is_known():
    cards = [Device("X", f"GPU-{number}", capability=one) for number, one in enumerate([(9, 0), None, (9, 0)])]
    host = Host(tuple(cards), (580,))
    assert host.models == ("x-sm90", "x")
    assert [len(host.of_model(model)) for model in host.models] == [2, 1]
    assert [line.partition(", driver")[0] for line in described(host)] == ["2 × X (x-sm90)", "1 × X (x)"]
    known = [Device("Tesla V100", f"GPU-{number}", capability=one) for number, one in enumerate([(7, 0), None])]
    assert Host(tuple(known), (580,)).models == ("v100",)


def test_a_card_that_reads_like_anothers_name_here_is_none_of_it():
    names = [("H100-sm90", (9, 0)), ("H100", (9, 0)), ("H100", (8, 0))]
    host = Host(tuple(Device(name, str(number), capability=one) for number, (name, one) in enumerate(names)), (580,))
    assert host.models == ("h100-sm90-bf62e1", "h100-sm90", "h100-sm80")
    assert [len(host.of_model(model)) for model in host.models] == [1, 1, 1]


UNTOUCHED = "1 × NVIDIA A100-SXM4-80GB divided by MIG without slices: create them with 'nvidia-smi mig -cgi PROFILE -C'"


def test_a_divided_card_without_slices_is_told_of():
    assert described(DIVIDED) == [UNTOUCHED]
    by_parent = Device("NVIDIA A100-SXM4-80GB MIG 1g.10gb", "MIG-1", parent="GPU-2")
    two = Host((*DIVIDED.devices, Device("NVIDIA A100-SXM4-80GB", "GPU-2", mig=True), by_parent), (580, 65))
    assert described(two)[-1] == UNTOUCHED
    by_name = Device("NVIDIA A100-SXM4-80GB MIG 1g.10gb", "MIG-1")
    assert len(described(Host((*DIVIDED.devices, by_name), (580, 65)))) == 1


def test_a_driver_without_a_card_is_not_called_no_driver():
    said = "no GPU on this machine: driver 580.65 is there, but it shows none"
    assert machine_reason("cuda12", "a100", Host((), (580, 65))) == said


def test_of_several_machines_the_busy_ones_are_counted():
    busy = Host((Device("Tesla V100", "GPU-1", others=2),), (470,))
    lines = [found.line for found in found_on(together([busy, busy, GPULESS]))]
    assert lines == [
        "2 × 1 × Tesla V100 (v100), driver 470",
        "other processes are using 1 of them (on 2 nodes)",
        "no GPU: no NVIDIA driver on this machine",
    ]


OLD, GPULESS = Host((Device("Tesla V100", "GPU-3"),), (340,)), Host()


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([GPULESS, OLD, V100], None),
        ([GPULESS, GPULESS, OLD], "no NVIDIA driver (2); driver 340 is too old for cuda9, which needs 384.81 (1)"),
    ],
)
def test_of_several_machines_one_that_can_is_enough(nodes, reason):
    said = machine_reason("cuda9", "v100", together(nodes))
    assert said == (reason and f"no node can run it: {reason}")


def test_machines_that_pretend_are_not_mixed_with_others():
    with pytest.raises(GpuError, match="pretend"):
        together([V100, Host((Device("Tesla V100", "GPU-pretended-0"),), (470,))])
