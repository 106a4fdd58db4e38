"""What GPUs a library has code for: bytes as CUDA's compilers write them, bytes that lie, and the verdicts."""

import ast
import io
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import BuildError
from orchestrator.images import architectures, machine_code
from orchestrator.images.architectures import FatBinaries, MachineCode, Scan, Support
from orchestrator.images.machine_code import EXACT, FAMILY, Found, Unreadable

PTX, ELF = machine_code.PTX, machine_code.MACHINE_CODE

BY_NVIDIA = Path(__file__).with_name("device_code")
"""An empty kernel, compiled and packed by ptxas and fatbinary of CUDA 12.9 and 13.5."""

CARDS = {
    "K80": (3, 7), "P100": (6, 0), "V100": (7, 0), "T4": (7, 5), "A100": (8, 0), "A10G": (8, 6), "L40S": (8, 9),
    "H100": (9, 0), "B200": (10, 0), "RTX 5090": (12, 0),
}  # fmt: skip


def entry(kind, number, flags=0, payload=b"code" * 4, header=64):
    head = struct.pack(
        "<HHIQIIHHIIIQQQ", kind, 0x101, header, len(payload), 0, 0, 0, 1, number, 0, 0, flags, 0, 0
    )  # fmt: skip
    return head + bytes(header - 64) + payload


def fat_binary(*entries):
    body = b"".join(entries)
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def library(*sections, machine=62, flags=0):
    """An ELF file with sections of these names and contents, and the table of their names behind them."""
    names = b"\0" + b"".join(name + b"\0" for name, _ in sections) + b".shstrtab\0"
    table, data, offset = [bytes(64)], b"", 64
    for name, content in (*sections, (b".shstrtab", names)):
        start = names.index(b"\0" + name + b"\0") + 1
        table.append(struct.pack("<IIQQQQIIQQ", start, 1, 0, 0, offset + len(data), len(content), 0, 0, 8, 0))
        data += content
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 3, machine, 1, 0, 0, 64 + len(data), flags, 64, 56, 0, 64,
        len(table), len(table) - 1,
    )  # fmt: skip
    return header + data + b"".join(table)


def read(content):
    return machine_code.read(io.BytesIO(content))


def found(binaries, ptx=(), times=1):
    return machine_code.FatBinaries(tuple(binaries), tuple(ptx), times)


def code(*binaries, ptx=(), size=1000, times=1):
    return MachineCode(fat_binaries=(FatBinaries(binaries=binaries, ptx=tuple(ptx), times=times),), size=size)


def support(capability, **libraries):
    scan = Scan(libraries={f"lib/{name}.so": each for name, each in libraries.items()}, unreadable={})
    return architectures.runs_on(scan, capability)


def test_machine_code_and_ptx_are_told_apart_and_counted():
    both = fat_binary(entry(ELF, 60), entry(ELF, 70), entry(PTX, 70, header=3952))
    content = both + bytes(40) + fat_binary(entry(ELF, 60)) + both + bytes(8)
    assert read(library((b".text", b"x"), (b".nv_fatbin", content))) == Found(
        (found(["60"]), found(["60", "70"], ["70"], 2)), len(content)
    )


def test_exact_and_family_architectures_keep_their_letter():
    content = fat_binary(
        entry(ELF, 90, 0x8011), entry(ELF, 90, 0x8011 | EXACT), entry(ELF, 100, FAMILY), entry(PTX, 120, FAMILY)
    )
    assert read(library((b".nv_fatbin", content))).fat_binaries == (found(["90", "90a", "100f"], ["120f"]),)


def test_relocatable_code_counts_only_by_itself():
    executable, relocatable = fat_binary(entry(ELF, 70)), fat_binary(entry(ELF, 35))
    both = library((b"__nv_relfatbin", relocatable), (b".nv_fatbin", executable))
    assert read(both).fat_binaries == (found(["70"]),)
    assert read(library((b"__nv_relfatbin", relocatable))).fat_binaries == (found(["35"]),)


