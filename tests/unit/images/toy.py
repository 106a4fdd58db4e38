"""A library that is not there, for the tests of what images/ says of one."""

import json

from orchestrator.images.definitions import Framework
from orchestrator.images.image import Image

TOY = {
    "framework": "toy",
    "license": "MIT",
    "libraries": {"toy": {"title": "Toy", "docs": "https://example.org/"}},
    "python": "3.11",
    "base": "python:3.11-slim-bookworm",
    "platforms": {"cpu": {"version": "1.0", "requirements": ["toy==1.0"]}},
}


def written(folder, content, name="toy"):
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(content))  # JSON is YAML
    return path


def toy(**changes):
    return Image(Framework.model_validate({**TOY, **changes}), "cpu")
