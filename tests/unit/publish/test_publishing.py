"""Names of images, bills of materials, archives and published rows: what is taken from others, and what is refused."""

import base64
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from docker.errors import APIError, DockerException, NotFound

from orchestrator.cell import contract, quality
from orchestrator.cell.cell import Cell
from orchestrator.cell.contract import Outcome, Status
from orchestrator.errors import RefusedError, RegistryError, ResultError, SelectionError
from orchestrator.images import cuda_sources, image_names
from orchestrator.images.bakefile import bake
from orchestrator.images.definitions import cuda
from orchestrator.images.image import dockerfile, image_for
from orchestrator.images.sources import Sources
from orchestrator.publish import archives, examination, inventory, registry, reproduction, sbom
from orchestrator.publish.examination import Examined, Inventory, Package
from orchestrator.publish.publishing import LOCK, Published, digest_there, with_references, write_lock
from orchestrator.results.files import read_results, table_of
from orchestrator.results.rows import row_of
from orchestrator.results.schema import schema
from orchestrator.system.checkout import ROOT

DIGEST = "sha256:" + "a" * 64
REFERENCE = f"ghcr.io/me/pytorch:2.13.0-cpu@{DIGEST}"


@pytest.mark.parametrize("text", ["ghcr.io/me", "localhost:5000/a/b", "registry.example.org/team", "registry:5000/me"])
def test_a_registry_has_a_host_and_a_namespace(text):
    assert image_names.checked_registry(text) == text


@pytest.mark.parametrize(
    "text", ["", "me", "me/ns", "ghcr.io", "ghcr.io/Me", "https://ghcr.io/me", "ghcr.io/me;x", "-a.b/c"]
)
def test_what_is_no_registry_is_refused(text):
    with pytest.raises(RegistryError):
        image_names.checked_registry(text + ("\n" if text == "ghcr.io" else ""))


def test_a_reference_is_read_back():
    found = image_names.parse(REFERENCE)
    assert str(found) == REFERENCE
    assert found.pullable == f"ghcr.io/me/pytorch@{DIGEST}"


@pytest.mark.parametrize(
    "text",
    [
        "rosetta/pytorch:2.13.0-cpu",
        f"pytorch:1@{DIGEST}",
        f"ghcr.io/me/pytorch@{DIGEST}",
        f"ghcr.io/me/pytorch:1@{DIGEST[:-1]}",
        f"ghcr.io/me/pytorch:1@{DIGEST}\n",
        f"ghcr.io/../pytorch:1@{DIGEST}",
        f"user:pw@ghcr.io/me/pytorch:1@{DIGEST}",
        f"ghcr.io/{'a' * 500}:1@{DIGEST}",
    ],
)
def test_odd_references_are_refused(text):
    with pytest.raises(ResultError):
        image_names.parse(text)


def said(status: int, text: str) -> APIError:
    response = requests.Response()
    response.status_code = status
    return (NotFound if status == 404 else APIError)(f"{status} Error", response, text)


class Answers:
    """An engine whose registry gives one answer; the registries that give these can't be had in a test."""

    def __init__(self, answer: Exception | str):
        self.answer = answer

    def inspect_distribution(self, name):
        if isinstance(self.answer, str):
            return {"Descriptor": {"digest": self.answer}}
        raise self.answer


REFUSALS = (
    said(403, 'Head "https://ghcr.io/v2/me/x/manifests/1-cpu": denied: denied'),
    said(401, "errors:\ndenied: requested access to the resource is denied\nunauthorized: authentication required\n"),
    said(401, "unauthorized: incorrect username or password"),
    said(500, "no basic auth credentials"),
    said(500, "pull access denied, repository does not exist or may require authorization: insufficient_scope"),
    DockerException("denied: permission_denied: write_package"),
)


@pytest.mark.parametrize("answer", REFUSALS, ids=str)
def test_a_refusal_is_no_word_on_a_tag_and_pushes_only_what_may_move(answer):
    with pytest.raises(RefusedError, match="refuses ghcr") as told:
        digest_there(Answers(answer), "ghcr.io/me/x:1-cpu", move=False)
    assert "docker login" in told.value.remedy
    assert "--move-tags" in told.value.remedy
    assert "\n" not in told.value.why
    assert digest_there(Answers(answer), "ghcr.io/me/x:1-cpu", move=True) is None


@pytest.mark.parametrize("move", [True, False])
def test_what_a_registry_tells_of_a_tag_is_taken_from_it(move):
    assert digest_there(Answers(DIGEST), "ghcr.io/me/x:1-cpu", move) == DIGEST
    unknown = said(404, "manifest unknown: manifest unknown")
    assert digest_there(Answers(unknown), "ghcr.io/me/x:1-cpu", move) is None