def test_many_sections_are_counted_in_the_first():
    content = bytearray(library((b".nv_fatbin", fat_binary(entry(ELF, 70)))))
    (table,) = struct.unpack_from("<Q", content, 40)
    count, of_names = struct.unpack_from("<HH", content, 60)
    struct.pack_into("<HH", content, 60, 0, 0xFFFF)
    struct.pack_into("<QI", content, table + 32, count, of_names)
    assert read(bytes(content)).fat_binaries == (found(["70"]),)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"#!/bin/sh\n" * 20,
        library((b".text", b"x" * 100)),
        library((b".nv_fatbin", b"")),
        library((b".nv_fatbin", bytes(64))),
        library((b".nv_fatbin", fat_binary())),
        library((b".nv_fatbin", fat_binary(entry(64, 90)))),  # a kind that is neither
        b"\x7fELF\x01\x01" + bytes(100),  # 32 bits
        b"\x7fELF\x02\x01",
    ],
    ids=range(9),
)
def test_a_file_without_device_code_says_nothing(content):
    assert read(content) is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (library((b".nv_fatbin", fat_binary(entry(ELF, 70))[:-1])), "lie outside"),
        (library((b".nv_fatbin", b"junk" + fat_binary(entry(ELF, 70)))), "no fat binary at 64"),
        (library((b".nv_fatbin", bytes(5000) + fat_binary(entry(ELF, 70)))), "no fat binary"),
        (library((b".nv_fatbin", struct.pack("<IHHQ", 0xBA55ED50, 1, 16, 2**64 - 1))), "lie outside"),
        (library((b".nv_fatbin", struct.pack("<IHHQ", 0xBA55ED50, 9, 16, 0))), "of version 9"),
        (library((b".nv_fatbin", struct.pack("<IHHQ", 0xBA55ED50, 1, 0, 0))), "with a header of 0 bytes"),
        (library((b".nv_fatbin", fat_binary(struct.pack("<HHI56x", ELF, 1, 0)))), "with a header of 0 bytes"),
        (library((b".nv_fatbin", fat_binary(entry(ELF, 2**31)))), "code for 2147483648"),
        (library((b".nv_fatbin", fat_binary() * 200_001)), "more than 200,000"),
        (library((b".nv_fatbin", fat_binary(entry(ELF, 70, payload=b"") * 200_001))), "more than 200,000"),
        (library((b".text", b"x"))[:-1], "lie outside"),
        (library(machine=190, flags=3), "a cubin for 3"),
        (library((b".text", b"x")) + b"UPX!" + bytes(32), "packed by UPX"),
    ],
    ids=range(13),
)
def test_numbers_that_contradict_the_file_are_refused(content, why):
    with pytest.raises(Unreadable, match=why):
        read(content)


def test_combinations_without_end_are_refused():
    content = b"".join(
        fat_binary(entry(ELF, number), entry(PTX, other)) for number in range(10, 50) for other in range(10, 50)
    )
    with pytest.raises(Unreadable, match="combinations"):
        read(library((b".nv_fatbin", content)))


VALID = library(
    (b".text", b"x" * 8),
    (b".nv_fatbin", fat_binary(entry(ELF, 60), entry(PTX, 60)) + fat_binary(entry(ELF, 90, EXACT), entry(PTX, 90))),
    (b"__nv_relfatbin", fat_binary(entry(ELF, 35))),
)
NUMBERS = st.sampled_from([0, 1, 2, 15, 16, 63, 64, 255, 2**15, 2**16 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1])


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_bytes_that_were_changed_give_a_result_or_a_refusal(data):
    content = bytearray(
        data.draw(st.sampled_from([VALID, *(path.read_bytes() for path in sorted(BY_NVIDIA.iterdir()))]))
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at, width = data.draw(st.integers(0, len(content) - 1)), data.draw(st.sampled_from([1, 2, 4, 8]))
        changed = data.draw(NUMBERS | st.integers(0, 2**64 - 1)) % 256**width
        content[at : at + width] = changed.to_bytes(width, "little")
    content = content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))]
    try:
        result = read(bytes(content))
    except Unreadable:
        return
    if result:
        fat_binaries = [each._asdict() for each in result.fat_binaries]
        said = json.dumps(
            {"libraries": {"a.so": {"fat_binaries": fat_binaries, "size": result.size}}, "unreadable": {}}
        )
        assert architectures.parse(said.encode()).libraries["a.so"].size <= len(content) * 4


def test_what_nvidia_has_packed():
    """As cuobjdump 13.5 lists it, which leaves out the letter of machine code for a family unless it dumps it."""
    assert read((BY_NVIDIA / "cuda13.fatbin").read_bytes()).fat_binaries == (
        found(["75", "80", "90", "90a", "100f", "103", "120a"], ["75", "90a", "120f"]),
    )


