"""Base images by digest: what is locked, what stands in for it here, and what depends on it."""

import pytest

from orchestrator.cell.cell import Cell
from orchestrator.errors import BuildError
from orchestrator.images.bakefile import bake
from orchestrator.images.bases import (
    Base,
    base_here,
    bases_of,
    described,
    lock_bases,
    repository_of,
    unlocked,
    wanted_bases,
    write_own_base,
)
from orchestrator.images.definitions import frameworks
from orchestrator.images.image import dockerfile, image_for
from orchestrator.images.pins import pinned
from orchestrator.images.sources import Sources
from orchestrator.plan.keys import key
from orchestrator.system import library_folders
from orchestrator.system.library_folders import PROGRAM
from tests.unit.images.toy import TOY, toy, written

PYTHON = "python:3.11-slim-bookworm"
FIRST, SECOND = "sha256:" + "a" * 64, "sha256:" + "b" * 64
ID = "sha256:" + "c" * 64


def lock(definitions, text):
    (definitions / "locks" / "bases.txt").write_text(text)
    (definitions / "locks" / "toy-cpu.txt").write_text("toy==1.0 --hash=sha256:00\n")
    library_folders.forget()


def found(*digests):
    return {"Id": ID, "RepoDigests": list(digests)}


def test_a_locked_digest_is_in_dockerfile_recipe_key_and_mirror(definitions):
    lock(definitions, "# a remark\n")
    assert f"FROM {PYTHON} AS toy-cpu" in dockerfile(toy())
    seen = {toy().recipe}
    for digest in (FIRST, SECOND):
        lock(definitions, f"{PYTHON}@{digest}\n")
        assert f"FROM {PYTHON}@{digest} AS toy-cpu" in dockerfile(toy())
        seen.add(toy().recipe)
        target = bake([toy()], Sources(registry="mirror.example.org"))["target"]["toy-cpu"]
        pulled = f"docker-image://mirror.example.org/library/{PYTHON}@{digest}"
        assert target["contexts"] == {f"{PYTHON}@{digest}": pulled}
        assert target["labels"]["rosetta.base"] == f"{PYTHON}@{digest}"
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("locked", "here", "expected"),
    [
        ("", None, Base(PYTHON)),
        ("", found(f"python@{SECOND}"), Base(PYTHON, SECOND)),
        ("", found(), Base(PYTHON, stand_in=ID)),
        ("", found(f"localhost:5000/library/python@{SECOND}"), Base(PYTHON, stand_in=ID)),
        (FIRST, None, Base(PYTHON, FIRST)),
        (FIRST, found(f"python@{SECOND}"), Base(PYTHON, FIRST)),
        (FIRST, found(), Base(PYTHON, stand_in=ID)),
    ],
    ids=["tag", "pulled", "imported", "of another registry", "locked", "locked, older here", "locked, imported"],
)
def test_what_a_build_takes_for_a_base(definitions, locked, here, expected):
    lock(definitions, f"{PYTHON}@{locked}\n" if locked else "")
    assert base_here(PYTHON, here) == expected
    assert base_here(PYTHON, here, mirrored=True) == Base(PYTHON, locked)


def test_a_stand_in_is_built_on_marked_and_no_part_of_other_keys(definitions):
    lock(definitions, f"{PYTHON}@{FIRST}\n")
    bases = {PYTHON: Base(PYTHON, stand_in=ID)}
    target = bake([toy()], Sources(), bases)["target"]["toy-cpu"]
    assert target["contexts"] == {f"{PYTHON}@{FIRST}": f"docker-image://{PYTHON}"}
    label = target["labels"]["rosetta.base"]
    assert label == f"{PYTHON} (stand-in {ID})"
    assert unlocked(label) == [label]
    assert unlocked(f"{PYTHON}@{FIRST}") == []
    cell = Cell("pytorch", "rnn", data="synthetic")
    keys = {key(cell, toy(), "docker", base=text) for text in ("", label, label.replace(ID, FIRST))}
    assert len(keys) == 3


