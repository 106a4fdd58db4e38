"""Images from outside: what one of them plants reaches no later cell."""

import os
import pickle
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import docker
import numpy as np
import pytest

from orchestrator.cell.cell import Cell
from orchestrator.data import catalogue, conversion, datasets
from orchestrator.data.catalogue import DataSet
from orchestrator.data.files import Content, File, checksum
from orchestrator.engines import volumes
from orchestrator.engines.docker import DockerEngine
from orchestrator.engines.protocol import Task
from orchestrator.errors import DataError, EngineError
from orchestrator.system import file_locks

pytestmark = pytest.mark.container

BASE = "python:3.11-slim-bookworm"
LISTS = """
import os
for folder, _, names in os.walk("/data"):
    for name in names: print("sees", os.path.join(folder, name))
"""
SUMS = "import hashlib; print(hashlib.sha256(open('/data/train.words.npy', 'rb').read()).hexdigest())"


@dataclass(frozen=True)
class Probe:
    """An image by its tag, which is all that running a container needs."""

    tag: str


@pytest.fixture
def image_of(engine, tmp_path) -> Iterator[Callable[..., Probe]]:
    """An image on Python's, with further lines in its Dockerfile, that runs the code in the cell's library."""
    tags = []

    def build(name: str, lines: str = "") -> Probe:
        (tmp_path / "probe.py").write_text("import sys\nexec(sys.argv[1])\n")
        (tmp_path / "Dockerfile").write_text(
            f"FROM {BASE}\nRUN useradd --uid 10001 rosetta && mkdir -p /results /data && chown rosetta /results\n"
            f'COPY . /\n{lines}\nENTRYPOINT ["python", "-u", "/probe.py"]\n'
        )
        tag = f"rosetta/hostile-{name}:test"
        subprocess.run(["docker", "build", "--quiet", "--tag", tag, str(tmp_path)], check=True, capture_output=True)
        tags.append(tag)
        return Probe(tag)

    yield build
    subprocess.run(["docker", "image", "rm", "--force", *tags], check=True, capture_output=True)


