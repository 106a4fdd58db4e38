"""GPU images, as far as they can be proved without a GPU: every library that the framework needs is in the image.

An image whose CUDA stage can't be downloaded in a test is built on a folder of stand-ins: empty files with the names
that images/cuda.yaml declares. Then each name that a file of the framework needs must be found inside the image, among
the declared ones, or be the driver's own, which the engine brings along with the GPU.
"""

import json
import subprocess
from collections.abc import Collection
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import pytest

from benchmarks import gpu_images
from benchmarks.gpu_images import build_on, declared, stand_ins
from orchestrator.errors import BuildError
from orchestrator.images import architectures
from orchestrator.images.bakefile import bake
from orchestrator.images.building import inspect_images, run_bake
from orchestrator.images.definitions import cuda
from orchestrator.images.image import Image, dockerfile, every_image, image_for
from orchestrator.images.sources import Sources
from orchestrator.system.checkout import ROOT
from tests.containers import nvidia_archive

pytestmark = pytest.mark.container

DRIVER = {"libcuda.so.1", "libnvidia-ml.so.1"}
STUBBED = image_for("chainer-2018", "cuda8")  # the smallest: a download of 220 MB
TAG = "rosetta-test/chainer-2018:cuda8"
GPU_IMAGES = [image for image in every_image() if image.platform != "cpu"]


def first_layers(text: str) -> str:
    """The part of a Dockerfile with what all images of a platform share, and Debian's packages."""
    return text[: text.rindex("\nRUN ", 0, text.index("groupadd"))]


def in_image(tag: str, *command: str, text: str = "") -> str:
    words = ["docker", "run", "--rm", "--interactive", "--network=none", f"--entrypoint={command[0]}", tag]
    return subprocess.run([*words, *command[1:]], input=text, capture_output=True, text=True, check=True).stdout


def files_of(image: Image, tag: str) -> dict:
    """What ``needed.py`` sees in an image."""
    reader = (Path(__file__).parent / "needed.py").read_text()
    folder = f"/usr/local/lib/python{image.python}/site-packages"
    found: dict = json.loads(in_image(tag, "python", "-", folder, text=reader))
    assert len(found["needed"]) > 10
    return found


def absent(found: dict, declared: Collection[str]) -> dict[str, list[str]]:
    """The files that need something which is nowhere, and what."""
    there = {*found["held"], *declared, *DRIVER}
    files = {path: sorted(set(names) - there) for path, names in found["needed"].items()}
    return {
        path: names for path, names in files.items() if names and not any(fnmatch(path, p) for p in gpu_images.PLUGINS)
    }


@pytest.fixture(scope="module")
def stubbed(engine, tmp_path_factory):
    """An image on stand-ins, and what is in it."""
    build_on(stand_ins(tmp_path_factory.mktemp("cuda")), STUBBED, TAG)
    yield files_of(STUBBED, TAG)
    engine.images.remove(TAG)


def test_an_image_lacks_only_the_driver_s_libraries(stubbed):
    assert absent(stubbed, declared(STUBBED)) == {}
    wanted = {name for names in stubbed["needed"].values() for name in names}
    assert wanted & {"libcudart.so.8.0", "libcublas.so.8.0", "libnvrtc.so.8.0"} <= set(declared(STUBBED))
    assert "libcuda.so.1" in wanted


def test_every_declared_library_is_where_the_loader_looks(stubbed):
    assert set(in_image(TAG, "sh", "-c", "ls $LD_LIBRARY_PATH").split()) == set(declared(STUBBED))


def test_pins_of_another_cuda_version_are_found(stubbed):
    """The packages for CUDA 8 in an image for CUDA 9."""
    other = image_for("chainer-2018", "cuda9")
    missing = {name for names in absent(stubbed, declared(other)).values() for name in names}
    assert {"libcudart.so.8.0", "libcublas.so.8.0", "libnvrtc.so.8.0"} <= missing


def test_it_imports_on_stubs_of_the_driver_and_of_its_stage(stubbed):
    found = gpu_images.look_at(STUBBED, TAG, ())
    assert found.amiss == []
    assert found.imported["precision"]["cuDNN"] == "True"


def test_no_compiler_and_no_cache_is_left(stubbed):
    caches = "find /root/.cache /var/lib/apt/lists /tmp -type f 2>/dev/null"
    assert in_image(TAG, "sh", "-c", f"{caches}; command -v gcc cc c++ nvcc conda micromamba; true") == ""


def test_the_layer_with_cuda_is_shared_by_the_images_of_a_platform(stubbed, engine, tmp_path):
    """The first layers of another image, which does without what comes after them."""
    text = first_layers(dockerfile(image_for("mxnet-2018", "cuda8")))
    folder = stand_ins(tmp_path / "cuda") / "cuda8"
    command = ["docker", "buildx", "build", "--builder=default", "--quiet", f"--build-context=cuda={folder}"]
    command += ["--file=-", str(ROOT)]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ident = done.stdout.strip()
    try:
        first, second = (engine.images.get(name).attrs["RootFS"]["Layers"] for name in (TAG, ident))
        base = engine.images.get(STUBBED.spec.base).attrs["RootFS"]["Layers"]
        assert len(second) > len(base)
        assert first[: len(second)] == second
    finally:
        engine.images.remove(ident)