@pytest.mark.parametrize("move", [True, False])
def test_a_registry_that_is_out_of_reach_is_no_refusal(move):
    gone = said(500, 'Get "https://ghcr.io/v2/": dial tcp: lookup ghcr.io: no such host')
    with pytest.raises(RegistryError, match="The registry failed") as told:
        digest_there(Answers(gone), "ghcr.io/me/x:1-cpu", move)
    assert not isinstance(told.value, RefusedError)
    assert registry.failed("x", gone).exit_code == 16


LIBRARY = "toy.libs/libsz-b66d1717.so.2.0.1"


def test_the_bill_names_packages_by_purl():
    packages = [
        Package(kind="deb", name="libstdc++6", version="1:2.3", licence=None),
        Package(kind="pypi", name="Typing_Extensions", version="4.1.1", licence="PSF"),
    ]
    inventory = Inventory(python="3.11.7", packages=packages, sizes={"deb": 5, "nobody": 3})
    bill = sbom.cyclonedx("ghcr.io/me/x:1-cpu", DIGEST, inventory)
    assert [one["purl"] for one in bill["components"]] == [
        "pkg:deb/debian/libstdc%2B%2B6@1%3A2.3?arch=amd64",
        "pkg:pypi/typing-extensions@4.1.1",
    ]
    assert bill == sbom.cyclonedx("ghcr.io/me/x:1-cpu", DIGEST, inventory)
    sizes = {one["name"]: one["value"] for one in bill["metadata"]["component"]["properties"]}
    assert sizes["rosetta:bytes:nobody"] == "3"


def test_the_bill_has_python_and_the_libraries_within_wheels_with_sums_and_licences():
    packages = [
        Package(kind="python", name="cpython", version="3.11.7", licence="PSF-2.0", sha256="0" * 64),
        Package(kind="pypi", name="numpy", version="2.0", licence="BSD", sha256="1" * 64),
        Package(kind="bundled", name="libgfortran", version="5.0.0", licence=None, sha256="2" * 64, within="numpy"),
        Package(kind="bundled", name="libgfortran", version="5.0.0", licence=None, sha256="3" * 64, within="scipy"),
        Package(kind="bundled", name="MKL", version=None, licence=None, within="torch"),
        Package(
            kind="file", name="libcudnn", version="7", licence=None, sha256="4" * 64, within="/usr/local/cuda/lib64"
        ),
    ]
    bill = sbom.cyclonedx("ghcr.io/me/x:1-cpu", DIGEST, Inventory(python="3.11.7", packages=packages))
    parts = bill["components"]
    assert len({one["bom-ref"] for one in parts}) == len(parts)
    assert [one["type"] for one in parts] == ["platform", *["library"] * 5]
    assert [one.get("hashes", [{}])[0].get("content", "")[:1] for one in parts] == ["0", "", "2", "3", "", "4"]
    assert [one["licenses"][0]["license"]["name"] for one in parts] == [
        "PSF-2.0",
        "BSD",
        *["GPL-3.0-or-later WITH GCC-exception-3.1"] * 2,
        "Intel Simplified Software License",
        "NVIDIA terms",
    ]
    assert parts[4]["purl"] == "pkg:generic/MKL"
    assert {"name": "rosetta:sha256-of-file-list", "value": "1" * 64} in parts[1]["properties"]
    assert {"name": "rosetta:within", "value": "scipy"} in parts[3]["properties"]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("libgfortran-040039e1-83c28eba.so.5.0.0", ("libgfortran", "5.0.0")),
        ("libopenblasp-r0-34a18dc3.3.7.so", ("libopenblasp", "0.3.7")),
        ("libscipy_openblas64_-6bb31eeb.so", ("libscipy_openblas64_", None)),
        ("libmkl_rt.so.2", ("libmkl_rt", "2")),
        ("libcudart.so.9.0.176", ("libcudart", "9.0.176")),
        ("_multiarray_umath.cpython-311-x86_64-linux-gnu.so", None),
    ],
)
def test_a_library_is_known_by_its_file(file, expected):
    assert inventory.named(f"/usr/lib/{file}") == expected


