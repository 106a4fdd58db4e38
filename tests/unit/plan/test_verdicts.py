"""Verdicts and keys: what runs, what is done, what can't run and the most lasting reason why."""

from dataclasses import replace

import pytest

from orchestrator.cell.cell import Cell
from orchestrator.cell.parameters import dataset_of
from orchestrator.engines.process import ProcessEngine
from orchestrator.errors import SelectionError
from orchestrator.images.architectures import Scan
from orchestrator.images.definitions import library_index
from orchestrator.images.image import image_for
from orchestrator.plan import verdicts
from orchestrator.plan.keys import key
from orchestrator.plan.verdicts import Verdict
from orchestrator.report import plan_screen
from orchestrator.results.files import read_results, write_row
from orchestrator.results.paths import ResultsFolder
from orchestrator.results.rows import incompatible_row
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

    def machine_code(self, image):
        return None

    def built_on(self, image):
        return ""


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
        (Cell("lasagne", "rnn", "cuda8", "v100"), Host(), "no machine code for sm_70 in CUDA 8.0 (has 20, 30"),
        (Cell("mxnet-2018", "rnn", "cuda8", "v100"), Host(), "no machine code for sm_70 in mxnet-2018 1.5.0 (has 30"),
        (Cell("chainer-2018", "rnn", "cuda9", "a100"), Host(), "no machine code for sm_80 in chainer-2018 4.5.0"),
        (Cell("mxnet-2018", "cnn", "cuda9", "k80", precision="fp32"), Host(), "no NVIDIA driver on this machine"),
        (Cell("pytorch", "rnn", "cuda8", "v100"), Host(), "PyTorch 2 began with CUDA 11"),
        (Cell("chainer", "rnn", "cuda13", "h200"), Host(), "Chainer ended"),
        (Cell("no-such-library", "rnn"), Host(), "not implemented yet: no image for no-such-library"),
        (Cell("knet", "rnn"), Host(), "unverified: Julia's package registry was out of reach"),
        (Cell("pytorch", "rnn", precision="tf32"), Host(), "tf32 is measured on GPUs only"),
        (Cell("jax", "rnn", "cuda13", "h200", precision="amp-fp16"), Host(), "jax runs in fp32, tf32, amp-bf16 only"),
        (Cell("mxnet-2018", "cnn", "cuda9", "v100", precision="amp-fp16"), Host(), "mxnet-2018 runs in fp32 only"),
        (Cell("pytorch", "rnn", variant="no-such"), Host(), "not implemented yet: no workloads/rnn/pytorch_no_such.py"),
        (Cell("pytorch", "resnet50", variant="pretrained"), Host(), "unverified: written without access to"),
        (Cell("lasagne", "resnet50", variant="pretrained"), Host(), "no workloads/resnet50/lasagne_pretrained.py"),
    ],
)
def test_reasons(cell, host, reason, tmp_path):
    planned = only(cell, tmp_path, host)
    assert planned.verdict is Verdict.INCOMPATIBLE
    assert reason in planned.reason
    assert planned.image is None


FERMI = Host((Device("GeForce GTX 480", "GPU-1", capability=(2, 0)),), (390, 157))


@pytest.mark.parametrize(
    "library", ["mxnet-2018", "gluon-2018", "mxnet-r", "tensorflow-2018", "keras-tf-2018", "chainer-2018", "caffe2"]
)
def test_what_cuda_8_has_code_for_is_not_what_its_frameworks_have(library, tmp_path):
    planned = only(Cell(library, "rnn", "cuda8", "gtx-480"), tmp_path, FERMI)
    assert planned.reason.startswith("no machine code for sm_20 in ")
    k80 = Host((Device("Tesla K80", "GPU-1", capability=(3, 7)),), (470, 57))
    assert only(Cell(library, "rnn", "cuda8", "k80"), tmp_path, k80).verdict is Verdict.READY


def test_no_image_at_all_is_an_error_also_where_images_are_only_printed():
    with pytest.raises(SelectionError, match="No selected cell has an image") as caught:
        verdicts.images_that_exist([Cell("jax", "rnn", "cuda9", "rtx-4090")])
    assert "jaxlib 0.1.50" in caught.value.why
    cells = [
        Cell("jax", "rnn", "cuda9", "k80"),
        Cell("jax", "rnn", "cuda12", "k80"),
        Cell("jax", "cnn", "cuda12", "k80"),
    ]
    assert [image.name for image in verdicts.images_that_exist(cells)] == ["jax-cuda12"]