def test_a_folder_without_a_declared_library_is_named(engine, tmp_path):
    folder = stand_ins(tmp_path / "cuda")
    (folder / "cuda8" / "libcufft.so.8.0").unlink()
    with pytest.raises(BuildError, match=r"no libcufft\.so\.8\.0"):
        build_on(folder, STUBBED, TAG)


# --- Where CUDA comes from ------------------------------------------------------------------------------------------
BRIDGE = "172.17.0.1"
STAGE = cuda().stages["cuda8"]
FETCHED = "rosetta-test/cuda:cuda8"


@pytest.fixture
def nvidia(tmp_path):
    """An archive like NVIDIA's with the pinned packages, its address for builds, and the fingerprint of its key."""
    folder = tmp_path / "archive"
    folder.mkdir()
    names = [*STAGE.toolkit, *STAGE.cudnn]
    packages = [(pin, names if number == 0 else [f"libother{number}.so"]) for number, pin in enumerate(STAGE.apt)]
    fingerprint = nvidia_archive.archive(folder, tmp_path / "gnupg", packages)
    with nvidia_archive.served(folder, BRIDGE) as address:
        yield folder, address, fingerprint


def fetch(source, changes):
    """Build what all images of a platform share, with CUDA from a source whose addresses are changed."""
    file = bake([STUBBED], replace(Sources.from_environment(), cuda=None, cuda_source=source))
    target = file["target"][STUBBED.name]
    text = first_layers(target["dockerfile-inline"])
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    run_bake({**file, "target": {STUBBED.name: {**target, "dockerfile-inline": text, "tags": [FETCHED]}}}, print)


def in_place_of_nvidia(address, fingerprint):
    source = cuda().sources["nvidia-apt"]
    return {" ".join(source.archives): address, " ".join(source.trusted): f"key.pub={fingerprint}"}


def test_cuda_comes_from_a_signed_archive(nvidia, engine):
    folder, address, fingerprint = nvidia
    fetch("nvidia-apt", in_place_of_nvidia(address, fingerprint))
    try:
        assert in_image(FETCHED, "sh", "-c", "cat /usr/local/cuda/lib64/libcufft.so.8.0").startswith(
            "libcufft.so.8.0 of"
        )
        assert set(in_image(FETCHED, "ls", "/usr/local/cuda/lib64").split()) == set(STAGE.toolkit)
    finally:
        engine.images.remove(FETCHED)
    with next(folder.glob("cuda-cufft*.deb")).open("ab") as package:
        package.write(b"more")
    with pytest.raises(BuildError, match=r"cufft|Hash Sum mismatch|unexpected size"):
        fetch(
            "nvidia-apt",
            {**in_place_of_nvidia(address, fingerprint), "sh /cuda-stage.sh apt": "sh  /cuda-stage.sh apt"},
        )


def test_an_archive_with_another_key_is_refused(nvidia):
    _, address, _ = nvidia
    with pytest.raises(BuildError, match="not the key with the fingerprint"):
        fetch("nvidia-apt", in_place_of_nvidia(address, "0" * 40))


def test_cuda_comes_from_installers_that_have_their_hashes(tmp_path, engine):
    """An installer like NVIDIA's: a script that unpacks what follows its own text, and in it another."""
    installers = nvidia_archive.installers(tmp_path, STAGE.toolkit, STAGE.cudnn)
    with nvidia_archive.served(tmp_path, BRIDGE) as address:
        given = [f"{digest}={address}/{name}" for name, digest in installers]
        changes = dict(zip(STAGE.checked, given, strict=True))
        fetch("nvidia-files", changes)
        try:
            said = in_image(FETCHED, "cat", "/usr/local/cuda/lib64/libnvrtc.so.8.0")
            assert said == "libnvrtc.so.8.0\n"
        finally:
            engine.images.remove(FETCHED)
        with pytest.raises(BuildError, match=r"FAILED|did NOT match"):
            fetch("nvidia-files", {**changes, STAGE.checked[1]: given[1].replace(given[1][:64], "0" * 64)})


# --- Those that are whole -------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("name", "capability"), [("pytorch-2018-cuda9", (7, 0)), ("tensorflow-2018-cuda8", (6, 0))])
def test_an_image_for_gpus_imports_on_stubs_and_has_all_it_needs(name, capability, engine):
    """Two small ones; `python benchmarks/gpu_images.py` does the same with all of them, and their parity."""
    image = next(image for image in GPU_IMAGES if image.name == name)
    found = gpu_images.examined(image, workloads=())
    assert found.amiss == []
    assert found.imported["version"] == image.spec.version
    assert found.imported["operations"] > 100
    assert found.scan is not None
    assert architectures.runs_on(found.scan, capability).support is architectures.Support.NATIVE


def test_whatever_gpu_images_are_on_this_engine(engine):
    """They are too large to be built here; but where somebody has built one, it has to be complete."""
    there = inspect_images([image.tag for image in GPU_IMAGES])
    for image in GPU_IMAGES:
        if image.tag in there:
            print(image.name)
            assert absent(files_of(image, there[image.tag]["Id"]), declared(image)) == {}, image.name
