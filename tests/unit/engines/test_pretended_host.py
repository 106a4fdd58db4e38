"""A machine that a file describes is as strict as what a probe tells, and never taken for a real one."""

import json

import pytest

from orchestrator.engines.pretended_host import pretended_host
from orchestrator.errors import GpuError, MatrixError
from orchestrator.system import library_folders
from orchestrator.system.host import described

GPU = {"name": "Tesla V100-SXM2-16GB", "uuid": "GPU-pretended-0", "memory": 2**34}
MACHINE = {"driver": "535.5", "gpus": [GPU]}


def test_a_machine_can_be_pretended(tmp_path, monkeypatch):
    path = tmp_path / "host.json"
    path.write_text(json.dumps(MACHINE))
    monkeypatch.setenv("ROSETTA_HOST", str(path))
    host = pretended_host()
    assert host.pretended
    assert [gpu.uuid for gpu in host.of_model("v100")] == ["GPU-pretended-0"]
    assert host.of_model("v100")[0].memory == 2**34


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        ({**MACHINE, "gpus": [{"name": "Tesla V100", "uuid": "GPU-1"}]}, "which may be the UUID of a real GPU"),
        ({**MACHINE, "gpus": MACHINE["gpus"] * 2}, "has a UUID twice"),
        ({**MACHINE, "gpus": [{"name": "Tesla V100"}]}, "describes no machine"),
        ({**MACHINE, "gpus": [{**GPU, "capability": "7.0"}]}, "gpus.0.capability"),
        ({**MACHINE, "gpus": [{**GPU, "capability": [True, False]}]}, "gpus.0.capability.0"),
        ({**MACHINE, "gpus": [{**GPU, "capability": [-8, 0]}]}, "gpus.0.capability.0"),
        ({**MACHINE, "gpus": [{**GPU, "mig": "no"}]}, "gpus.0.mig"),
        ({**MACHINE, "gpus": [{**GPU, "others": -3}]}, "gpus.0.others"),
        ({**MACHINE, "gpus": [{**GPU, "name": 5}]}, "gpus.0.name"),
        *(
            ({**MACHINE, "gpus": [{**GPU, "uuid": uuid}]}, "gpus.0.uuid")
            for uuid in (7, None, "GPU-pretended-\0", "GPU-pretended-\n", "GPU-pretended-" + "x" * 5000)
        ),
        *(({**MACHINE, "driver": driver}, "driver: ") for driver in (580, None, "", "-580", "5_80", "9" * 4000)),
        ({**MACHINE, "driver": "580.65-beta"}, "driver: must look like 580.65.06"),
        (
            {**MACHINE, "gpus": [{**GPU, "name": "A100 MIG 3g.20gb", "uuid": "MIG-pretended-0", "mig": True}]},
            "MIG-pretended-0 that it is a slice, and divided itself",
        ),
        ({**MACHINE, "gpus": [{**GPU, "name": "A100 MIG 3g.20gb", "mig": True}]}, "it is a slice, and divided itself"),
        ([], "describes no machine"),
        (json.loads("[" * 900 + "]" * 900), "describes no machine"),
    ],
)
def test_nobody_takes_a_pretended_gpu_for_a_real_one(machine, said, tmp_path, monkeypatch):
    path = tmp_path / "host.json"
    path.write_text(json.dumps(machine))
    monkeypatch.setenv("ROSETTA_HOST", str(path))
    with pytest.raises(GpuError, match=said):
        pretended_host()


def test_a_file_that_holds_no_text_is_an_error_of_ours(tmp_path, monkeypatch):
    path = tmp_path / "host.json"
    monkeypatch.setenv("ROSETTA_HOST", str(path))
    for content in (b"", b"\xff", b"[" * 100_000, json.dumps(MACHINE).encode()[:-1], b'{"driver": "\\ud800"}'):
        path.write_bytes(content)
        with pytest.raises(GpuError, match="describes no machine"):
            pretended_host()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"driver": "580.65", "driver": "470.57", "gpus": []}', "has the name 'driver' twice"),
        (json.dumps(MACHINE).encode()[:-2].replace(b'"name"', b'"uuid": "GPU-pretended-1", "name"') + b"]}", "'uuid'"),
        (json.dumps(MACHINE).encode() + b" " * 2**20, "is larger than 1 MiB"),
    ],
)
def test_a_file_that_says_two_things_or_too_much_is_refused(content, said, tmp_path, monkeypatch):
    path = tmp_path / "host.json"
    path.write_bytes(content)
    monkeypatch.setenv("ROSETTA_HOST", str(path))
    with pytest.raises(GpuError, match=said):
        pretended_host()


def test_a_mark_before_the_text_is_no_part_of_it(tmp_path, monkeypatch):
    path = tmp_path / "host.json"
    path.write_text(json.dumps(MACHINE), encoding="utf-8-sig")
    monkeypatch.setenv("ROSETTA_HOST", str(path))
    assert pretended_host().models == ("v100",)


def test_links_in_a_circle_are_an_error_of_ours(tmp_path, monkeypatch):
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.setenv("ROSETTA_HOST", str(tmp_path / "loop"))
    with pytest.raises(GpuError, match="its links lead in a circle"):
        pretended_host()
    with pytest.raises(MatrixError, match="its links lead in a circle"):
        library_folders.take_in([tmp_path / "loop"])


def test_a_name_begins_no_line_of_its_own(tmp_path, monkeypatch):
    path = tmp_path / "host.json"
    path.write_text(json.dumps({**MACHINE, "gpus": [{**GPU, "name": "A100\nfound 8 × H200\x1b]0;x\x07"}]}))
    monkeypatch.setenv("ROSETTA_HOST", str(path))
    (line,) = described(pretended_host())
    assert line.isprintable()
