"""What pip says in a real build when a pin can't be had, and what a user is told then."""

import pytest

from orchestrator import images
from orchestrator.errors import BuildError
from orchestrator.images import Framework, Image, Sources
from orchestrator.images.building import run_bake
from tests.unit.test_images import TOY, wheel

pytestmark = [pytest.mark.container, pytest.mark.usefixtures("engine")]


@pytest.mark.parametrize(
    ("version", "tag"),
    [("0.9", "py3-none-any"), ("1.0", "cp36-cp36m-manylinux1_x86_64")],
    ids=["vanished from the index", "made for another Python"],
)
def test_a_pin_that_can_not_be_had_is_named(version, tag, tmp_path, monkeypatch):
    locks, wheels = tmp_path / "images" / "locks", tmp_path / "wheels"
    for folder in (locks, wheels, tmp_path / "workloads"):
        folder.mkdir(parents=True)
    monkeypatch.setattr("orchestrator.images.image.LOCKS", locks)
    (locks / "toy-cpu.txt").write_text(f"toy==1.0 --hash=sha256:{'0' * 64}\n")
    wheel(wheels, "toy", version, tag=tag)
    file = images.bake([Image(Framework.model_validate(TOY), "cpu")], Sources(wheels=wheels))
    target = file["target"]["toy-cpu"]
    target |= {"context": str(tmp_path), "contexts": {"wheels": str(wheels)}, "args": {"PIP_NO_INDEX": "1"}}
    with pytest.raises(BuildError, match=r"The index has no toy==1\.0, or none for the image's Python"):
        run_bake(file, print)
