"""Which of a library's calls a piece of a script makes, and where the library documents them.

A name is followed through the script's imports, and becomes an address by the rules that its library has in images/,
under ``links``. What no rule knows has no link: there are fewer links than calls.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from orchestrator.images.definitions import library_index

IMPORTS = (
    (re.compile(r"^\s*import (?P<name>[\w.]+) as (?P<alias>\w+)", re.M), "{name}"),
    (re.compile(r"^\s*import (?P<name>\w+)(?P<alias>)$", re.M), "{name}"),
    (re.compile(r"^\s*from (?P<name>[\w.]+) import (?P<alias>[\w, ]+)", re.M), "{name}.{alias}"),
    (re.compile(r'^(?P<alias>\w+) <- import\("(?P<name>[\w.]+)"', re.M), "{name}"),
    (re.compile(r"^using (?P<name>\w+): (?P<alias>[^\n]+)", re.M), "{name}.{alias}"),
)
"""How the three languages import names; several names at once have the last form."""

NAME = re.compile(r"(?<![\w.$@\"'])[A-Za-z_]\w*(?:[.$][A-Za-z_]\w*)*")
COMMENT = re.compile(r"(^|\s)#.*")


class Link(NamedTuple):
    """A call as the script writes it, and the address of its documentation."""

    name: str
    url: str


def origins(script: str) -> dict[str, str]:
    """Return what each imported name of a script stands for: ``{"nn": "torch.nn"}``."""
    found = {}
    for pattern, meaning in IMPORTS:
        for match in pattern.finditer(script):
            for alias in re.split(r",\s*", match["alias"] or match["name"]):
                found[alias.strip("@")] = meaning.format(name=match["name"], alias=alias)
    return found


def links(code: str, names: Mapping[str, str], library: str) -> Iterator[Link]:
    """The documented calls of a piece of a script, each once, in their order; ``names`` are its ``origins``."""
    seen: set[str] = set()
    for name in NAME.findall(COMMENT.sub("", code)):
        first, *rest = re.split(r"[.$]", name)
        whole = ".".join([names.get(first, ""), *rest])
        url = address(whole, library) if first in names and whole not in seen else None
        if url:
            seen.add(whole)
            yield Link(name.replace("$", "."), url)


def address(name: str, library: str) -> str | None:
    """The address of a whole name, ``torch.nn.Linear``, by the first of its library's rules that knows it."""
    rules = library_index()[library].libraries[library].links
    return next(filter(None, (rule.address(name) for rule in rules)), None)
