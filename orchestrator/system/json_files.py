"""Read JSON that people write: UTF-8 with or without a mark at its beginning, and no name twice in an object."""

import codecs
import json
from collections.abc import Sequence
from typing import Any


class TwiceError(ValueError):
    """An object has a name twice: JSON's readers would silently drop the first."""

    def __init__(self, name: str) -> None:
        super().__init__(f"it has the name {name[:100]!r} twice in one object")


def without_mark(raw: bytes) -> bytes:
    """Return a file's bytes without the mark that some editors put before UTF-8."""
    return raw.removeprefix(codecs.BOM_UTF8)


def refuse_twice(raw: bytes) -> None:
    """Raise TwiceError for an object with a name twice, in JSON that is valid otherwise."""
    json.loads(raw, object_pairs_hook=once)


def once(pairs: Sequence[tuple[str, Any]]) -> None:
    """Raise TwiceError for a name that comes twice; the content is not needed."""
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise TwiceError(name)
        seen.add(name)
