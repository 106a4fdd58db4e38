"""What the doctor finds on machines of several kinds, and that nothing secret or foreign reaches the screen."""

import json

import pytest

from orchestrator.engines import probe
from orchestrator.engines.process import ProcessEngine
from orchestrator.images.architectures import Scan
from orchestrator.report.doctor import State, examine
from orchestrator.system.host import Device, Host, Unreadable, together
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
        "other processes are using 1 of them",
    ]
    (runs,) = found["driver"]  # CUDA 13 has no code for it, whatever the driver
    assert (runs.state, runs.said) == (State.OK, "525.60 runs cuda8, cuda9, cuda11, cuda12")


@pytest.mark.parametrize(
    ("name", "capability", "driver", "updates"),
    [
        ("NVIDIA A100", (8, 0), (525, 60, 13), ["580"]),
        ("NVIDIA A100", (8, 0), (418, 226), ["450.80.02", "525", "580"]),
        ("Tesla K80", (3, 7), (470, 57, 2), []),  # its last driver
        ("Tesla V100", (7, 0), (535, 104, 5), []),
        ("Unheard Of", None, (535, 104, 5), ["580"]),
        ("NVIDIA A100", (8, 0), (0,), ["450.80.02", "525", "580"]),
    ],
)
def test_a_newer_driver_is_advised_where_it_would_help(name, capability, driver, updates, tmp_path):
    card = Device(name, "GPU-1", capability=capability)
    runs, *newer = findings(Host((card,), driver), tmp_path)["driver"]
    assert runs.state is (State.OK if driver > (0,) else State.NOTE)  # cells on CPUs can run
    assert [each.remedy for each in newer] == [f"Update NVIDIA's driver to {version} or newer." for version in updates]


def test_no_image_for_gpus_runs_on_another_processor(tmp_path):
    card = Device("NVIDIA GH200 480GB", "GPU-1", capability=(9, 0))
    (told,) = findings(Host((card,), (580, 65, 6), architecture="aarch64"), tmp_path)["driver"]
    assert told.said == "no cell can run on a GPU: images for them are built for x86_64, this is aarch64"


@pytest.mark.parametrize(
    ("refusal", "remedy"),
    [
        ("nvidia-container-cli: initialization error: nvml error: driver/library version mismatch", "restart"),
        ("nvidia-container-cli: initialization error: nvml error: driver not loaded", "modprobe nvidia"),
        ("nvidia-container-cli: initialization error: nvml error: insufficient permissions", "/dev/nvidia*"),
        (
            "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.6, please update",
            "Update NVIDIA's",
        ),
        ("nvidia-container-cli: initialization error: nvml error: unknown error", "Install NVIDIA's driver"),
        ("driver failed programming external connectivity on endpoint x", "Make sure that 'nvidia-smi' works"),
        ("storage-driver overlay2: no space left on device", "Make sure that 'nvidia-smi' works"),
    ],
)
def test_what_the_engine_says_of_a_driver_has_the_remedy_for_it(refusal, remedy, tmp_path):
    (found,) = findings(Host(lacks=probe.refusal(refusal)), tmp_path)["GPUs"]
    assert remedy in found.remedy


def test_the_images_that_are_built_are_held_against_each_card(tmp_path):
    cards = Device("Tesla V100", "GPU-1", capability=(7, 0)), Device("NVIDIA A100", "GPU-2", capability=(8, 0))
    found = [each for each in examine(WithAnImage(Host(cards, (580,))), tmp_path) if each.about == "images"]
    assert [(each.state, each.said.partition(" (has")[0]) for each in found] == [
        (State.OK, "v100: 1 of 1 built images for GPUs have code for it"),
        (State.OK, "a100: 0 of 1 built images for GPUs have code for it"),
        (State.NOTE, "a100: pytorch-2018-cuda9 has no machine code for sm_80 in CUDA 9.0"),
    ]


def test_a_card_for_which_no_image_has_code_is_named_as_in_the_plan(tmp_path):
    cards = Device("NVIDIA Thor", "GPU-1", capability=(11, 0)), Device("NVIDIA A100", "GPU-2", capability=(8, 0))
    (found,) = findings(Host(cards, (580, 65)), tmp_path)["images"]
    said = "thor: no image for GPUs has code for it: no machine code for sm_110 in CUDA 13.0 (has 75, 80, "
    assert (found.state, found.said.startswith(said)) == (State.NOTE, True)


def test_a_folder_in_which_no_lock_can_be_made_is_lacking_and_its_variable_named(tmp_path, monkeypatch):
    monkeypatch.setenv("ROSETTA_LOCKS", "/proc/self")
    (found,) = findings(Host(), tmp_path)["locks"]
    assert found.state is State.LACKING
    assert found.said.startswith("GPUs and data sets can't be locked in /proc/self, which ROSETTA_LOCKS names. ")
    assert "Set ROSETTA_LOCKS to a folder" in found.remedy
    monkeypatch.setenv("ROSETTA_LOCKS", str(tmp_path / "locks"))
    assert findings(Host(), tmp_path)["locks"][0].state is State.OK
    assert list((tmp_path / "locks").iterdir()) == []