def test_the_process_engine_adds_its_own_reasons(tmp_path):
    (planned,) = verdicts.plan_cells([Cell("cntk", "rnn")], ProcessEngine(), tmp_path, Host())
    assert planned.reason.startswith("without a container engine: ")


# --- What images are built on ---------------------------------------------------------------------------------------
class BuiltOn(Anything):
    """An engine whose images are built on this."""

    def __init__(self, base):
        self.base = base

    def built_on(self, image):
        return self.base


def test_a_stand_in_for_a_base_has_results_of_its_own_and_is_named_at_the_end_of_the_plan(tmp_path):
    locked, stand_in = f"python:3.11@sha256:{'a' * 64}", f"python:3.11 (stand-in sha256:{'b' * 64})"
    found = {}
    for base in (locked, stand_in):
        (planned,) = verdicts.plan_cells([CELL], BuiltOn(base), tmp_path, Host())
        assert planned.as_json()["base"] == planned.columns["base"] == base
        found[base] = planned
    assert found[locked].key != found[stand_in].key
    said = ["".join(line) for line in plan_screen.lines(list(found.values()), None, False)]
    assert said[-1] == f"base without a digest, 1 cell: {stand_in}"
    assert locked not in "\n".join(said)


# --- Platforms with GPUs --------------------------------------------------------------------------------------------
JAX_GPU = Cell("jax", "rnn", "cuda13", "h200")
H200 = Host((Device("NVIDIA H200", "GPU-1"),), (580,))


def test_what_nobody_has_seen_work_is_ready_where_its_card_is_and_says_so(tmp_path):
    planned = only(JAX_GPU, tmp_path, H200)
    assert planned.verdict is Verdict.READY
    assert planned.note.startswith(verdicts.UNVERIFIED)
    planned = only(JAX_GPU, tmp_path)
    assert (planned.reason, planned.lacks_gpu) == ("no NVIDIA driver on this machine", True)


def host_of(name: str, capability: tuple[int, int] | None, driver: tuple[int, ...] = (580,)) -> Host:
    return Host((Device(name, "GPU-1", capability=capability),), driver)


def test_a_card_that_no_table_knows_is_judged_by_its_capability(tmp_path):
    ready = only(Cell("pytorch", "rnn", "cuda12", "rtx-4090"), tmp_path, host_of("NVIDIA GeForce RTX 4090", (8, 9)))
    assert ready.verdict is Verdict.READY  # code for 8.6 runs on 8.9
    old = only(Cell("pytorch", "rnn", "cuda12", "k80"), tmp_path, host_of("Tesla K80", (3, 7)))
    assert old.reason.startswith("no machine code for sm_37 in pytorch 2.13.0 (has 50, 60, 70")
    absent = only(Cell("pytorch", "rnn", "cuda12", "rtx-9090"), tmp_path, host_of("NVIDIA GeForce RTX 4090", (8, 9)))
    assert absent.reason == "no RTX 9090 on this machine"
    new = only(Cell("jax", "rnn", "cuda13", "x300"), tmp_path, host_of("NVIDIA X300", (14, 0)))
    assert new.reason.startswith("no machine code for sm_140 in CUDA 13.0")


def test_of_a_card_whose_capability_nobody_knows_is_said_that_nothing_was_checked(tmp_path):
    cell = Cell("pytorch", "rnn", "cuda12", "rtx-9090")
    unknown = only(cell, tmp_path, host_of("NVIDIA GeForce RTX 9090", None))
    assert (unknown.verdict, unknown.note.endswith("; " + verdicts.UNTOLD)) == (Verdict.READY, True)
    assert verdicts.UNTOLD not in only(cell, tmp_path, host_of("NVIDIA GeForce RTX 9090", (9, 0))).note
    assert verdicts.UNTOLD not in only(JAX_GPU, tmp_path, H200).note  # a table knows it


def test_several_slices_are_never_one_cells(tmp_path):
    part = "NVIDIA A100-SXM4-40GB MIG 3g.20gb"
    host = Host(tuple(Device(part, f"MIG-{number}", capability=(8, 0)) for number in (1, 2)), (580,))
    both = only(Cell("pytorch", "densenet121", "cuda12", "a100-3g-20gb", n_gpus=2), tmp_path, host)
    assert both.reason == "a CUDA program sees only one MIG slice, but 2 GPUs are needed"


