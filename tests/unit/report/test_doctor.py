"""What the doctor finds on machines of several kinds, and that nothing secret or foreign reaches the screen."""

import json

import pytest

from orchestrator.engines.process import ProcessEngine
from orchestrator.images.architectures import Scan
from orchestrator.report.doctor import State, examine
from orchestrator.system.host import Device, Host
from tests.unit.cli.test_cli import rosetta


class Somewhere(ProcessEngine):
    """A process engine on a machine that is told."""

    def __init__(self, host: Host) -> None:
        super().__init__()
        self.told = host

    def machine(self) -> Host:
        return self.told


class WithAnImage(Somewhere):
    """The same with one image for GPUs, which has the code that its YAML declares."""

    def machine_code(self, image):
        return Scan(libraries={}, unreadable={}) if image.name == "pytorch-2018-cuda9" else None


def findings(host: Host, folder) -> dict[str, list]:
    found: dict[str, list] = {}
    for finding in examine(Somewhere(host), folder):
        found.setdefault(finding.about, []).append(finding)
    return found


def test_a_machine_with_a_card_says_what_its_driver_runs(tmp_path):
    card = Device("Tesla V100-SXM2-16GB", "GPU-1", capability=(7, 0), others=3)
    found = findings(Host((card,), (525, 60)), tmp_path)
    assert [each.said for each in found["GPUs"]] == [
        "1 × Tesla V100-SXM2-16GB (v100), driver 525.60",
        "somebody else's processes are on 1 of them",
    ]
    runs, newer = found["driver"]
    assert (runs.state, runs.said) == (State.OK, "525.60 runs cuda8, cuda9, cuda11, cuda12")
    assert (newer.said, newer.remedy) == ("too old for cuda13", "Update NVIDIA's driver to 580 or newer.")


def test_the_images_that_are_built_are_held_against_each_card(tmp_path):
    cards = Device("Tesla V100", "GPU-1", capability=(7, 0)), Device("NVIDIA A100", "GPU-2", capability=(8, 0))
    found = [each for each in examine(WithAnImage(Host(cards, (580,))), tmp_path) if each.about == "images"]
    assert [(each.state, each.said.partition(" (has")[0]) for each in found] == [
        (State.OK, "v100: 1 of 1 images for GPUs that are built have code for it"),
        (State.OK, "a100: 0 of 1 images for GPUs that are built have code for it"),
        (State.NOTE, "a100: pytorch-2018-cuda9 has no machine code for sm_80 in CUDA 9.0"),
    ]


@pytest.mark.parametrize(
    ("lacks", "remedy"),
    [
        ("the engine can't hand out GPUs: the NVIDIA Container Toolkit is missing", "nvidia-ctk runtime configure"),
        ("the engine can't hand out GPUs: it has no CDI device for them", "nvidia-ctk cdi generate"),
        ("the engine's device list (CDI) does not name its GPUs by UUID", "--device-name-strategy=uuid"),
        ("no driver: libnvidia-ml.so.1 not found", "Install NVIDIA's driver"),
    ],
)
def test_without_a_card_the_remedy_fits_the_reason(lacks, remedy, tmp_path):
    (found,) = findings(Host(lacks=lacks), tmp_path)["GPUs"]
    assert found.state is State.NOTE  # cells on the CPU need none
    assert remedy in found.remedy


def test_nothing_foreign_steers_the_terminal(tmp_path):
    (found,) = findings(Host(lacks="no \x1b]0;title\x07 driver"), tmp_path)["GPUs"]
    assert "\x1b" not in found.said


def test_the_command_ends_with_a_code_and_keeps_secrets(tmp_path):
    proxy = "http://me:planted-7193@proxy.example.org:3128"
    done = rosetta("doctor", "--engine", "process", "--json", cwd=tmp_path, HTTPS_PROXY=proxy)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {each["state"] for each in found} <= {"ok", "note"}
    assert "HTTPS_PROXY is http://proxy.example.org:3128" in [each["said"] for each in found]
    assert "planted-7193" not in done.stdout + done.stderr
    missing = rosetta("doctor", "--engine", "process", cwd=tmp_path, ROSETTA_CA_BUNDLE="/nowhere/ca.pem")
    assert missing.returncode == 19
    assert "lacking  network  ROSETTA_CA_BUNDLE names /nowhere/ca.pem, which does not exist." in missing.stdout