def test_of_a_base_that_is_not_here_the_built_image_knows_more():
    """Else a base that was removed after a build would have all cells run again."""
    built = f"{PYTHON}@{SECOND}, julia:1.9 (stand-in {ID})"
    assert described([PYTHON, "julia:1.9"], {}, built) == built
    assert described([PYTHON], {}, "debian") == PYTHON
    assert described([PYTHON], {PYTHON: Base(PYTHON, stand_in=ID)}, built) == f"{PYTHON} (stand-in {ID})"


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        (PYTHON, "python"),
        ("docker.io/library/python:3.11@" + FIRST, "python"),
        ("mambaorg/micromamba:2.3.2", "mambaorg/micromamba"),
        ("localhost:5000/me/base", "localhost:5000/me/base"),
    ],
)
def test_repositories_have_neither_tag_nor_digest(name, repository):
    assert repository_of(name) == repository


@pytest.mark.parametrize("line", [f"{PYTHON}@sha256:12", f"{PYTHON}", f"{PYTHON}@{FIRST} rm -rf", f"-x@{FIRST}"])
def test_a_line_that_is_no_image_by_digest_is_an_error(definitions, line):
    lock(definitions, f"{line}\n")
    with pytest.raises(BuildError, match=r"bases\.txt: .* is not an image with a digest\.\nRemove that line"):
        pinned(PYTHON)


@pytest.mark.parametrize("name", ["bases.txt", "toy-cpu.txt"])
def test_a_lock_that_is_no_text_is_an_error(definitions, name):
    written(definitions, TOY)
    (definitions / "locks" / "toy-cpu.txt").write_text("toy==1.0 --hash=sha256:00\n")
    (definitions / "locks" / name).write_bytes(b"# one line\n\xff\xfe\n")
    with pytest.raises(BuildError, match=rf"{name} is not text in UTF-8.\n?.*Line 2"):
        toy().recipe  # noqa: B018


def test_bases_are_locked_once_and_renewed_when_asked(definitions):
    written(definitions, {**TOY, "copies": [{"image": "julia:1.9-bookworm", "path": "/usr/local/julia"}]})
    ((folder, names),) = wanted_bases(list(frameworks().values())).items()
    assert names == ["julia:1.9-bookworm", PYTHON]
    asked = []

    def first(name):
        asked.append(name)
        return FIRST

    path = lock_bases(folder, names, first, anew=False)
    assert pinned(PYTHON) == f"{PYTHON}@{FIRST}"
    lock_bases(folder, names, first, anew=False)
    assert asked == names
    lock_bases(folder, names, lambda name: SECOND, anew=True)
    assert path.read_text().endswith(f"\njulia:1.9-bookworm@{SECOND}\n{PYTHON}@{SECOND}\n")
    with pytest.raises(BuildError, match=f"The registry has no {PYTHON}"):
        lock_bases(folder, [PYTHON], lambda name: None, anew=True)
    assert pinned(PYTHON) == f"{PYTHON}@{SECOND}"


def test_the_own_image_of_the_orchestrator_is_told_its_base(definitions):
    dockerfile = definitions.parent / "orchestrator" / "Dockerfile"
    dockerfile.parent.mkdir()
    dockerfile.write_text((PROGRAM.path / "orchestrator" / "Dockerfile").read_text())
    for digest in (FIRST, SECOND):
        lock(definitions, f"{PYTHON}@{digest}\n")
        write_own_base()
        lines = dockerfile.read_text().splitlines()
        assert lines.count(f"ARG ROSETTA_BASE={PYTHON}@{digest}") == 1
        assert lines.count("FROM ${ROSETTA_BASE}") == 1


def test_the_bases_of_an_image_with_cuda_are_those_of_its_stage_too():
    image = image_for("mxnet-2018", "cuda9")
    assert image.spec.base in bases_of(image)
    assert set(bases_of(image, cuda=False)) < set(bases_of(image))
