"""Find what has changed since the locks were made: packages withdrawn or yanked, bases with another digest."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html.parser import HTMLParser
from itertools import chain
from pathlib import Path

import requests
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from urllib3.exceptions import HTTPError

from orchestrator.errors import BuildError, UnreachableError
from orchestrator.images.definitions import normal
from orchestrator.images.image import Image, read_lock
from orchestrator.images.pins import digests
from orchestrator.system.addresses import printable, without_secrets
from orchestrator.system.certificates import ca_bundle
from orchestrator.system.terminal import plain, quoted
from orchestrator.system.words import counted

PYPI = "https://pypi.org/simple"
ACCEPT = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
"""The two forms of an index, PEP 691 and PEP 503."""

LARGEST_PAGE = 64 * 2**20
"""Bytes that a page of an index may have; the largest of PyPI has 20 million."""

PACKAGE = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)(?:\[[\w, .-]*\])?={2,3}(?P<version>[\w.!+-]+)(?=[\s;\\]|$)")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})\b")
"""A package in a lock, and the sum of one of its files."""

AT_A_TIME = 8
TIMEOUTS = (10.0, 60.0)
"""Seconds to connect, and between two pieces of an answer."""


@dataclass(frozen=True)
class Pin:
    """A package as a lock has it, with the sums of its files."""

    name: str
    version: str
    sums: frozenset[str]

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


@dataclass(frozen=True)
class Listed:
    """A file as an index lists it; ``yanked`` is None, or why, which may be empty."""

    sum: str
    yanked: str | None


@dataclass(frozen=True)
class Moved:
    """Something that no longer matches its lock, and what became of it; ``unknown`` if the index could not be asked."""

    what: str
    how: str
    unknown: bool = False

    def __str__(self) -> str:
        return str(plain(f"{self.what}: {self.how}"))


class JsonFile(BaseModel):
    """A file of a package in an index's JSON, only the keys that matter."""

    model_config = ConfigDict(extra="ignore")
    hashes: dict[str, str] = {}
    yanked: bool | str = False


class JsonPage(BaseModel):
    """An index's page about a package."""

    model_config = ConfigDict(extra="ignore")
    files: list[JsonFile] = Field(max_length=100_000)


class HtmlPage(HTMLParser):
    """The same as HTML, where each file is a link."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.files: list[Listed] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a link to a file."""
        words = dict(attrs)
        found = re.search(r"#sha256=([0-9a-f]{64})", words.get("href") or "")
        if tag == "a" and found:
            self.files.append(Listed(found[1], (words["data-yanked"] or "") if "data-yanked" in words else None))


def pins_of(images: Iterable[Image]) -> dict[Pin, set[str]]:
    """Return all packages pinned by the images' locks, with the indexes besides the main one that may have them.

    Raises BuildError for a lock with something else in it, or with nothing.
    """
    found: dict[Pin, set[str]] = {}
    for image in images:
        for path in image.locks:
            pins = list(pins_in(path))
            if not pins:
                remedy = f"Run {quoted('rosetta', 'lock', image.framework.framework)}."
                raise BuildError(f"{path} has no packages.", remedy=remedy)
            for pin in pins:
                found.setdefault(pin, set()).update([image.spec.extra_index] if image.spec.extra_index else [])
    return found


def pins_in(path: Path) -> Iterator[Pin]:
    """Yield the packages of a lock; raises BuildError for a line that is none with its version."""
    lines = (line for line in read_lock(path) if not line.lstrip().startswith("#"))
    for block in "\n".join(lines).replace("\\\n", " ").splitlines():
        if block.strip():
            match = PACKAGE.match(block)
            if match is None:
                what = f"{path}: {without_secrets(block.strip())[:100]!r} is not a package with its version."
                raise BuildError(what, remedy="Make the lock anew: remove it, then run 'rosetta lock'.")
            yield Pin(normal(match["name"]), match["version"], frozenset(HASH.findall(block)))


