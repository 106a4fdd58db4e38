import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from orchestrator.errors import BuildError, DiskError, EngineError, EngineGoneError, MatrixError, UnreachableError
from orchestrator.images import records
from orchestrator.images.bakefile import bake, printed, workloads_digest
from orchestrator.images.building import Steps, build_images, explained, is_current, running
from orchestrator.images.definitions import (
    chosen,
    cuda,
    frameworks,
    library_index,
    read_framework,
)
from orchestrator.images.image import Image, dockerfile, every_image, image_for, packages_of, read_lock, template
from orchestrator.images.locks import write_locks
from orchestrator.images.pins import pinned
from orchestrator.images.proxies import NAMES
from orchestrator.images.sources import Sources
from orchestrator.plan.selection import known_words
from orchestrator.system.checkout import ROOT
from tests.unit.images.toy import TOY, toy, written

GOLDEN = Path(__file__).parent / "golden"
WRITE_GOLDEN = os.environ.get("ROSETTA_GOLDEN") == "write"  # 'make golden'
EVERY = every_image()
PYTORCH = image_for("pytorch", "cpu")
VARIABLES = (*NAMES, "ROSETTA_CA_BUNDLE", "ROSETTA_PIP_CONF", "ROSETTA_WHEELS", "ROSETTA_CUDA")
VARIABLES += ("PIP_CERT", "SSL_CERT_FILE", "PIP_FIND_LINKS")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def wheel(folder, name, version, requires="", tag="py3-none-any"):
    """A real wheel with one module that knows its version."""
    stem = f"{name}-{version}"
    path = folder / f"{stem}-{tag}.whl"
    info = f"{stem}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Requires-Dist: {requires}\n" if requires else ""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", f"version = {version!r}\n")
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


# --- Dockerfiles ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("image", EVERY, ids=lambda image: image.name)
def test_dockerfile_is_the_golden_one(image):
    path = GOLDEN / f"{image.name}.Dockerfile"
    if WRITE_GOLDEN:
        path.write_text(dockerfile(image))
    assert path.is_file(), f"There is no {path.relative_to(ROOT)} yet: make golden"
    assert dockerfile(image) == path.read_text(), "If the new Dockerfile is as meant: make golden"


def test_every_golden_file_has_an_image():
    others = [path for path in GOLDEN.glob("*.Dockerfile") if path.stem not in {image.name for image in EVERY}]
    if WRITE_GOLDEN:
        for path in others:
            path.unlink()
    assert [path.name for path in others if path.exists()] == [], "Of no image any more: make golden removes them"


def test_hadolint_has_no_complaint():
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, *sorted(GOLDEN.glob("*.Dockerfile"))], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.mark.parametrize("image", EVERY, ids=lambda image: image.name)
def test_the_workloads_are_the_last_layer(image):
    instructions = re.findall(r"(?m)^[A-Z]+", dockerfile(image).rpartition("\nFROM ")[2])
    assert [word for word in instructions if word in ("RUN", "COPY", "ADD", "WORKDIR")][-2:] == ["WORKDIR", "RUN"]
    assert "source=workloads,target=/from" in dockerfile(image).rpartition("\nWORKDIR /workloads\n")[2]
    assert "USER" not in instructions


def test_a_name_that_the_template_can_not_fill_is_an_error(definitions):
    with (definitions / "Dockerfile.j2").open("a") as file:
        file.write("ENV GPU={{ gpu }}\n")
    with pytest.raises(MatrixError, match=r"Dockerfile.j2 .*toy-cpu: 'gpu' is undefined"):
        dockerfile(toy())


def test_folders_of_other_images_are_there_before_the_system_is_set_up():
    text = dockerfile(toy(copies=[{"image": "julia:1.9-bookworm", "path": "/usr/local/julia"}], setup=["true"]))
    lines = text.splitlines()
    place = {line: number for number, line in enumerate(lines)}
    first, then = "FROM julia:1.9-bookworm AS copy1", "FROM python:3.11-slim-bookworm AS toy-cpu"
    copy = "    --mount=type=bind,from=copy1,source=/usr/local/julia,target=/from \\"
    assert place[first] < place[then] < place[copy] < place[" && true \\"]


