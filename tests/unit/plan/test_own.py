"""Which scripts fit what is installed, and which cells come of it."""

from dataclasses import replace

import pytest

from orchestrator.cell.cell import OWN, Cell
from orchestrator.images.installation import Facts
from orchestrator.plan import own
from orchestrator.plan.verdicts import Verdict
from orchestrator.system.host import Device, Host
from tests.unit.images.test_installation import installed

CARD = Host((Device("NVIDIA H200", "GPU-1", capability=(9, 0)),), (580, 65))
CELLS = [
    Cell(library, workload, platform, gpu, data="synthetic", epochs=1, samples=64)
    for library in ("pytorch", "pytorch-2018", "jax")
    for workload in ("cnn", "rnn")
    for platform, gpu in (("cpu", "none"), ("cuda12", "h200"), ("cuda13", "h200"), ("cuda13", "v100"))
]


def found(module: str, version: str, **packages: str) -> dict[str, str]:
    """Reasons by library, empty for one that can be measured, of an installation with one module asked."""
    packages = {"numpy": "2.0", module: version, **packages}
    there = installed(packages=packages, modules=dict.fromkeys(packages, "/somewhere"))
    entries = own.found_in(there, {module: Facts(module=module, version=version)})
    return {entry.line.library: entry.reason for entry in entries}


@pytest.mark.parametrize(
    ("module", "version", "packages", "fitting"),
    [
        ("torch", "2.13.0+cpu", {}, {"pytorch"}),
        ("torch", "2.3.1", {}, {"pytorch"}),
        ("torch", "2.11.0a0+git1234", {"keras": "3.9.0"}, {"pytorch", "keras-torch"}),
        ("torch", "2.2.2", {}, {"pytorch-2018"}),
        ("torch", "1.0.1", {"keras": "2.2.4"}, {"pytorch-2018"}),
        ("tensorflow", "2.18.0", {"keras": "3.7.0"}, {"tensorflow", "keras-tf"}),
        ("tensorflow", "1.12.3", {"keras": "2.2.4"}, {"tensorflow-2018", "keras-tf-2018"}),
        ("jax", "0.8.0", {"flax": "0.12.0", "optax": "0.2.6"}, {"jax"}),
        ("mxnet", "1.9.1", {}, {"mxnet", "gluon"}),
        ("mxnet", "1.5.1", {}, {"mxnet-2018", "gluon-2018"}),
        ("chainer", "4.5.0", {}, {"chainer-2018"}),
    ],
)
def test_the_nearest_scripts_are_taken_by_the_version(module, version, packages, fitting):
    assert {library for library, reason in found(module, version, **packages).items() if not reason} == fitting


@pytest.mark.parametrize(
    ("module", "version", "packages", "library", "reason"),
    [
        ("tensorflow", "2.12.0", {"keras": "2.12.0"}, "tensorflow", "older than 2.16: it lacks Keras 3"),
        ("tensorflow", "2.18.0", {}, "tensorflow", "keras, which the scripts import, is not installed"),
        ("jax", "0.4.38", {"flax": "0.10.2", "optax": "0.2.4"}, "jax", "flax 0.10.2 is older than 0.12, which brought"),
        ("jax", "0.8.0", {}, "jax", "flax, which the scripts import, is not installed"),
        ("torch", "unknown", {}, "pytorch", "torch does not report its version"),
    ],
)
def test_what_a_version_lacks_is_said(module, version, packages, library, reason):
    assert reason in found(module, version, **packages)[library]


def test_a_module_that_can_not_be_imported_and_numpy_that_is_not_there_are_reasons():
    there = installed(modules={"torch": "/somewhere"}, packages={"torch": "2.13.0"})
    (broken,) = own.found_in(there, {"torch": Facts(module="torch", error="ImportError: libcudart")})
    assert broken.reason == "torch can't be imported: ImportError: libcudart"
    (bare,) = own.found_in(there, {"torch": Facts(module="torch", version="2.13.0")})
    assert bare.reason.startswith("NumPy, which the scripts need, is not installed")


def entries(**facts) -> list[own.Found]:
    return own.found_in(installed(), {"torch": Facts(module="torch", version="2.13.0", **facts)})


@pytest.mark.parametrize(
    ("facts", "host", "gpus"),
    [
        ({"cuda": "13.0", "cards": 1}, CARD, {"h200"}),
        ({"cuda": None, "cards": 0}, CARD, {"none"}),  # a build for CPUs
        ({"cuda": "13.0", "cards": 0}, CARD, {"none"}),  # one whose driver is too old
        ({"cuda": "13.0", "cards": 1}, replace(CARD, imagined=True), {"none"}),
        ({"cuda": "13.0", "cards": 0}, Host(), {"none"}),
    ],
)
def test_cells_are_on_the_gpus_that_the_installation_can_use_each_once(facts, host, gpus):
    cells = own.own_cells(CELLS, entries(**facts), host)
    assert {cell.gpu for cell in cells} == gpus
    assert {(cell.library, cell.platform) for cell in cells} == {("pytorch", OWN)}
    assert len(cells) == 2
    assert len(own.own_cells(CELLS[:1], entries(**facts), Host())) == 1


def test_a_cell_is_ready_then_done_and_another_package_makes_it_ready_again(tmp_path):
    (cell,) = own.own_cells(CELLS[:1], entries(), Host())

    def plan(**packages: str):
        there = installed(packages={"torch": "2.13.0", "numpy": "2.3.5", **packages})
        (one,) = own.planned([cell], entries(), there, "mine", "process", tmp_path, Host())
        return one

    first = plan()
    assert (first.verdict, first.cell.id, first.image.tag) == (Verdict.READY, "pytorch/cnn/own", "mine")
    path = tmp_path / "cells" / first.key / f"{first.cell.id}.parquet"
    path.parent.mkdir(parents=True)
    path.touch()
    assert plan().verdict is Verdict.DONE
    assert plan(mkl="2026.1").verdict is Verdict.READY


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"precision": "tf32"}, "measured on GPUs only"),
        ({"precision": "tf32", "gpu": "h200"}, ""),
        ({"gpu": "v100"}, "0 × V100 on this machine"),
        ({"n_gpus": 2}, "measured on one GPU"),
        ({"n_gpus": 2, "gpu": "h200", "workload": "densenet121"}, "1 × H200 on this machine, but 2 are needed"),
        ({"variant": "unheard-of"}, "not implemented yet"),
        ({"precision": "amp-fp16", "gpu": "h200"}, ""),
    ],
)
def test_a_cell_that_can_not_run_has_its_reason(tmp_path, changes, reason):
    old = own.found_in(installed(), {"torch": Facts(module="torch", version="2.5.1")})
    cell = replace(CELLS[0], platform=OWN, **changes)
    (one,) = own.planned([cell], old, installed(), "mine", "process", tmp_path, CARD)
    assert reason in one.reason
    assert (one.verdict is Verdict.INCOMPATIBLE) == bool(reason)