@pytest.fixture
def reviews(engine, tmp_path, monkeypatch) -> Iterator[Path]:
    """A data set in a cache of the test's own, with a folder in it; its volume goes with it."""
    monkeypatch.setenv("ROSETTA_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "data" / "hostile-reviews"
    (folder / "part").mkdir(parents=True)
    for name in ("train.words.npy", "part/labels.npy"):
        conversion.save(np.frombuffer(os.urandom(64), np.uint8), folder / name)
    files = tuple(
        File(name, (Content(checksum(folder / name), (folder / name).stat().st_size),))
        for name in ("train.words.npy", "part/labels.npy")
    )
    monkeypatch.setitem(catalogue.DATA_SETS, "hostile-reviews", DataSet("hostile-reviews", "none", files))
    yield folder
    for volume in engine.volumes.list(filters={"name": "rosetta-data-hostile-reviews"}):
        volume.remove(force=True)


@pytest.fixture
def run(engine) -> Iterator[Callable[..., str]]:
    """The log of a cell with a data set."""
    made = []

    def log(probe: Probe, code: str, data: Path) -> str:
        made.append(DockerEngine())
        outcome = made[-1].run(Task(Cell(code, "rnn"), probe, "key", "run", data=data), lambda event: None)
        return f"{outcome.log}\n{outcome.reason}"

    yield log
    for each in made:
        each.api.close()


class Planted:
    """What leaves a mark when it is unpickled."""

    def __reduce__(self):
        return print, ("the planted pickle ran",)


HONEST = ["/data/part/labels.npy", "/data/train.words.npy"]


def seen(log: str) -> list[str]:
    """The files that a cell has listed."""
    return sorted(line.removeprefix("sees ") for line in log.splitlines() if line.startswith("sees "))


def test_what_a_hostile_image_has_in_data_reaches_no_cell(engine, image_of, reviews, run, tmp_path):
    honest = image_of("honest")
    planted = tmp_path / "data"
    planted.mkdir()
    (planted / ".complete").touch()
    (planted / "extra.json").write_text("{}")
    (planted / "imdb.npz").write_bytes(pickle.dumps(Planted()))
    np.save(planted / "train.words.npy", np.array([Planted()], object), allow_pickle=True)
    hostile = image_of("planted")
    assert seen(run(hostile, LISTS, reviews)) == HONEST
    log = run(honest, LISTS + SUMS, reviews)
    assert seen(log) == HONEST
    assert checksum(reviews / "train.words.npy") in log
    assert "the planted pickle ran" not in log


@pytest.mark.alone
@pytest.mark.usefixtures("no_volume_left")
def test_an_image_with_a_place_to_write_of_its_own_is_not_run(image_of, reviews, run):
    log = run(image_of("volumes", 'VOLUME ["/data", "/var/lib", "/results"]'), "print('it', 'ran')", reviews)
    assert "declares writable volumes: /data, /var/lib" in log
    assert "it ran" not in log


def test_a_cell_can_change_nothing_in_a_volume_of_data(image_of, reviews, run):
    tries = "import os\nfor act in (lambda: open('/data/x', 'w'), lambda: os.remove('/data/train.words.npy')):\n"
    tries += " try: act(); print('changed')\n except OSError as error: print(error)"
    log = run(image_of("writes"), tries, reviews)
    assert log.count("Read-only file system") >= 2, log
    assert "changed" not in log


def plant(engine: docker.DockerClient, name: str, folder: Path, do: str, **options: object) -> None:
    """Make the volume of a data set before anybody else does, with its files and something done to them."""
    engine.volumes.create(name, **options)
    mounts = [docker.types.Mount("/data", name, type="volume"), docker.types.Mount("/from", str(folder), type="bind")]
    engine.containers.run(BASE, ["sh", "-c", f"cp -r /from/. /data; {do}"], mounts=mounts, remove=True)


PLANTS = {
    "altered": "printf x >>/data/train.words.npy",
    "exchanged": "cp /data/part/labels.npy /data/train.words.npy",
    "more": "touch /data/.complete",
    "lacking": "rm /data/part/labels.npy",
    "symlink": "mv /data/train.words.npy /data/part/a; ln -s part/a /data/train.words.npy",
    "hard link": "ln -f /data/part/labels.npy /data/train.words.npy",
    "fifo": "rm /data/train.words.npy; mkfifo /data/train.words.npy",
    "folder": "rm /data/train.words.npy; mkdir /data/train.words.npy",
    "unreadable": "chmod 600 /data/train.words.npy",
    "huge": "truncate -s 40G /data/train.words.npy",
    "many": "for n in $(seq 5000); do : >/data/part/$n; done",
}


@pytest.mark.parametrize("do", PLANTS.values(), ids=PLANTS.keys())
def test_a_volume_with_anything_else_in_it_is_filled_anew(engine, reviews, do):
    name = volumes.name_of(reviews)
    plant(engine, name, reviews, do)
    assert volumes.fault(engine.api, name, datasets.contents(reviews)) is not None
    assert volumes.filled(engine.api, reviews) == name
    assert volumes.fault(engine.api, name, datasets.contents(reviews)) is None


def test_a_volume_that_is_a_folder_elsewhere_is_not_used(engine, reviews, tmp_path):
    options = {"driver_opts": {"type": "none", "o": "bind", "device": str(reviews)}}
    name = engine.volumes.create(volumes.name_of(reviews), **options).name
    assert volumes.fault(engine.api, name, datasets.contents(reviews)) == "is not the engine's own folder"
    volumes.filled(engine.api, reviews)
    assert not engine.api.inspect_volume(name)["Options"]
    assert (reviews / "train.words.npy").exists()


def test_a_volume_is_looked_at_and_left_as_it_is(engine, reviews):
    name = volumes.filled(engine.api, reviews)
    made = engine.api.inspect_volume(name)["CreatedAt"]
    assert volumes.filled(engine.api, reviews) == name
    assert engine.api.inspect_volume(name)["CreatedAt"] == made
    assert engine.api.containers(all=True, filters={"label": f"{volumes.OF_VOLUME}={name}"}) == []
    assert engine.api.images(all=True, filters={"label": "rosetta=data"}) == []


def test_waiting_for_a_volume_that_somebody_fills_ends_with_the_run(engine, reviews):
    path, asked = file_locks.host_folder() / f"{volumes.name_of(reviews)}.lock", []
    with ThreadPoolExecutor(1) as somebody:
        lock = somebody.submit(file_locks.take, path).result()
        with pytest.raises(EngineError, match="The run was stopped"):
            volumes.filled(engine.api, reviews, lambda: asked.append(True) or len(asked) > 2)
        lock.release()
    assert len(asked) > 2


def test_data_check_tells_of_the_volumes(engine, reviews):
    said: list[str] = []
    name = volumes.filled(engine.api, reviews)
    volumes.report_check(engine.api, ["hostile-reviews"], said.append)
    assert f"ok      volume {name}" in said
    engine.volumes.get(name).remove()
    plant(engine, name, reviews, PLANTS["altered"], labels=volumes.LABELS)
    with pytest.raises(DataError, match="1 of the engine's volumes holds something other"):
        volumes.report_check(engine.api, ["hostile-reviews"], said.append)
    assert f"wrong   volume {name}: it holds another train.words.npy" in said


def test_a_cache_that_was_changed_fills_no_volume(engine, reviews):
    (reviews / "train.words.npy").write_bytes(b"changed")
    with pytest.raises(EngineError, match=r"holds another train\.words\.npy"):
        volumes.filled(engine.api, reviews)