class Looked(Anything):
    """An engine whose images have code for these."""

    def __init__(self, **code):
        self.scan = Scan.model_validate(
            {"libraries": {"libframework.so": {"fat_binaries": [{"times": 3, **code}], "size": 9}}, "unreadable": {}}
        )

    def machine_code(self, image):
        return self.scan


def test_what_was_found_in_an_image_decides(tmp_path):
    cell, host = Cell("jax", "rnn", "cuda12", "l40s"), host_of("NVIDIA L40S", (8, 9))
    (native,) = verdicts.plan_cells([cell], Looked(binaries=["80"], ptx=[]), tmp_path, host)
    assert (native.verdict, "compiles" in native.note) == (Verdict.READY, False)
    (compiling,) = verdicts.plan_cells([cell], Looked(binaries=["70"], ptx=["70"]), tmp_path, host)
    assert compiling.verdict is Verdict.READY
    assert "no machine code for sm_89" in compiling.note
    assert compiling.note.endswith("the driver compiles it at the first start")
    (missing,) = verdicts.plan_cells([cell], Looked(binaries=["70", "90"], ptx=[]), tmp_path, host)
    assert missing.reason == "no machine code for sm_89 in libframework.so (has 70, 90)"


def test_a_slice_of_a_divided_card_is_a_card_of_its_own(tmp_path):
    whole = Device("NVIDIA A100-SXM4-40GB", "GPU-1", mig=True, capability=(8, 0))
    part = Device("NVIDIA A100-SXM4-40GB MIG 3g.20gb", "MIG-1", capability=(8, 0))
    host = Host((whole, part), (535, 104, 5))
    assert host.models == ("a100-3g-20gb",)
    assert only(Cell("pytorch", "rnn", "cuda12", "a100-3g-20gb"), tmp_path, host).verdict is Verdict.READY
    refused = only(Cell("pytorch", "rnn", "cuda12", "a100"), tmp_path, host)
    assert refused.reason == "no A100 on this machine that is not divided by MIG"


def test_weights_of_a_hub_are_fetched_and_belong_to_the_key(tmp_path):
    cell = Cell("pytorch", "resnet50", variant="pretrained")
    (planned,) = verdicts.plan_cells([cell], ENGINE, tmp_path, Host(), unverified=True)
    assert planned.verdict is Verdict.READY
    assert dataset_of(cell) == "resnet50-torchvision"
    assert dataset_of(replace(cell, variant="reference")) is None


def test_a_build_can_lack_machine_code_for_a_gpu_that_its_cuda_drives(tmp_path):
    said = "no machine code for sm_37 in pytorch 2.13.0 (has 50, 60, 70, 75, 80, 86, 90)"
    assert only(Cell("pytorch", "rnn", "cuda12", "k80"), tmp_path).reason == said
    assert only(Cell("pytorch", "rnn", "cuda12", "v100"), tmp_path).lacks_gpu


def test_an_image_can_be_built_where_no_gpu_is():
    cells = [CELL, replace(CELL, workload="cnn"), JAX_GPU]
    assert verdicts.images_of(cells, ENGINE) == [image_for("pytorch", "cpu"), image_for("jax", "cuda13")]


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (Cell("knet", "rnn"), "Use --unverified to include images"),
        (Cell("mxnet", "rnn", "cuda12", "v100"), "the project was retired in 2023"),
        (Cell("cntk", "rnn", "cuda8", "p100"), "earlier wheels were on Microsoft's own server"),
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


@pytest.mark.parametrize(
    ("workload", "samples", "n_gpus", "reason"),
    [
        ("rnn", 63, 1, "63 samples: rnn takes at least 64"),
        ("cnn", 1, 1, "1 sample: cnn takes at least 64"),
        ("rnn", 64, 1, ""),
        ("densenet121", 8, 8, ""),
        ("densenet121", 7, 8, "7 samples: densenet121 takes at least 8"),
    ],
)
def test_a_cell_needs_a_batch_of_samples_or_one_for_each_worker(workload, samples, n_gpus, reason):
    cell = replace(CELL, workload=workload, samples=samples, n_gpus=n_gpus, data="synthetic")
    assert (verdicts.length_reason(cell) or "") == reason


def test_a_cell_with_too_few_samples_has_a_row_that_is_read(tmp_path):
    row = incompatible_row(replace(CELL, samples=10), "10 samples: rnn takes at least 64", "docker")
    write_row(row, tmp_path / "row.parquet")
    assert read_results(tmp_path / "row.parquet").to_pylist()[0]["samples"] is None