@pytest.mark.parametrize(
    ("lacks", "remedy"),
    [
        ("the engine can't hand out GPUs: the NVIDIA Container Toolkit is missing", "nvidia-ctk runtime configure"),
        ("the engine can't hand out GPUs: it has no CDI device for them", "nvidia-ctk cdi generate"),
        ("the engine's device list (CDI) does not name its GPUs by UUID", "--device-name-strategy=uuid"),
        ("no driver: libnvidia-ml.so.1 not found", "Install NVIDIA's driver"),
        ("nvmlInit_v2: Driver Not Loaded", "modprobe nvidia"),
        ("nvmlInit_v2: Driver/library version mismatch", "restart the machine"),
        ("nvmlDeviceGetCount_v2: Insufficient Permissions", "/dev/nvidia*"),
        ("nvmlDeviceGetCount_v2: GPU is lost", "dmesg | grep Xid"),
        ("the engine could not be asked for GPUs: Building the images failed.", "probe's image could not be built"),
        ("the engine could not be asked for GPUs: No Docker engine answers.", "docker version"),
        ("NVIDIA's driver did not answer in 60 s", "whether 'nvidia-smi' answers"),
        ("the driver could not be asked: its answer: Invalid JSON", "nvidia-smi -q"),
        ("something new", "Make sure that 'nvidia-smi' works"),
    ],
)
def test_without_a_card_the_remedy_fits_the_reason(lacks, remedy, tmp_path):
    (found,) = findings(Host(lacks=lacks), tmp_path)["GPUs"]
    assert found.state is State.NOTE  # cells on the CPU need none
    assert remedy in found.remedy


def test_a_driver_without_a_card_is_not_to_be_installed_again(tmp_path):
    said = "no GPU: driver 580.65 is there, but it shows none"
    alone, of_cluster = Host((), (580, 65)), together([Host((), (580, 65))] * 2)
    for host, line in ((alone, said), (of_cluster, f"2 × {said}")):
        (found,) = findings(host, tmp_path)["GPUs"]
        assert (found.state, found.said) == (State.NOTE, line)
        assert "lspci" in found.remedy


def test_each_thing_that_is_wrong_with_cards_has_a_remedy(tmp_path):
    cards = (
        Device("NVIDIA H100 PCIe", "GPU-0", capability=(9, 0), others=1),
        Device("NVIDIA H100 80GB HBM3", "GPU-1", capability=(9, 0)),
        Device("NVIDIA A100-SXM4-40GB", "GPU-2", mig=True),
    )
    lost = Unreadable(3, "nvmlDeviceGetName: GPU is lost"), Unreadable(4, "uuid: String should match pattern")
    one, *others = findings(Host(cards, (580, 65), unreadable=lost), tmp_path)["GPUs"]
    assert (one.state, one.remedy) == (State.OK, "")
    assert {found.state for found in others} == {State.NOTE}
    remedies = [found.remedy for found in others]
    for said, remedy in zip(("ended", "its own machine", "-mig 0", "Xid", "nvidia-smi -L"), remedies, strict=True):
        assert said in remedy
    assert others[2].said.startswith("1 × NVIDIA A100-SXM4-40GB divided by MIG without slices")


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


@pytest.mark.parametrize(("results", "about"), [("file/x", "results"), ("results", "cache")])
def test_a_folder_that_can_not_be_made_is_lacking(results, about, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / ("cache" if about == "results" else "file")))
    (lacking,) = [each for each in examine(Somewhere(Host()), tmp_path / results) if each.state is State.LACKING]
    assert (lacking.about, lacking.said) == (about, f"{tmp_path / 'file'} can't be written, or is not a folder")


def test_what_keeps_a_check_from_its_end_is_a_finding_and_told_once(tmp_path):
    (tmp_path / "host.json").write_text("{")
    done = rosetta("doctor", "--engine", "process", "--json", cwd=tmp_path, ROSETTA_HOST="host.json")
    assert done.returncode == 19, done.stderr
    lacking = [each for each in json.loads(done.stdout) if each["state"] == "lacking"]
    (found,) = [each for each in lacking if "ROSETTA_HOST" in each["said"]]
    assert (found["about"], found["remedy"]) == ("GPUs", "See docs/running.md.")


@pytest.mark.parametrize("engine", ["docker", "podman", "apptainer", "ray"])
def test_an_engine_that_is_missing_is_a_finding_in_json_too(engine, tmp_path):
    words = ("doctor", "--engine", engine, "--json")
    nowhere = {"DOCKER_HOST": "unix:///nowhere", "CONTAINER_HOST": "unix:///nowhere", "RAY_ADDRESS": "127.0.0.1:9"}
    done = rosetta(*words, cwd=tmp_path, PATH=str(tmp_path), HOME=str(tmp_path), **nowhere)
    assert done.returncode not in (0, 1), done.stderr
    assert any(each["state"] == "lacking" and each["said"] for each in json.loads(done.stdout))
