"""A cell as a command of Apptainer's: nothing of the caller's gets in, GPUs go by UUID."""

from pathlib import Path

from orchestrator.cell.cell import Cell
from orchestrator.engines.apptainer_command import Folders, Limits, invocation
from orchestrator.engines.podman import listed_devices
from orchestrator.engines.podman_images import build_command
from orchestrator.engines.protocol import Task

TASK = Task(Cell("pytorch", "rnn", data="synthetic"), None, "key", "run")
SIF, RESULTS = Path("/cache/x.sif"), Path("/r")


def test_a_cell_is_contained_and_has_no_network():
    argv = invocation(SIF, TASK, Folders(RESULTS)).argv
    assert {"--containall", "--cleanenv", "--userns", "--no-privs", "--no-home"} <= set(argv)
    assert argv[argv.index("--network") + 1] == "none"
    assert "--nv" not in argv
    assert argv[argv.index(str(SIF)) + 1 :][:2] == ["pytorch", "rnn"]


def test_where_a_site_forbids_namespaces_of_the_network_none_is_asked_for():
    assert "--net" not in invocation(SIF, TASK, Folders(RESULTS), network=True).argv


def test_nothing_of_the_callers_variables_reaches_a_cell(monkeypatch):
    for name in ("APPTAINERENV_TOKEN", "SINGULARITYENV_TOKEN", "APPTAINER_BIND", "TOKEN"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("APPTAINER_CACHEDIR", "/roomy")
    variables = invocation(SIF, TASK, Folders(RESULTS)).variables
    assert "secret" not in variables.values()
    assert variables["APPTAINER_CACHEDIR"] == "/roomy"


def test_gpus_go_by_uuid_and_kernels_are_kept():
    done = invocation(SIF, TASK, Folders(RESULTS, kernels=Path("/k")), gpus=("GPU-1", "GPU-2"))
    assert "--nv" in done.argv
    assert done.variables["APPTAINERENV_CUDA_VISIBLE_DEVICES"] == "GPU-1,GPU-2"
    assert done.variables["APPTAINERENV_CUDA_CACHE_PATH"] == "/kernels/cache"


def test_data_is_read_only_and_a_path_may_have_commas_and_quotes():
    argv = invocation(SIF, TASK, Folders(RESULTS, data=Path('/a,b"c'))).argv
    assert '--mount=type=bind,"src=/a,b""c",dst=/data,ro' in argv


def test_limits_are_those_of_processes_or_of_control_groups():
    by_processes = invocation(SIF, TASK, Folders(RESULTS), Limits((0, 2), 1000)).argv
    assert {"--data=1000", "--nproc=2048"} <= set(by_processes)
    assert by_processes[by_processes.index("--cpu-list") + 1] == "0,2"
    by_groups = invocation(SIF, TASK, Folders(RESULTS), Limits((0, 2), 1000, by_groups=True)).argv
    assert {"--memory=1000", "--memory-swap=1000", "--pids-limit=2048"} <= set(by_groups)
    assert "--data=1000" not in by_groups


def test_podman_builds_from_the_same_target_as_bake():
    target = {
        "platforms": ["linux/amd64"],
        "contexts": {"wheels": "/w"},
        "args": {"A": "1"},
        "labels": {"rosetta.recipe": "r"},
        "secret": ["id=ca,src=/ca"],
        "tags": ["rosetta/x:1-cpu"],
        "context": "/program",
    }
    words = build_command(target, Path("/f"), Path("/id"))
    assert words[:2] == ["podman", "build"]
    assert {"--build-context=wheels=/w", "--build-arg=A=1", "--secret=id=ca,src=/ca", "--iidfile=/id"} <= set(words)
    assert words[-1] == "/program"


def test_device_lists_name_gpus_and_a_broken_one_names_none(monkeypatch, tmp_path):
    monkeypatch.setattr("orchestrator.engines.podman.DEVICE_LISTS", (tmp_path, tmp_path / "none"))
    (tmp_path / "nvidia.yaml").write_text("kind: nvidia.com/gpu\ndevices: [{name: GPU-1}, {name: all}]\n")
    (tmp_path / "broken.json").write_text("[")
    (tmp_path / "other.json").write_text('{"kind": "x/y"}')
    assert listed_devices() == {"nvidia.com/gpu=GPU-1", "nvidia.com/gpu=all"}
