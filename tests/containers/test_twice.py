"""An image that is built twice from cold caches, on another day and under another host name, has the same layers."""

import hashlib
import io
import os
import shutil
import tarfile
from dataclasses import replace

import pytest

from benchmarks.twice import twice
from orchestrator.images.definitions import Framework, cuda
from orchestrator.images.image import Image
from orchestrator.images.sources import Sources
from orchestrator.system.checkout import ROOT
from tests.unit.images.test_images import TOY, wheel

pytestmark = [pytest.mark.container, pytest.mark.usefixtures("engine")]

CODE = "'''A module.'''\nWORDS = frozenset(['one', 'two', 'three', 'four', None])\n\ndef known(word):\n"
CODE += "    return word in {'alpha', 'beta', 'gamma', 'delta'} or word in WORDS\n"
SETUP = "from setuptools import setup\nsetup(name='toy', version='1.0', py_modules=['toy'])\n"
ON_3_6 = {
    **TOY,
    "python": "3.6",
    "base": "python:3.6-slim-bullseye",
    "packages": ["libgomp1"],
    "build": ["setuptools==59.6.0", "wheel==0.37.1"],
}


def source_of(folder, name="toy-1.0"):
    """A package as its source, which its image has to build."""
    path = folder / f"{name}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for file, text in {"setup.py": SETUP, "toy.py": CODE, "PKG-INFO": "Name: toy\nVersion: 1.0\n"}.items():
            member = tarfile.TarInfo(f"{name}/{file}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def toy(definition, program, platform="cpu"):
    """An image of one small package, and where that comes from."""
    wheels, locks = program / "wheels", program / "images" / "locks"
    wheels.mkdir()
    package = source_of(wheels) if "build" in definition else wheel(wheels, "toy", "1.0")
    digest = hashlib.sha256(package.read_bytes()).hexdigest()
    (locks / f"toy-{platform}.txt").write_text(f"toy==1.0 --hash=sha256:{digest}\n")
    shutil.copy(ROOT / "images" / "locks" / "chainer-2018-cpu.build.txt", locks / f"toy-{platform}.build.txt")
    from_here = Sources.from_environment()
    image = Image(Framework.model_validate(definition), platform)
    return image, Sources(wheels=wheels, ca=from_here.ca, proxies=from_here.proxies)


@pytest.mark.parametrize("definition", [TOY, ON_3_6], ids=["a wheel", "system packages, and a package that is built"])
def test_an_image_has_the_same_layers_twice(definition, program):
    found = twice(*toy(definition, program))
    assert found.differences == []
    assert found.layers >= 3


def libraries(folder, time):
    """CUDA's libraries as ROSETTA_CUDA names them, from a certain time; each is a link to one with a longer name."""
    (folder / "cuda8").mkdir(parents=True)
    for name in cuda().stages["cuda8"].toolkit:
        file = folder / "cuda8" / f"{name}.61"
        file.write_text(f"{name}\n")
        os.utime(file, (time, time))
        (folder / "cuda8" / name).symlink_to(file.name)
    return folder


def test_what_comes_from_other_stages_has_the_same_times_twice(program, tmp_path):
    """A folder of another image, and libraries that two machines have got at different times."""
    platforms = {"cuda8": {**TOY["platforms"]["cpu"], "cuda": ["toolkit"]}}
    copied = {"image": TOY["base"], "path": "/usr/share/perl5"}
    image, sources = toy({**TOY, "platforms": platforms, "copies": [copied]}, program, "cuda8")
    first, second = (libraries(tmp_path / str(time), time) for time in (1_000_000_000, 1_700_000_000))
    found = twice(image, replace(sources, cuda=first), replace(sources, cuda=second))
    assert found.differences == []
    assert found.layers >= 5