def test_what_builds_packages_is_installed_first_and_without_isolation():
    image = toy(build=["setuptools==65.5.1"])
    first, second = image.pip_installs(Path("/locks"), Path("/wheels"))
    assert first == [
        "--find-links=/wheels", "--require-hashes", "--no-deps", "--requirement=/locks/toy-cpu.build.txt",
        "--only-binary=:all:",
    ]  # fmt: skip
    assert second[3:] == ["--requirement=/locks/toy-cpu.txt", "--no-build-isolation"]


# --- Definitions ----------------------------------------------------------------------------------------------------
def test_each_library_has_one_framework_and_one_image():
    assert image_for("pytorch", "cpu").tag == "rosetta/pytorch:2.13.0-cpu"
    assert image_for("keras-cntk", "cpu") is image_for("keras-cntk", "cpu")
    assert image_for("keras-cntk", "cpu") == image_for("cntk", "cpu")
    assert image_for("gluon", "cpu").framework is frameworks()["mxnet"]
    assert image_for("pytorch", "cuda8") is None
    assert image_for("no-such-library", "cpu") is None
    assert {Image(frameworks()["mxnet"], "cpu"), image_for("gluon", "cpu")} == {image_for("mxnet", "cpu")}


def test_a_new_library_is_one_file(definitions):
    written(definitions, TOY)
    (definitions / "locks" / "toy-cpu.txt").write_text("toy==1.0 --hash=sha256:00\n")
    image = image_for("toy", "cpu")
    assert "LABEL rosetta=true" in dockerfile(image)
    assert "toy" in set(known_words()["library"])
    assert packages_of(image) == ["toy==1.0"]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"bases": "debian"}, "toy.yaml: bases: unknown key"),
        ({"platforms": {"cpu": {"cudnn": "7", **TOY["platforms"]["cpu"]}}}, "platforms.cpu.cudnn: unknown key"),
        ({"cuda": ["nccl"]}, "toy.yaml: cuda.0: must be 'toolkit' or 'cudnn'"),
        (
            {"platforms": {"cuda9": {**TOY["platforms"]["cpu"], "architectures": ["sm_70"]}}},
            "architectures",
        ),
        ({"platforms": {"cuda31": TOY["platforms"]["cpu"]}}, "unknown platform 'cuda31'; known: cpu, cuda8"),
        ({"unavailable": {"cuda31": "no"}}, "unknown platform 'cuda31'"),
        ({"platforms": {"cpu": {"version": "1.0"}}}, "toy.yaml: platforms.cpu.requirements: is missing"),
        ({"python": "2.7"}, "toy.yaml: python: "),
        ({"environment": {"A": 'say "hi"'}}, "toy.yaml: environment.A: "),
        ({"platforms": {"cpu": {**TOY["platforms"]["cpu"], "extra_index": "https://me:pw@x/"}}}, "may have no login"),
        ({"platforms": {"cpu": {**TOY["platforms"]["cpu"], "extra_index": "https://x/\nRUN"}}}, "extra_index: has"),
        ({"platforms": {"cpu": {**TOY["platforms"]["cpu"], "extra_index": "x"}}}, "extra_index: has"),
        ({"platforms": {"cpu": {**TOY["platforms"]["cpu"], "unlocked": ["--index-url=x"]}}}, "unlocked.0: has"),
        ({"platforms": {"cpu": {**TOY["platforms"]["cpu"], "unlocked": ["https://me:pw@x/t-1-x.whl"]}}}, "no login"),
        ({"framework": "doll"}, "toy.yaml: framework: doll must match the file name"),
        ({"libraries": {}}, "toy.yaml: libraries: "),
        ({"unavailable": {"cpu": "no"}}, "cpu is under both platforms and unavailable.\nRemove it from one of them"),
        ({"platfroms": {}}, "toy.yaml: platfroms: unknown key.\nDid you mean 'platforms'?"),
        (
            {"libraries": {"toy": {**TOY["libraries"]["toy"], "package": "doll"}}},
            "the package of toy, doll, has no version on cpu.\nPin it among the requirements: doll==VERSION.",
        ),
    ],
)
def test_errors_name_file_and_key(tmp_path, changes, complaint):
    with pytest.raises(MatrixError) as error:
        read_framework(written(tmp_path, {**TOY, **changes}))
    assert complaint in str(error.value)


