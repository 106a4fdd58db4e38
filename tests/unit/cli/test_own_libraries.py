"""Libraries of one's own in a folder outside the checkout: --with, 'with:' in the matrix file, rosetta init."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.cell.contract import arguments
from orchestrator.cell.parameters import parameters
from orchestrator.cell.scripts import script_of, sources
from orchestrator.cli.libraries import take_in_libraries
from orchestrator.engines.process import workloads_for
from orchestrator.errors import BuildError, MatrixError
from orchestrator.images.bakefile import WITHOUT_HIDDEN, bake, files_in, workloads_digest
from orchestrator.images.definitions import frameworks, library_index
from orchestrator.images.image import every_image, image_for
from orchestrator.images.locks import make_writable
from orchestrator.images.sources import Sources
from orchestrator.plan.combinations import cells_of_file
from orchestrator.plan.selection import known_words
from orchestrator.report.scripts import scripts
from orchestrator.system.checkout import ROOT
from orchestrator.system.gpus import PLATFORMS
from orchestrator.system.library_folders import take_in
from tests.unit.images.toy import TOY, written

SCRIPT = '"""CNN on CIFAR-10 in Toy."""\n'


@pytest.fixture
def own(tmp_path):
    """A folder with a library; what the test takes in is left out again."""
    folder = tmp_path / "own"
    (folder / "images" / "locks").mkdir(parents=True)
    (folder / "workloads" / "cnn").mkdir(parents=True)
    written(folder / "images", TOY)
    (folder / "images" / "locks" / "toy-cpu.txt").write_text("toy==1.0 --hash=sha256:00\n")
    (folder / "workloads" / "cnn" / "toy.py").write_text(SCRIPT)
    yield folder
    take_in([])


def rosetta(*words, cwd):
    program = [sys.executable, "-c", "from orchestrator.cli.main import main; main()", *map(str, words)]
    done = subprocess.run(program, cwd=cwd, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done


def test_an_own_library_is_there_and_changes_nothing_of_the_others(own):
    before = {image.name: (image.recipe, workloads_digest(image)) for image in every_image()}
    key_part = sources("pytorch", "cnn", "reference")
    take_in([own])
    image = image_for("toy", "cpu")
    assert (image.lock_path, script_of("toy", "cnn")) == (
        own / "images" / "locks" / "toy-cpu.txt",
        own / "workloads" / "cnn" / "toy.py",
    )
    assert "toy" in [script.library for script in scripts("cnn")]
    after = {image.name: (image.recipe, workloads_digest(image)) for image in every_image()}
    assert after.pop("toy-cpu")[1] != before["pytorch-cpu"][1]
    assert after == before
    assert sources("pytorch", "cnn", "reference") == key_part
    take_in([])
    assert "toy" not in library_index()


def test_its_image_is_built_from_both_folders(own):
    take_in([own])
    targets = bake([image_for("toy", "cpu"), image_for("pytorch", "cpu")], Sources())["target"]
    toy, pytorch = targets["toy-cpu"], targets["pytorch-cpu"]
    assert toy["context"] == pytorch["context"] == str(ROOT)
    assert toy["contexts"] == {"locks": str(own / "images" / "locks"), "workloads1": str(own / "workloads")}
    assert "bind,from=locks,source=toy-cpu.txt,target=/locks/toy-cpu.txt" in toy["dockerfile-inline"]
    last = toy["dockerfile-inline"].rpartition("\nRUN ")[2]
    assert "--mount=type=bind,from=workloads1,target=/from" in last
    assert (pytorch["contexts"], "workloads1" in pytorch["dockerfile-inline"]) == ({}, False)


def test_what_counts_for_no_digest_comes_into_no_image(own, tmp_path):
    take_in([own])
    assert WITHOUT_HIDDEN in bake([image_for("toy", "cpu")], Sources())["target"]["toy-cpu"]["dockerfile-inline"]
    assert {"**/.*", "**/__pycache__"} <= set((ROOT / ".dockerignore").read_text().splitlines())
    names = (".env", ".git/config", "cnn/.toy.py.swp", "cnn/__pycache__/toy.pyc", "cnn/toy.py", "notes")
    for path in (tmp_path / "copied" / name for name in names):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    subprocess.run(["sh", "-ec", WITHOUT_HIDDEN], cwd=tmp_path / "copied", check=True)
    left = [path for path in (tmp_path / "copied").rglob("*") if path.is_file()]
    assert sorted(left) == [path for _, path in files_in(tmp_path / "copied")]
    assert [path.name for path in sorted(left)] == ["toy.py", "notes"]


def test_a_variant_of_the_programs_library_comes_into_its_image_alone(own):
    (own / "workloads" / "cnn" / "pytorch_mine.py").write_text(SCRIPT)
    before = workloads_digest(image_for("jax", "cpu"))
    take_in([own])
    assert script_of("pytorch", "cnn", "mine").is_file()
    assert [folder.path for folder in image_for("pytorch", "cpu").workload_folders] == [ROOT, own]
    assert workloads_digest(image_for("jax", "cpu")) == before


def test_the_process_engine_finds_script_and_harness_in_one_folder(own, tmp_path):
    (own / "workloads" / "cnn" / "toy.py").write_text("print('ran', __name__)\n")
    take_in([own])
    (cell,) = (
        cell
        for cell in cells_of_file(ROOT / "matrix.yaml", "try", known_words())
        if (cell.library, cell.workload) == ("toy", "cnn")
    )
    folder = workloads_for(image_for("toy", "cpu"), tmp_path)
    words = [sys.executable, "-m", "harness", *arguments(cell)]
    variables = {**os.environ, "ROSETTA_RESULTS": str(tmp_path)}
    done = subprocess.run(words, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("ran __main__\n", 0), done.stderr
    assert workloads_for(image_for("pytorch", "cpu"), tmp_path) == ROOT / "workloads"


def test_the_matrix_file_names_folders_beside_itself(own, tmp_path):
    matrix = tmp_path / "matrix.yaml"
    text = "axes: {library: [toy], workload: [cnn], platform: [cpu], gpu: [none]}\n"
    matrix.write_text(f"{text}with: [own]\n")  # without profiles it is the file as it stands
    done = rosetta("plan", "--engine", "process", "--json", "--data", "synthetic", cwd=tmp_path)
    (cell,) = json.loads(done.stdout)
    assert (cell["id"].split("/")[0], cell["verdict"]) == ("toy", "ready")
    take_in_libraries([], matrix)
    assert "toy" in frameworks()


def test_a_profile_that_a_file_without_any_lacks_says_how_to_go_on(own, tmp_path):
    (tmp_path / "matrix.yaml").write_text("axes: {library: [toy], workload: [cnn]}\nwith: [own]\n")
    done = rosetta("plan", "--profile", "quick", cwd=tmp_path)
    assert (done.returncode, "It has no profiles: leave out --profile." in done.stderr) == (3, True)


def test_what_lies_where_nothing_is_read_is_said_once_each(own, tmp_path):
    (own / "images" / "doll.yml").write_text("framework: doll\n")
    (own / "workloads" / "rnm").mkdir()
    for workload in ("cnn", "rnn", "resnet50"):
        (own / "workloads" / workload).mkdir(exist_ok=True)
        (own / "workloads" / workload / "doll.py").write_text(SCRIPT)
    done = rosetta(
        "plan", "--engine", "process", "--only", "toy/cnn/cpu", "--profile", "try", "--with", own, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("note: ")] == [
        f"note: {own}/images/doll.yml: not read. Rename it to doll.yaml",
        f"note: {own}/workloads/rnm: no workload has this name, so its scripts are left out. Did you mean 'rnn'? "
        "Known: cnn, densenet121, resnet50, rnn.",
        f"note: {own}/workloads/cnn/doll.py and 2 more: images/ defines no library doll. "
        "Define it in images/doll.yaml; until then they are left out.",
    ]


@pytest.mark.parametrize(
    ("place", "text", "names"),
    [
        ("images/pytorch.yaml", json.dumps({**TOY, "framework": "pytorch"}), ("images/pytorch.yaml",) * 2),
        (
            "images/doll.yaml",
            json.dumps({**TOY, "framework": "doll", "libraries": {"jax": TOY["libraries"]["toy"]}}),
            ("doll.yaml", "jax.yaml"),
        ),
        ("workloads/cnn/pytorch.py", SCRIPT, ("workloads/cnn/pytorch.py",) * 2),
        ("workloads/params.json", "{}", ("workloads/params.json", "All libraries share")),
        ("workloads/harness/cell.py", "", ("workloads/harness", "All libraries share")),
    ],
)
def test_what_is_there_twice_is_an_error_that_names_both(own, place, text, names):
    (own / place).parent.mkdir(exist_ok=True)
    (own / place).write_text(text)
    with pytest.raises(MatrixError) as caught:
        take_in_libraries([own], ROOT / "matrix.yaml")
    for name in set(names):
        assert str(caught.value).count(name) >= names.count(name), caught.value


def test_a_folder_that_holds_no_library_is_an_error(tmp_path):
    for folder, said in ((tmp_path / "nowhere", "There is no folder"), (tmp_path, "neither images/ nor workloads/")):
        done = rosetta("plan", "--engine", "process", "--with", folder, cwd=tmp_path)
        assert (done.returncode, said in done.stderr) == (3, True), done.stderr


def test_a_missing_lock_says_where_it_belongs_and_is_written_there(own, tmp_path):
    shutil.rmtree(own / "images" / "locks")
    done = rosetta("plan", "--engine", "process", "--only", "toy/cnn/cpu", "--with", own, cwd=tmp_path)
    assert f"rosetta lock toy --with {own}" in done.stdout
    make_writable(own / "images" / "locks")
    assert list((own / "images" / "locks").iterdir()) == []
    (own / "file").write_text("")
    with pytest.raises(BuildError, match="--with DIR"):
        make_writable(own / "file" / "locks")


def test_init_writes_a_matrix_that_plans_and_never_overwrites(tmp_path):
    assert rosetta("init", cwd=tmp_path).returncode == 0
    text = (tmp_path / "matrix.yaml").read_text()
    planned = rosetta("plan", "--engine", "process", "--profile", "quick", "--json", cwd=tmp_path)
    cells = json.loads(planned.stdout)
    assert {cell["library"] for cell in cells} == {"pytorch", "tensorflow", "jax"}
    assert {(cell["data"], cell["samples"]) for cell in cells} == {("synthetic", 1280)}
    assert rosetta("plan", "--engine", "process", cwd=tmp_path).returncode == 0
    (tmp_path / "matrix.yaml").write_text(text + "# mine\n")
    again = rosetta("init", cwd=tmp_path)
    assert (again.returncode, "was not changed" in again.stderr) == (3, True)
    assert (tmp_path / "matrix.yaml").read_text().endswith("# mine\n")


def test_init_where_there_is_no_room_leaves_no_half_a_matrix(tmp_path):
    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    words = [sys.executable, "-c", "from orchestrator.cli.main import main; main()", "init"]
    done = subprocess.run(words, cwd=tmp_path, preexec_fn=no_room, capture_output=True, text=True)
    assert done.returncode not in (0, 1), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_starters_commented_lines_are_valid_too(tmp_path):
    text = (Path(ROOT) / "orchestrator" / "cli" / "starter.yaml").read_text()
    for line in ("exclude:", "  - {library: jax, workload: cnn}"):
        assert f"# {line}\n" in text
        text = text.replace(f"# {line}\n", f"{line}\n")
    text = (
        text.replace("[cpu] # also ", "[cpu, ").replace("cuda13\n", "cuda13]\n").replace("[none]", "[none, h200, here]")
    )
    path = tmp_path / "matrix.yaml"
    path.write_text(text)
    cells = cells_of_file(path, "full", known_words(), here=lambda: ("rtx-4090",))
    assert {cell.gpu for cell in cells if cell.platform == "cpu"} == {"none"}
    assert {cell.gpu for cell in cells if cell.platform != "cpu"} == {"h200", "rtx-4090"}
    assert {cell.platform for cell in cells} == set(PLATFORMS)
    assert {cell.workload for cell in cells} <= set(parameters())
    assert {cell.workload for cell in cells if cell.library == "jax"} == {"rnn"}