@pytest.mark.parametrize("path", sorted(BY_NVIDIA.glob("*.cubin")), ids=lambda path: path.name)
def test_what_nvidia_has_compiled(path):
    architecture = path.name.split(".")[1].removeprefix("sm_")
    assert read(path.read_bytes()) == Found((found([architecture]),), path.stat().st_size)


def test_a_scan_tells_of_each_library_and_follows_no_links(tmp_path):
    site = tmp_path / "usr/lib"
    site.mkdir(parents=True)
    (site / "libtorch_cuda.so").write_bytes(library((b".nv_fatbin", fat_binary(entry(ELF, 70), entry(PTX, 70)))))
    (site / "libcudart.so.12").write_bytes(library((b".text", b"x")))
    (site / "libmxnet.so").write_bytes(library((b".text", b"x")) + b"UPX!" + bytes(32))
    (site / "notes.txt").write_bytes(fat_binary(entry(ELF, 70)))
    (site / "libtorch.so").symlink_to("libtorch_cuda.so")
    (site / "loop.so").symlink_to("loop.so")
    (site / "folder.so").mkdir()
    os.mkfifo(site / "libfifo.so")
    (site / os.fsdecode(b"lib\xff.so")).write_bytes(library((b".nv_fatbin", b"junk")))
    said = subprocess.run(
        [sys.executable, "-I", "-c", architectures.SCRIPT.read_text(), tmp_path], check=True, capture_output=True
    ).stdout
    scan = architectures.parse(said)
    assert {path: (each.binaries, each.ptx) for path, each in scan.libraries.items()} == {
        "usr/lib/libtorch_cuda.so": (("70",), ("70",))
    }
    assert scan.unreadable == {
        "usr/lib/libmxnet.so": "it is packed by UPX",
        "usr/lib/lib\ufffd.so": "no fat binary at 64",
    }


def test_the_script_is_written_for_python_3_6():
    assert ast.parse(architectures.SCRIPT.read_text(), feature_version=(3, 6)).body


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"{}",
        b'{"libraries": [], "unreadable": {}}',
        b'{"libraries": {"a.so": {"fat_binaries": [], "size": 1}}, "unreadable": {}}',
        json.dumps(
            {
                "libraries": {"a": {"fat_binaries": [{"binaries": ["9000"], "ptx": [], "times": 1}], "size": 1}},
                "unreadable": {},
            }
        ).encode(),
        b'{"libraries": {}, "unreadable": {}} and more',
    ],
    ids=range(6),
)
def test_what_is_no_scan_is_refused(said):
    with pytest.raises(BuildError, match="did not report"):
        architectures.parse(said)


@pytest.mark.parametrize(
    ("architecture", "cards"),
    [
        ("35", "K80"),
        ("37", "K80"),
        ("60", "P100"),
        ("61", ""),
        ("70", "V100 T4"),
        ("72", ""),
        ("75", "T4"),
        ("80", "A100 A10G L40S"),
        ("86", "A10G L40S"),
        ("87", ""),  # a Jetson, as is 72
        ("89", "L40S"),
        ("90", "H100"),
        ("90a", "H100"),
        ("100", "B200"),
        ("100f", "B200"),
        ("103", ""),
        ("120", "RTX 5090"),
        ("120a", "RTX 5090"),
        ("121f", ""),
    ],
)
def test_machine_code_runs_on_its_generation_from_its_version_on(architecture, cards):
    assert " ".join(card for card in CARDS if architectures.loads(architecture, CARDS[card])) == cards


@pytest.mark.parametrize(
    ("architecture", "capability", "runs"),
    [
        ("100", (10, 3), True),
        ("100f", (10, 3), True),
        ("100a", (10, 3), False),
        ("103f", (10, 0), False),
        ("100f", (12, 0), False),
        ("86", (8, 7), False),
        ("87", (8, 7), True),
        ("87", (8, 9), False),
    ],
)
def test_families_and_jetsons(architecture, capability, runs):
    assert architectures.loads(architecture, capability) is runs


@pytest.mark.parametrize(
    ("architecture", "first", "last"),
    [("30", "K80", "RTX 5090"), ("70", "V100", "RTX 5090"), ("90", "H100", "RTX 5090"), ("90a", "H100", "H100"),
     ("100f", "B200", "B200")],
)  # fmt: skip
def test_ptx_is_compiled_for_all_since(architecture, first, last):
    names = list(CARDS)
    able = [card for card in names if architectures.compiles(architecture, CARDS[card])]
    assert able == names[names.index(first) : names.index(last) + 1]