@pytest.mark.parametrize("text", ["framework: [", "", "- a list"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    path = tmp_path / "toy.yaml"
    path.write_text(text)
    with pytest.raises(MatrixError, match=r"toy\.yaml"):
        read_framework(path)


def test_versions_stay_text(tmp_path):
    path = written(tmp_path, TOY)
    path.write_text(path.read_text().replace('"3.11"', "3.10").replace('"version": "1.0"', '"version": 1.10'))
    framework = read_framework(path)
    assert (framework.python, framework.platforms["cpu"].version) == ("3.10", "1.10")


def test_a_platform_says_what_differs_from_its_framework():
    old = {"version": "0.9", "requirements": ["toy==0.9"], "python": "3.6", "base": "python:3.6-slim-bullseye"}
    framework = toy(packages=["libgomp1"], platforms={**TOY["platforms"], "cuda9": old}).framework
    cpu, cuda9 = Image(framework, "cpu"), Image(framework, "cuda9")
    assert (cpu.python, cuda9.python) == ("3.11", "3.6")
    assert cpu.spec.packages == cuda9.spec.packages == ("libgomp1",)
    assert "FROM python:3.6-slim-bullseye" in dockerfile(cuda9)


def test_two_frameworks_can_not_claim_one_library(definitions):
    written(definitions, TOY)
    written(definitions, {**TOY, "framework": "doll"}, "doll")
    with pytest.raises(MatrixError, match=r"toy is defined by .*doll\.yaml and by .*toy\.yaml"):
        library_index()


def test_frameworks_are_chosen_by_their_names():
    assert [framework.framework for framework in chosen(["theano", "cntk"])] == ["theano", "cntk"]
    assert list(chosen([])) == list(frameworks().values())
    for name, remedy in (("tensorflwo", "Did you mean 'tensorflow'"), ("keras-tf", "keras-tf is in tensorflow")):
        with pytest.raises(MatrixError, match=remedy):
            chosen(["cntk", name])


# --- CUDA -----------------------------------------------------------------------------------------------------------
STAGES = cuda().stages
TOY_CUDA = {"version": "1.0", "requirements": ["toy==1.0"], "cuda": ["toolkit"]}


def layers(image):
    """What each step of the final stage takes from the stage with CUDA, as a set of names."""
    steps = dockerfile(image).split("\nRUN ")
    found = [set(re.findall(r"from=cuda,source=/([^,]+),target=/from/\1 ", step)) for step in steps]
    return [names for names in found if names]


def test_what_packages_leave_to_the_image_comes_from_one_stage():
    framework = toy(platforms={"cuda9": TOY_CUDA, "cpu": TOY["platforms"]["cpu"]}).framework
    text = dockerfile(Image(framework, "cuda9"))
    assert text.count("FROM mambaorg/micromamba:") == text.count("micromamba create") == 1
    assert "cudatoolkit=9.0 cudnn=7" in text
    assert "LD_LIBRARY_PATH=/usr/local/cuda/lib64" in text
    cpu = dockerfile(Image(framework, "cpu"))
    assert "cuda" not in cpu.lower()
    assert "NVIDIA" not in cpu


def test_the_images_of_a_platform_share_the_layer_with_its_toolkit():
    """It comes before everything in which they differ."""
    both = {"cuda9": {**TOY_CUDA, "cuda": ["toolkit", "cudnn"]}}
    first = Image(toy(platforms={"cuda9": TOY_CUDA}, packages=["libgomp1"]).framework, "cuda9")
    second = Image(toy(platforms=both, environment={"TOY": "1"}).framework, "cuda9")
    assert layers(first) == [set(STAGES["cuda9"].toolkit)]
    assert layers(second) == [*layers(first), set(STAGES["cuda9"].cudnn)]
    head = re.compile(r"(?s)FROM python[^\n]+(.+?)/usr/local/cuda/lib64 /from")
    assert head.search(dockerfile(first))[1] == head.search(dockerfile(second))[1]


def test_a_folder_stands_in_for_the_stage(tmp_path, monkeypatch):
    (tmp_path / "cuda9").mkdir()
    monkeypatch.setenv("ROSETTA_CUDA", str(tmp_path))
    wanted = [image_for("mxnet-2018", "cuda9"), image_for("pytorch-2018", "cuda9")]
    target = bake(wanted)["target"]
    assert target["mxnet-2018-cuda9"]["contexts"] == {"cuda": str(tmp_path / "cuda9")}
    assert target["pytorch-2018-cuda9"]["contexts"] == {}
    with pytest.raises(BuildError, match=r"no folder cuda8\.\n.*Put libcublas\.so\.8\.0"):
        bake([image_for("mxnet-2018", "cuda8")])


def test_a_library_that_the_folder_only_links_to_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("ROSETTA_CUDA", str(tmp_path / "mine"))
    folder, elsewhere = tmp_path / "elsewhere", tmp_path / "away" / "libnvrtc.so.9.0"
    for path in (folder / "libcudart.so.9.0.176", elsewhere):
        path.parent.mkdir()
        path.touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "cuda9").symlink_to(folder)  # where CUDA is installed, say
    (folder / "libcudart.so.9.0").symlink_to("libcudart.so.9.0.176")
    image = image_for("mxnet-2018", "cuda9")
    assert "cuda" in Sources.from_environment().contexts(image, {})
    link = folder / "libnvrtc.so.9.0"
    for target in (elsewhere, Path("../away/libnvrtc.so.9.0"), Path("gone"), folder / "libcudart.so.9.0.176"):
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        with pytest.raises(BuildError, match=r"libnvrtc\.so\.9\.0 leads to no file within its folder"):
            Sources.from_environment().contexts(image, {})


def test_a_platform_without_a_stage_is_an_error():
    image = Image(toy(platforms={"cuda12": TOY_CUDA}).framework, "cuda12")
    with pytest.raises(MatrixError, match=r"cuda\.yaml has no stage cuda12, which toy-cuda12 needs"):
        dockerfile(image)


def test_an_image_that_needs_the_stage_needs_a_container():
    assert "libraries of cuda9" in image_for("mxnet-2018", "cuda9").needs_container
    assert image_for("jax", "cuda13").needs_container == ""


def mixed(image):
    """The packages of an image that belong to another CUDA version than its platform's."""
    wanted = image.platform.removeprefix("cuda")
    marks = re.compile(
        r"-cu(?:da)?(\d\d?)(?:\d|x)?(?:-[a-z]+)?==|^(?:nvidia-cuda-runtime|cuda-(?:toolkit|bindings))==(\d+)|\+cu(\d\d)"
    )
    found = [(package, marks.search(package)) for package in packages_of(image)]
    return [
        package for package, mark in found if mark and next(filter(None, mark.groups())) not in (wanted, f"{wanted}0")
    ]


@pytest.mark.parametrize("image", EVERY, ids=lambda image: image.name)
def test_no_lock_mixes_cuda_versions(image):
    assert mixed(image) == []


def test_a_lock_that_mixes_cuda_versions_is_found(definitions):
    lines = ["cupy-cuda80==4.5.0", "nvidia-cublas-cu12==12.9.3.13", "jax-cuda13-pjrt==0.10.2", "cuda-toolkit==13.0.3"]
    lines += ["mxnet-cu117==1.9.1", "torch==2.13.0+cu126", "torch==2.13.0+cu130"]
    lock = definitions / "locks" / "toy-cuda12.txt"
    lock.write_text("".join(f"{line} \\\n    --hash=sha256:00\n" for line in lines))
    image = Image(toy(platforms={"cuda12": {"version": "1.0", "requirements": ["toy==1.0"]}}).framework, "cuda12")
    assert mixed(image) == [line for line in lines if "12" not in line.partition("==")[0] and "cu126" not in line]


# --- Locks ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("image", EVERY, ids=lambda image: image.name)
def test_locks_hold_what_the_definition_pins_with_hashes(image):
    pinned = {package.lower() for package in packages_of(image)}
    pins = [text.replace("===", "==") for text in (*image.spec.build, *image.spec.requirements) if "==" in text]
    asked = {re.sub(r"\[.*\]", "", pin).lower() for pin in pins}
    assert asked <= pinned
    for path in image.locks:
        text = "\n".join(line for line in read_lock(path) if not line.startswith("#"))
        blocks = text.replace("\\\n", "").splitlines()
        assert blocks
        assert all(re.fullmatch(r"[a-z0-9.-]+==\S+( +--hash=sha256:[0-9a-f]{64})+", block) for block in blocks)


def test_lock_resolves_everything_and_pip_installs_it_without_internet(definitions, tmp_path, monkeypatch):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel(wheels, "toy", "1.0", requires="marble>=2")
    wheel(wheels, "marble", "2.0")
    monkeypatch.setenv("ROSETTA_WHEELS", str(wheels))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    written(definitions, TOY)
    image = image_for("toy", "cpu")
    assert write_locks("toy", "cpu") == [image.lock_path]
    assert packages_of(image) == ["marble==2.0", "toy==1.0"]

    wheel(wheels, "marble", "2.1")
    write_locks("toy", "cpu")
    assert packages_of(image) == ["marble==2.0", "toy==1.0"]
    write_locks("toy", "cpu", upgrade=True)
    assert packages_of(image) == ["marble==2.1", "toy==1.0"]

    sources = Sources.from_environment()
    assert sources.pip_variables(image) == {"PIP_NO_INDEX": "1"}
    (arguments,) = image.pip_installs(image.lock_path.parent, sources.wheels)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", f"--target={tmp_path / 'site'}", *arguments]
    subprocess.run(pip, env={**os.environ, **sources.pip_variables(image)}, check=True)
    assert "2.1" in (tmp_path / "site" / "marble.py").read_text()


def test_lock_says_what_can_not_be_resolved(definitions, tmp_path, monkeypatch):
    monkeypatch.setenv("ROSETTA_WHEELS", str(definitions / "locks"))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    written(definitions, TOY)
    with pytest.raises(BuildError, match=r"toy-cpu could not be resolved\.\n(?s:.*)toy was not found"):
        write_locks("toy", "cpu")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(BuildError, match="uv is not installed"):
        write_locks("toy", "cpu")


@pytest.mark.parametrize(
    ("here", "remedy"),
    [
        (("toy", "2.0"), r"The index has no toy==1\.0: correct the version in images/toy\.yaml"),
        (("doll", "1.0"), r"The index has no toy: correct the name in images/toy\.yaml"),
        (("toy", "1.0", "", "cp36-cp36m-manylinux1_x86_64"), r"toy==1\.0 is not made for Python 3\.11"),
    ],
)
def test_a_lock_that_can_not_be_made_names_the_pin(definitions, tmp_path, monkeypatch, here, remedy):
    (tmp_path / "wheels").mkdir()
    wheel(tmp_path / "wheels", *here)
    monkeypatch.setenv("ROSETTA_WHEELS", str(tmp_path / "wheels"))
    monkeypatch.setenv("UV_NO_INDEX", "1")
    written(definitions, TOY)
    with pytest.raises(BuildError, match=remedy):
        write_locks("toy", "cpu")
    assert not (definitions / "locks" / "toy-cpu.txt").exists()


def test_a_missing_lock_says_how_to_make_it(definitions):
    with pytest.raises(BuildError, match="rosetta lock toy"):
        packages_of(toy())


# --- Recipe ---------------------------------------------------------------------------------------------------------
def test_recipe_changes_with_lock_and_definition_only(definitions):
    lock = definitions / "locks" / "toy-cpu.txt"
    lock.write_text("toy==1.0 --hash=sha256:00\n")
    before = toy().recipe
    assert re.fullmatch("[0-9a-f]{16}", before)

    workloads = definitions.parent / "workloads"
    workloads.unlink()
    (workloads / "cnn").mkdir(parents=True)
    (workloads / "cnn" / "toy.py").write_text("edited = True\n")
    with (definitions / "Dockerfile.j2").open("a") as file:
        file.write("# a remark\n")
    template.cache_clear()
    lock.write_text("# a remark\n" + lock.read_text())
    assert toy().recipe == before

    assert toy(environment={"TOY": "1"}).recipe != before
    lock.write_text("toy==1.0 --hash=sha256:01\n")
    assert toy().recipe != before


def test_workloads_digest_changes_with_a_script_but_not_with_caches(definitions):
    workloads = definitions.parent / "workloads"
    workloads.unlink()
    script = workloads / "cnn" / "toy.py"
    script.parent.mkdir(parents=True)
    script.write_text("one = 1\n")
    before = workloads_digest(toy())
    for cache in ("__pycache__", ".ruff_cache"):
        (script.parent / cache).mkdir()
        (script.parent / cache / "toy.pyc").write_bytes(b"")
    assert workloads_digest(toy()) == before
    script.write_text("one = 2\n")
    edited = workloads_digest(toy())
    script.rename(script.with_name("doll.py"))
    assert len({before, edited, workloads_digest(toy())}) == 3


# --- Bake file ------------------------------------------------------------------------------------------------------
def test_bake_file_has_a_target_per_image():
    file = bake(EVERY, Sources())
    assert file["group"] == {"default": {"targets": [image.name for image in EVERY]}}
    assert list(file["target"]) == [image.name for image in EVERY]
    assert file["target"]["pytorch-cpu"] == {
        "context": str(ROOT),
        "contexts": {},
        "dockerfile-inline": dockerfile(PYTORCH),
        "args": {"SOURCE_DATE_EPOCH": "1577836800", "PIP_EXTRA_INDEX_URL": "https://download.pytorch.org/whl/cpu"},
        "secret": [],
        "labels": {
            "rosetta.recipe": PYTORCH.recipe,
            "rosetta.workloads": workloads_digest(PYTORCH),
            "rosetta.base": pinned("python:3.11-slim-bookworm"),
        },
        "tags": ["rosetta/pytorch:2.13.0-cpu"],
        "platforms": ["linux/amd64"],
        "output": ["type=docker"],
    }
    assert json.loads(json.dumps(file)) == file


def test_an_image_says_where_its_cuda_came_from(tmp_path):
    chainer, label = image_for("chainer-2018", "cuda8"), "rosetta.cuda-source"
    (tmp_path / "cuda8").mkdir()
    for sources, origin in [
        (Sources(), "nvidia-apt"),
        (Sources(cuda_source="anaconda"), "anaconda"),
        (Sources(cuda_source="anaconda", cuda=tmp_path), "folder"),
    ]:
        targets = bake([chainer, PYTORCH], sources)["target"]
        assert targets["chainer-2018-cuda8"]["labels"][label] == origin
        assert label not in targets["pytorch-cpu"]["labels"]


@pytest.mark.parametrize("image", EVERY, ids=lambda image: image.name)
def test_no_layer_keeps_the_times_of_another_stage(image):
    """A COPY would: of files those that they have there, of folders that of the build. See images/fixed-times.sh."""
    final = dockerfile(image).split(f" AS {image.name}\n")[1]
    assert not re.search(r"(?m)^(COPY|ADD)\b", final)
    steps = re.findall(r"(?ms)^RUN (.*?[^\\])$", final)
    assert len(steps) >= 3
    ends = ("fix_times", "compile_python")
    assert all(". /fixed-times.sh" in step and step.endswith(ends) for step in steps)


def test_sources_of_this_machine_are_secrets_contexts_and_arguments(tmp_path, monkeypatch):
    ca, conf, wheels = tmp_path / "ca.pem", tmp_path / "pip.conf", tmp_path / "wheels"
    ca.write_text("")
    conf.write_text("[global]\nindex-url = https://user:secret@example.org/simple\n")
    wheels.mkdir()
    (wheels / "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl").touch()
    monkeypatch.setenv("ROSETTA_CA_BUNDLE", str(ca))
    monkeypatch.setenv("ROSETTA_PIP_CONF", str(conf))
    monkeypatch.setenv("ROSETTA_WHEELS", str(wheels))
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    target = bake([PYTORCH, image_for("jax", "cpu")])["target"]
    assert target["pytorch-cpu"]["secret"] == [f"id=ca,src={ca}", f"id=pip_conf,src={conf}"]
    assert target["pytorch-cpu"]["contexts"] == {"wheels": str(wheels)}
    assert target["jax-cpu"]["contexts"] == {}
    assert target["jax-cpu"]["args"] == {
        "SOURCE_DATE_EPOCH": "1577836800",
        "HTTPS_PROXY": "http://proxy:3128",
    }
    shown = printed([PYTORCH])
    assert "http://proxy:3128" in shown
    assert dockerfile(PYTORCH) in shown


def test_the_usual_variables_count_where_ours_are_not_set(tmp_path, monkeypatch):
    ca = tmp_path / "ca.pem"
    ca.write_text("")
    monkeypatch.setenv("PIP_CERT", str(tmp_path / "gone.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    monkeypatch.setenv("PIP_FIND_LINKS", f"https://example.org/wheels {tmp_path}")
    assert Sources.from_environment() == Sources(ca=ca, wheels=tmp_path)


@pytest.mark.parametrize("variable", ["ROSETTA_CA_BUNDLE", "ROSETTA_PIP_CONF", "ROSETTA_WHEELS", "ROSETTA_CUDA"])
def test_our_own_variables_must_name_something(tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, str(tmp_path / "gone"))
    with pytest.raises(BuildError, match=f"{variable} names .*gone, which does not exist"):
        Sources.from_environment()


@pytest.mark.parametrize(
    ("files", "conf", "expected"),
    [
        ([], "", {"PIP_EXTRA_INDEX_URL": "https://example.org/cpu"}),
        (["toy-1.0+cpu-x.whl"], "", {"PIP_EXTRA_INDEX_URL": ""}),
        (["toy-1.1+cpu-x.whl"], "", {"PIP_EXTRA_INDEX_URL": "https://example.org/cpu"}),
        ([], "[global]\nextra-index-url = https://mirror/\n", {"PIP_EXTRA_INDEX_URL": ""}),
        (["toy-1.0+cpu-x.whl", "Glass_Marble-2.0.tar.gz"], "", {"PIP_NO_INDEX": "1", "PIP_EXTRA_INDEX_URL": ""}),
    ],
)
def test_no_index_is_asked_for_what_is_here(definitions, tmp_path, files, conf, expected):
    spec = {"version": "1.0", "requirements": ["toy==1.0+cpu"], "extra_index": "https://example.org/cpu"}
    (definitions / "locks" / "toy-cpu.txt").write_text("toy==1.0+cpu \\\n    --hash=sha256:00\nglass-marble==2.0 \\\n")
    wheels, pip_conf = tmp_path / "wheels", tmp_path / "pip.conf"
    wheels.mkdir()
    for file in files:
        (wheels / file).touch()
    pip_conf.write_text(conf)
    assert Sources(wheels=wheels, pip_conf=pip_conf).pip_variables(toy(platforms={"cpu": spec})) == expected


# --- Building -------------------------------------------------------------------------------------------------------
def test_an_image_is_current_only_if_our_own_record_says_so_and_its_base_has_not_moved(monkeypatch, tmp_path):
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path))
    ours, other = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
    records.note(ours, PYTORCH.recipe, "w")
    built_on = {"Labels": {"rosetta.base": pinned(PYTORCH.spec.base)}}
    labels = {"rosetta.recipe": PYTORCH.recipe, "rosetta.workloads": "w", **built_on["Labels"]}
    assert is_current({"Id": ours, "Config": built_on}, PYTORCH, "w")
    assert not is_current({"Id": ours, "Config": {"Labels": {"rosetta.base": "debian"}}}, PYTORCH, "w")
    assert not is_current({"Id": ours, "Config": {"Labels": None}}, PYTORCH, "w")
    assert not is_current({"Id": ours, "Config": built_on}, PYTORCH, "edited")
    assert not is_current({"Id": other, "Config": {"Labels": labels}}, PYTORCH, "w")
    assert not is_current(None, PYTORCH, "w")
    records.note(ours, "old", "w")
    assert not is_current({"Id": ours}, PYTORCH, "w")
    for damaged in ("", "[]", "{", "[1, 2, 3]", "\xff"):
        records.place(ours).write_text(damaged)
        assert records.made_of(ours) is None
    assert records.made_of("../../etc/passwd") is None


def test_build_of_nothing_asks_nobody(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build_images([], progress=print) == {}
    with pytest.raises(EngineError, match="'docker' is missing"):
        build_images([PYTORCH], progress=print)


def test_a_build_that_is_interrupted_is_ended():
    with pytest.raises(KeyboardInterrupt), running(["sleep", "600"], "", os.environ) as process:
        raise KeyboardInterrupt
    assert process.returncode is not None


def test_input_and_output_of_a_build_pass_through():
    with running(["tr", "a-z", "A-Z"], "one\ntwo\n", os.environ) as process:
        assert process.stdout.read() == "ONE\nTWO\n"
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("log", "kind", "cause"),
    [
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", BuildError, "match its lock"),
        ("#9 ERROR: Could not install: [Errno 28] No space left on device", DiskError, "full"),
        ("ERROR: Cannot connect to the Docker daemon at unix:///x.", EngineGoneError, "answers"),
        ("docker: 'buildx' is not a docker command.", EngineError, "buildx plugin"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]", BuildError, "inspects TLS"),
        ("ERROR: python:3.11-slim: failed to resolve source metadata for docker.io/x", UnreachableError, "base image"),
        ("W: Failed to fetch http://x  Temporary failure resolving 'x'", UnreachableError, "unreachable"),
        ("E: The repository 'http://x bullseye Release' does not have a Release file.", BuildError, "archive"),
        ("ERROR: No matching distribution found for torch==2.13.0+cpu", BuildError, "has no torch==2.13.0+cpu"),
        ("ERROR: six-1.0-cp36-cp36m-linux_x86_64.whl is not a supported wheel on x", BuildError, "six-1.0-cp36-cp36m"),
        ("ERROR: Package 'six' requires a different Python: 3.6.15 not in '>=3.7'", BuildError, "six is built for"),
        ("    unable to execute 'gcc': No such file or directory", BuildError, "no compiler"),
        ('ERROR: failed to compute cache key: "/libcufft.so.8.0": not found', BuildError, "no libcufft.so.8.0 for"),
        ("ERROR: mambaorg/micromamba:2.3.2: failed to resolve source metadata", UnreachableError, "image micromamba"),
        ("error    libmamba Could not solve for environment specs", BuildError, "no longer have this CUDA"),
        ("something new", BuildError, "failed"),
    ],
)
def test_a_failed_build_names_its_likely_cause(log, kind, cause):
    error = explained(f"#1 first line\n{log}\nlast line")
    assert type(error) is kind
    assert cause in error.what
    assert log in error.why


def test_a_failed_build_shows_the_step_that_failed_and_no_dockerfile():
    log = """\
#7 12.1 Collecting six
------
 > [toy-cpu 3/5] RUN pip install:
12.1 Collecting six
12.2 ERROR: No matching distribution found for six
------
Dockerfile:15
  15 | >>> RUN pip install
ERROR: failed to solve: exit code: 1
"""
    assert explained(log).why.splitlines() == [
        " > [toy-cpu 3/5] RUN pip install:",
        "12.1 Collecting six",
        "12.2 ERROR: No matching distribution found for six",
    ]


def test_progress_is_a_line_per_step_and_large_download():
    log = """\
#0 building with "default" instance using docker driver
#4 [pytorch-cpu pytorch-cpu 1/5] FROM docker.io/library/python:3.11-slim-bookworm
#4 DONE 0.3s
#5 [pytorch-cpu pytorch-cpu 2/5] RUN groupadd --gid 10001 rosetta
#5 DONE 1.3s
#7 [pytorch-cpu pytorch-cpu 3/5] RUN --mount=type=cache pip install --require-hashes
#7 1.201 Downloading https://example.org/x/torch-2.13.0%2Bcpu-cp311.whl (191.8 MB)
#7 1.202 Downloading sympy-1.14.0-py3-none-any.whl.metadata (12 kB)
#8 [mxnet-cpu mxnet-cpu 2/6] RUN apt-get update
#8 CACHED
#8 ...
#8 [jax-cpu mxnet-cpu 2/6] RUN apt-get update
#8 CACHED
#7 DONE 130.9s
#9 [cntk-cpu 5/5] COPY --chmod=755 workloads /workloads
#9 ERROR: failed to copy
"""
    steps = Steps()
    assert [said for line in log.splitlines() if (said := steps.read(line))] == [
        "pytorch-cpu: base image",
        "pytorch-cpu: framework",
        "pytorch-cpu: framework: torch-2.13.0%2Bcpu-cp311.whl (191.8 MB)",
        "mxnet-cpu: system packages",
        "mxnet-cpu: system packages: unchanged",
        "pytorch-cpu: framework: done in 131 s",
        "cntk-cpu: workloads",
        "cntk-cpu: workloads: failed",
    ]


def test_of_a_long_line_both_ends_are_shown():
    log = f'Error: building at STEP "RUN {"x" * 500}": permission denied'
    assert explained(log).why.startswith("Error: building at STEP")
    assert explained(log).why.endswith('": permission denied')
    assert len(explained(log).why) < 320
