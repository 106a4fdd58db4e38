"""What a row's engine says about how its cell ran. Rows outlive engines: a row has only the name of its own."""

from collections.abc import Mapping
from typing import Any

WITHOUT_CONTAINERS = frozenset({"process"})
BY_DOCKER = frozenset({"docker"})


def ran_bare(row: Mapping[str, Any]) -> bool:
    """Whether a cell ran without a container, with its machine's own libraries."""
    return row.get("engine") in WITHOUT_CONTAINERS


def ran_by_docker(row: Mapping[str, Any]) -> bool:
    """Whether ``docker run`` starts the cell's image on the machine where it ran."""
    return row.get("engine") in BY_DOCKER and bool(row.get("image"))