PYTORCH = code("70", "75", "80", "86", "90", "100", "120")
TENSORFLOW = code("60", "70", "80", "89", "90", ptx=["90"])


@pytest.mark.parametrize(
    ("framework", "verdicts"),
    [
        (PYTORCH, "missing missing native native native native native native native native"),
        (TENSORFLOW, "missing native native native native native native native compiles compiles"),
        (code("37", ptx=["37"]), "native" + " compiles" * 9),
        (code("90a"), "missing " * 7 + "native missing missing"),
        (code(ptx=["120"]), "missing " * 9 + "compiles"),
    ],
    ids=["PyTorch 2.10", "TensorFlow 2.21", "TensorFlow 1.12", "H100 alone", "PTX alone"],
)
def test_the_framework_decides_on_each_card(framework, verdicts):
    assert [support(card, libframework=framework).support for card in CARDS.values()] == verdicts.split()


def test_reasons_name_library_and_what_it_has():
    assert support((8, 9), libtorch_cuda=code("50", "70")).reason == (
        "no machine code for sm_89 in libtorch_cuda.so (has 50, 70)"
    )
    assert support((10, 0), libtensorflow_cc=TENSORFLOW).reason == (
        "no machine code for sm_100 in libtensorflow_cc.so (has 60, 70, 80, 89, 90; PTX 90):"
        " the driver compiles it at the first start"
    )
    assert support((3, 7), libtensorflow_cc=TENSORFLOW).reason == (
        "neither machine code nor PTX for sm_37 in libtensorflow_cc.so (has 60, 70, 80, 89, 90; PTX 90)"
    )
    assert support((7, 0), libtorch_cuda=PYTORCH).reason == ""


def test_small_and_auxiliary_libraries_do_not_block():
    few = code("120", size=10)
    assert support((7, 5), libtorch_cuda=PYTORCH, libtorch_cuda_linalg=few).support is Support.NATIVE
    assert support((7, 5), libtorch_cuda=PYTORCH, libnccl=code("120", size=10**9)).support is Support.NATIVE
    assert support((7, 5), libtorch_cuda=PYTORCH, libcufft=code("52")).support is Support.NATIVE


@pytest.mark.parametrize("name", ["libcublas", "libcublasLt", "libcudnn", "libcudnn_engines_precompiled"])
def test_cublas_and_cudnn_do(name):
    answer = support((7, 5), libtorch_cuda=PYTORCH, **{name: code("80", ptx=["75"])})
    assert (answer.support, name in answer.reason) == (Support.COMPILES, True)
    assert support((7, 5), libtorch_cuda=PYTORCH, **{name: code("80")}).support is Support.MISSING


def test_a_framework_needs_most_of_its_code_and_cublas_any():
    mixed = MachineCode(
        fat_binaries=(
            FatBinaries(binaries=("70",), ptx=(), times=532),
            FatBinaries(binaries=("70",), ptx=("50",), times=309),
        ),
        size=1000,
    )
    answer = support((8, 0), libcaffe2_gpu=mixed)
    assert answer.support is Support.MISSING
    assert answer.reason == (
        "neither machine code nor PTX for sm_80 in 532 of 841 parts of libcaffe2_gpu.so (has 70; PTX 50)"
    )
    assert support((8, 0), libcublas=mixed, libframework=PYTORCH).support is Support.COMPILES


@pytest.mark.parametrize(
    ("path", "support"),
    [("a/libframework.so", "unknown"), ("nvidia/libcudnn.so.9", "unknown"), ("nvidia/libcusparse.so.12", "native")],
)
def test_a_library_that_can_not_be_read_may_be_what_is_lacking(path, support):
    scan = Scan(libraries={"a/libsmall.so": code("80")}, unreadable={path: "it is packed by UPX"})
    assert architectures.runs_on(scan, (8, 0)).support == support
    assert architectures.runs_on(scan, (9, 0)).support is Support.MISSING


def test_nothing_is_known_without_the_framework_own_code():
    packed = Scan(
        libraries={"libcublas.so.9.0": code("70", ptx=["70"])}, unreadable={"mxnet/libmxnet.so": "it is packed by UPX"}
    )
    answer = architectures.runs_on(packed, (7, 0))
    assert (answer.support, answer.reason) == (Support.UNKNOWN, "libmxnet.so can't be read: it is packed by UPX")
    assert architectures.runs_on(packed, (6, 0)).support is Support.MISSING
    assert architectures.runs_on(Scan(libraries={}, unreadable={}), (7, 0)).support is Support.UNKNOWN