def moved_packages(images: Iterable[Image]) -> Iterator[Moved]:
    """The pinned packages that are gone from their indexes, or yanked there."""
    pins = pins_of(images)
    main = main_index()
    asked = sorted({(index, pin.name) for pin, extra in pins.items() for index in (main, *extra)})
    with ThreadPoolExecutor(AT_A_TIME) as pool, requests.Session() as session:
        answers = dict(zip(asked, pool.map(lambda pair: listed(session, *pair), asked), strict=True))
    for pin, extra in sorted(pins.items(), key=lambda item: str(item[0])):
        found = moved(pin, [answers[index, pin.name] for index in (main, *sorted(extra))])
        if found:
            yield found


def moved(pin: Pin, answers: Sequence[Sequence[Listed] | str]) -> Moved | None:
    """Return what became of a package by its indexes' listings or refusals; None if it is unchanged."""
    if not pin.sums:
        return Moved(str(pin), "its lock has no hashes, so that a build refuses it: run 'rosetta lock'")
    files = [file for file in chain.from_iterable(a for a in answers if not isinstance(a, str)) if file.sum in pin.sums]
    if any(file.yanked is None for file in files):
        return None
    if files:
        reasons = sorted({file.yanked for file in files if file.yanked})
        return Moved(str(pin), f"yanked{': ' if reasons else ''}{'; '.join(reasons)[:300]}")
    refusals = [answer for answer in answers if isinstance(answer, str)]
    if refusals:
        return Moved(str(pin), f"not known: {refusals[0]}", unknown=True)
    return Moved(str(pin), "withdrawn: the index has none of the files whose hashes are locked")


def moved_bases(names: Iterable[str], digest_of: Callable[[str], str | None]) -> Iterator[Moved]:
    """Yield the bases whose tag has another digest in the registry than the locked one, or that have none locked."""
    locked = digests()
    for name in sorted(names):
        now = digest_of(name)
        if now is None:
            yield Moved(name, "withdrawn: the registry has no such tag")
        elif name not in locked:
            yield Moved(name, f"no digest is locked; its tag is now {now}: run 'rosetta lock --bases'")
        elif now != locked[name]:
            yield Moved(name, f"updated: its tag is now {now}, locked is {locked[name]}")


def main_index() -> str:
    """The index that 'rosetta lock' asks: uv's own setting, else pip's, else PyPI."""
    names = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL")
    return next((value for name in names if (value := os.environ.get(name))), PYPI)


def listed(session: requests.Session, index: str, name: str) -> Sequence[Listed] | str:
    """Return the files of a package in an index, none if it lacks the package; a text if it can't be asked."""
    try:
        url = f"{index.rstrip('/')}/{name}/"
        with session.get(url, headers={"Accept": ACCEPT}, timeout=TIMEOUTS, verify=ca_bundle(), stream=True) as answer:
            if answer.status_code == requests.codes.not_found:
                return ()
            answer.raise_for_status()
            raw = answer.raw.read(LARGEST_PAGE + 1, decode_content=True)
            if len(raw) > LARGEST_PAGE:
                return f"{printable(index)} sent more than a page may have"
            return files_of(raw, answer.headers)
    except requests.HTTPError as error:
        return f"{printable(index)} answered with HTTP status {error.response.status_code}"
    except ValidationError:
        return f"{printable(index)} did not send a page of an index"
    except (requests.RequestException, HTTPError, OSError, ValueError) as error:  # the last for a malformed proxy
        return f"{printable(index)} can't be reached ({type(error).__name__})"


def files_of(raw: bytes, headers: Mapping[str, str]) -> list[Listed]:
    """Return the files that an index page lists, in either form; raises ValidationError."""
    if "json" not in headers.get("Content-Type", ""):
        return HtmlPage(raw.decode(errors="replace")).files
    files = JsonPage.model_validate_json(raw).files
    reasons = [("" if file.yanked is True else str(file.yanked)) if file.yanked else None for file in files]
    return [Listed(file.hashes.get("sha256", ""), reason) for file, reason in zip(files, reasons, strict=True)]


def refuse_unknown(found: Sequence[Moved]) -> None:
    """Raise UnreachableError if an index could not be asked: no answer does not prove that nothing has changed."""
    if any(each.unknown for each in found):
        what = f"{counted(len(found), 'package')} could not be checked."
        raise UnreachableError(what, remedy="Check the network, and the index that UV_INDEX_URL names, if it is set.")