def test_the_inventory_reads_the_files_of_a_package(tmp_path):
    """A library with the sum that its wheel tells, what is linked into another one, and whose byte code is."""
    files = {
        "toy/__init__.py": b"",
        "toy/_core.so": b"\x7fELF HDF5 library version 1.12.2 release",
        LIBRARY: b"\x7fELF",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    place = tmp_path / "toy-1.0.dist-info"
    place.mkdir()
    told = base64.urlsafe_b64encode(hashlib.sha256(b"\x7fELF").digest()).decode().rstrip("=")
    lines = [f"{name},{f'sha256={told}' if name == LIBRARY else ''},4" for name in files]
    (place / "RECORD").write_text("\n".join(lines))
    (place / "METADATA").write_text("Name: toy\nVersion: 1.0\nClassifier: License :: OSI Approved :: MIT License\n")
    code = f"{examination.SCRIPT.read_text().rpartition('if __name__')[0]}\nowners = {{}}\n"
    code += f"print(json.dumps([list(python(owners)), sorted(owners), owner({str(tmp_path / 'toy')!r} + PYC, owners)]))"
    code = code.replace("PYC", repr("/__pycache__/__init__.cpython-36.opt-1.pyc"))
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, check=True)
    packages, owned, of_byte_code = json.loads(done.stdout)
    found = {one["name"]: one for one in packages}
    assert (found["toy"]["licence"], found["toy"]["sha256"] is not None) == ("MIT License", True)
    assert found["HDF5"] == {
        "kind": "bundled", "name": "HDF5", "version": "1.12.2", "licence": None, "sha256": None, "within": "toy"
    }  # fmt: skip
    assert found["libsz"]["version"] == "2.0.1"
    assert found["libsz"]["sha256"] == hashlib.sha256(b"\x7fELF").hexdigest()
    assert [Path(path).relative_to(tmp_path).as_posix() for path in owned] == sorted(files)
    assert of_byte_code == "pypi"


def examined(name: str, platform: str, *packages: Package, **labels: str) -> Examined:
    image = image_for(name, platform)
    return Examined(image, DIGEST, 1, labels, [], Inventory(python="3.11.7", packages=list(packages)))


def test_labels_tell_cuda_as_installed_and_whose_terms_come_with_it():
    packages = [
        Package(kind="pypi", name="nvidia-cuda-runtime-cu12", version="12.9.79", licence=None),
        Package(kind="pypi", name="nvidia-cudnn-cu12", version="9.10.2.21", licence=None),
    ]
    eleven = [
        Package(kind="pypi", name="nvidia-cuda-runtime-cu11", version="11.8.89", licence=None),
        Package(kind="pypi", name="nvidia-cudnn-cu11", version="8.9.6.50", licence=None),
    ]
    labels = examination.labels_of(examined("pytorch", "cuda12", *packages), ("abc", True))
    assert (labels["rosetta.cuda"], labels["rosetta.cudnn"]) == ("12.9.79", "9.10.2.21")
    assert labels["org.opencontainers.image.revision"] == "abc-changed"
    assert "NVIDIA" in labels["rosetta.licence-notes"]
    assert "Anaconda" not in labels["rosetta.licence-notes"]
    old = examination.labels_of(examined("tensorflow-2018", "cuda9"), None)
    assert (old["rosetta.cuda"], old["rosetta.cudnn"]) == ("9.0", "7")
    elsewhere = examination.labels_of(examined("paddle", "cuda11", *eleven), None)
    assert (elsewhere["rosetta.cuda"], elsewhere["rosetta.cudnn"]) == ("11.8.89", "8.9.6.50")
    assert (
        not {"rosetta.cuda", "rosetta.licence-notes"} & examination.labels_of(examined("pytorch", "cpu"), None).keys()
    )


@pytest.mark.parametrize(
    ("source", "told"), [("anaconda", True), ("nvidia-apt", False), ("nvidia-files", False), ("folder", False)]
)
def test_anaconda_s_terms_are_told_of_what_came_from_its_channels_alone(source, told):
    assert len(cuda().sources) == 3  # a fourth may have terms of its own
    found = examined("tensorflow-2018", "cuda9", **{cuda_sources.LABEL: source})
    assert ("Anaconda" in examination.labels_of(found, None)["rosetta.licence-notes"]) is told


def test_a_page_can_not_be_broken_by_what_a_package_calls_itself():
    package = Package(kind="pypi", name="a|b\n<script>", version="1", licence=None)
    text = examination.page_about("x:1", examined("pytorch", "cpu", package), {})
    assert "| pypi | a\\|b \\<script\\> | 1 |  |" in text


# --- Rows ------------------------------------------------------------------------------------------------------------
def row(**changes):
    cell = Cell("pytorch", "rnn", data="synthetic", epochs=1, samples=128)
    image = image_for("pytorch", "cpu")
    made = row_of(cell, Outcome(Status.OK), key="k", run="r", engine="docker", image=image.columns, host="h")
    measured = {"status": "ok", "seconds": 1.0, "quality": 0.9, "n_gpus": 0, "image": REFERENCE}
    return {**made, **measured, **changes}


def test_a_published_row_becomes_the_cell_that_it_was():
    found = reproduction.published_row(row())
    assert found.cell == Cell("pytorch", "rnn", data="synthetic", epochs=1, samples=128)
    assert found.image.tag == REFERENCE


