"""Verdicts and keys: what runs, what is done, what can't run and the most lasting reason why."""

from dataclasses import replace

import pytest

from orchestrator.cell.cell import Cell
from orchestrator.cell.parameters import dataset_of
from orchestrator.engines.process import ProcessEngine
from orchestrator.errors import SelectionError
from orchestrator.images.definitions import library_index
from orchestrator.images.image import image_for
from orchestrator.plan import verdicts
from orchestrator.plan.keys import key
from orchestrator.plan.verdicts import Verdict
from orchestrator.results.paths import ResultsFolder
from orchestrator.system.gpus import PLATFORMS
from orchestrator.system.host import Device, Host

CELL = Cell("pytorch", "rnn")


class Anything:
    """An engine that serves every image."""

    name = "docker"
    host = "here"
    stopping = False

    def unavailable(self, image):
        return None


ENGINE = Anything()


def only(cell: Cell, results, host: Host | None = None) -> verdicts.Planned:
    (planned,) = verdicts.plan_cells([cell], ENGINE, results, host or Host())
    return planned


def test_a_cell_is_ready_until_its_file_is_there(tmp_path):
    planned = only(CELL, tmp_path)
    assert planned.verdict is Verdict.READY
    assert planned.image == image_for("pytorch", "cpu")
    path = ResultsFolder(tmp_path).result(planned.key, CELL.id)
    path.parent.mkdir(parents=True)
    assert only(CELL, tmp_path).verdict is Verdict.READY
    path.touch()
    assert only(CELL, tmp_path).verdict is Verdict.DONE


@pytest.mark.parametrize(
    "change",
    [{"epochs": 2}, {"samples": 640}, {"repeat": 1}, {"data": "synthetic"}, {"library": "jax"}, {"workload": "cnn"}],
)
def test_the_key_covers_the_cell(change, tmp_path):
    assert only(CELL, tmp_path).key != only(replace(CELL, **change), tmp_path).key


def test_the_key_covers_the_engine(tmp_path):
    image = image_for("pytorch", "cpu")
    assert key(CELL, image, "docker") != key(CELL, image, "process")


@pytest.mark.parametrize(
    ("cell", "host", "reason"),
    [
        (Cell("pytorch", "rnn", "cuda8", "v100"), Host(), "CUDA 8.0 has no machine code for V100"),
        (Cell("chainer", "rnn", "cuda13", "h200"), Host(), "Chainer ended"),
        (Cell("no-such-library", "rnn"), Host(), "not implemented yet: no image for no-such-library"),
        (Cell("knet", "rnn"), Host(), "unverified: Julia's package registry was out of reach"),
        (Cell("pytorch", "rnn", precision="tf32"), Host(), "tf32 is measured on GPUs only"),
        (Cell("jax", "rnn", "cuda13", "h200", precision="amp-fp16"), Host(), "jax runs in fp32, tf32, amp-bf16 only"),
        (Cell("mxnet-2018", "cnn", "cuda9", "v100", precision="amp-fp16"), Host(), "mxnet-2018 runs in fp32 only"),
        (Cell("pytorch", "rnn", variant="no-such"), Host(), "not implemented yet: no workloads/rnn/pytorch_no_such.py"),
        (Cell("pytorch", "resnet50", variant="pretrained"), Host(), "unverified: the library's hub was out of reach"),
        (Cell("lasagne", "resnet50", variant="pretrained"), Host(), "no workloads/resnet50/lasagne_pretrained.py"),
    ],
)
def test_reasons(cell, host, reason, tmp_path):
    planned = only(cell, tmp_path, host)
    assert planned.verdict is Verdict.INCOMPATIBLE
    assert reason in planned.reason
    assert planned.image is None


def test_the_process_engine_adds_its_own_reasons(tmp_path):
    (planned,) = verdicts.plan_cells([Cell("cntk", "rnn")], ProcessEngine(), tmp_path, Host())
    assert planned.reason.startswith("without a container engine: ")


# --- Platforms with GPUs --------------------------------------------------------------------------------------------
JAX_GPU = Cell("jax", "rnn", "cuda13", "h200")
H200 = Host((Device("NVIDIA H200", "GPU-1"),), (580,))


def test_what_nobody_has_seen_work_runs_only_if_asked_for(tmp_path):
    assert only(JAX_GPU, tmp_path, H200).reason.startswith(verdicts.UNVERIFIED)
    (planned,) = verdicts.plan_cells([JAX_GPU], ENGINE, tmp_path, H200, unverified=True)
    assert planned.verdict is Verdict.READY
    (planned,) = verdicts.plan_cells([JAX_GPU], ENGINE, tmp_path, Host(), unverified=True)
    assert planned.reason == "no NVIDIA driver on this machine"


def test_weights_of_a_hub_are_fetched_and_belong_to_the_key(tmp_path):
    cell = Cell("pytorch", "resnet50", variant="pretrained")
    (planned,) = verdicts.plan_cells([cell], ENGINE, tmp_path, Host(), unverified=True)
    assert planned.verdict is Verdict.READY
    assert dataset_of(cell) == "resnet50-torchvision"
    assert dataset_of(replace(cell, variant="reference")) is None


def test_a_build_can_lack_machine_code_for_a_gpu_that_its_cuda_drives(tmp_path):
    assert "begin with V100" in only(Cell("pytorch", "rnn", "cuda12", "p100"), tmp_path).reason
    assert only(Cell("pytorch", "rnn", "cuda12", "v100"), tmp_path).reason.startswith(verdicts.UNVERIFIED)


def test_an_image_can_be_built_where_no_gpu_is():
    cells = [CELL, replace(CELL, workload="cnn"), JAX_GPU]
    assert verdicts.images_of(cells, ENGINE) == [image_for("pytorch", "cpu")]
    assert verdicts.images_of([JAX_GPU], ENGINE, unverified=True) == [image_for("jax", "cuda13")]


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (JAX_GPU, "--unverified takes also what nobody has seen work"),
        (Cell("mxnet", "rnn", "cuda12", "v100"), "MXNet was retired in 2023 without a build for CUDA 12"),
        (Cell("pytorch-2018", "rnn", "cuda8", "p100"), "PyPI has it for CUDA 9 alone"),
    ],
)
def test_a_build_of_nothing_says_why(cell, said):
    with pytest.raises(SelectionError, match=said):
        verdicts.images_of([cell], ENGINE)


def test_every_library_with_an_image_says_what_became_of_every_platform():
    for library, framework in library_index().items():
        for platform in PLATFORMS:
            reason = verdicts.library_reason(library, platform)
            assert bool(reason) == (platform not in framework.platforms), (library, platform)
            assert not (reason or "").startswith("not implemented"), library
