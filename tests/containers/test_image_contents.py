"""What must not be left in an image: compilers and caches; and what images of a line must share: their base."""

from pathlib import Path

import pytest

from benchmarks.images import inspected, left_in, shares
from orchestrator.images.image import every_image

pytestmark = [pytest.mark.container, pytest.mark.usefixtures("engine")]

COMPILERS = {"clang", "g++", "gcc"}  # whose library compiles while it runs: its file asks for one of Debian's


def test_images_on_the_engine_are_base_and_framework_and_nothing_else():
    found = {image: inspected(image.tag) for image in every_image() if image.platform == "cpu"}
    for image, inside in found.items():
        base = inspected(image.spec.base)
        if inside is None or base is None:
            continue  # not built, or of a base that was pulled again since
        assert shares(inside, base), image
        left = {Path(path).name for path in left_in(inside["Id"])}
        assert bool(left) == bool(COMPILERS & set(image.spec.packages)), (image, left)