def test_a_full_run_is_asked_for_without_numbers_since_with_them_it_counts_as_shortened():
    measured = read_results(ROOT / "docs" / "results" / "2026-11-25-cpu.parquet").to_pylist()
    full = next(one for one in measured if one["workload"] == "rnn" and one["status"] == "ok" and not one["shortened"])
    cell = reproduction.published_row({**full, "image": REFERENCE}).cell
    assert not {"--epochs", "--samples"} & set(contract.arguments(cell))
    assert quality.asked(cell) == (full["epochs"], full["samples"])


def test_runs_are_paired_by_what_was_asked_for_also_one_that_failed():
    short, full = (reproduction.published_row(row(shortened=shortened)) for shortened in (True, False))
    mine = [
        row(key=reproduction.key_of(short), status="failed", quality=None, epochs=None, samples=None),
        row(key=reproduction.key_of(full), quality=0.89, run="s", cpu="other"),
    ]
    found = reproduction.pairs([short, full], table_of(mine))
    assert [pair.as_good for pair in found] == [False, True]
    assert "cpu: None → other" in found[1].differences


def test_results_are_not_read_where_others_could_change_them():
    assert reproduction.is_private("https://example.org/results.parquet")
    assert reproduction.is_private("http://localhost:8000/results.parquet")
    assert not reproduction.is_private("http://example.org/results.parquet")


def test_a_lock_file_that_is_none_is_refused_by_name(tmp_path):
    (tmp_path / LOCK).write_text('[{"a": 1}]')
    with pytest.raises(ResultError, match=LOCK):
        write_lock(tmp_path, [])


@pytest.mark.parametrize(
    "changes",
    [
        {"contract": 3},
        {"status": "failed"},
        {"seconds": None},
        {"image": "rosetta/pytorch:2.13.0-cpu"},
        {"library": "../../etc"},
        {"workload": "mining"},
        {"platform": "cuda99"},
        {"gpu": "none; rm"},
        {"data": "/etc"},
        {"epochs": -1},
        {"samples": 0},
        {"repeat": -1},
        {"cell": "../../../outside"},
        {"n_gpus": 4},
    ],
)
def test_rows_that_can_not_be_run_again_are_refused_by_name(changes):
    with pytest.raises(ResultError):
        reproduction.published_row(row(**changes))
    table = table_of([row(**changes)])
    with pytest.raises(SelectionError):
        reproduction.chosen(table, [], [])
    ((name, _),) = reproduction.refused(table, [])
    assert name == row(**changes)["cell"][:100]


def test_only_rows_of_the_very_image_are_given_its_reference():
    table = table_of([row(image="a", image_digest="sha256:1"), row(image="b", image_digest="sha256:2")])
    done = Published(REFERENCE, "sha256:1", "", "", "", None)
    changed, count = with_references(table, [done])
    assert changed["image"].to_pylist() == [REFERENCE, "b"]
    assert count == 1
    assert changed.schema.equals(schema())


@pytest.mark.parametrize(("here", "good"), [(0.9, True), (0.86, True), (0.8, False)])
def test_shortened_runs_may_differ_by_the_width_of_the_band(here, good):
    assert reproduction.is_as_good(row(quality=here, shortened=True), row(quality=0.9)) is good


# --- Archives --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "line", ["", "abc  x.tar", f"{'a' * 64}  ../x.tar", f"{'a' * 64}  /x.tar", f"{'a' * 64} x.tar"]
)
def test_sums_name_archives_of_the_same_folder_only(tmp_path, line):
    (tmp_path / archives.SUMS).write_text(line)
    with pytest.raises(ResultError):
        archives.sums_of(tmp_path)


def test_a_folder_that_is_not_there_is_told_in_plain_words(tmp_path):
    with pytest.raises(ResultError) as caught:
        archives.sums_of(tmp_path / "nothere")
    told = caught.value
    assert (told.what, told.why) == (f"{tmp_path}/nothere/SHA256SUMS can't be read.", "No such file or directory.")
    assert told.remedy == "Name a folder that 'rosetta images save' wrote."


# --- Mirrors ---------------------------------------------------------------------------------------------------------
def test_base_images_come_from_a_mirror_and_no_dockerfile_names_it():
    image = image_for("pytorch", "cpu")
    file = bake([image], Sources(registry="mirror.example.org/hub"))
    contexts = file["target"]["pytorch-cpu"]["contexts"]
    assert contexts[image.spec.base] == f"docker-image://mirror.example.org/hub/library/{image.spec.base}"
    assert "mirror.example" not in dockerfile(image)
    assert re.match(r"[0-9a-f]{16}", image.recipe)
