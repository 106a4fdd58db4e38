"""Run inside an image: prints what is installed, as JSON. Python 3.6 and nothing else, as the user that cells have.

Debian's packages from dpkg's own record, Python's and R's from the metadata that their installers leave.
"""

import glob
import json
import os
import platform
import sys
from email.message import Message
from email.parser import HeaderParser
from typing import Dict, Iterator, Optional

Package = Dict[str, Optional[str]]

R_LIBRARIES = ("/usr/lib/R/library", "/usr/lib/R/site-library", "/usr/local/lib/R/site-library")


def headers(text: str) -> Message:
    """The first paragraph of ``Name: value`` lines, as pip, dpkg and R write them."""
    return HeaderParser().parsestr(text)


def read(path: str) -> str:
    """A text file, whatever its bytes."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def debian() -> Iterator[Package]:
    """What dpkg has installed."""
    try:
        paragraphs = read("/var/lib/dpkg/status").split("\n\n")
    except FileNotFoundError:
        return
    for found in map(headers, paragraphs):
        if found["Status"] == "install ok installed":
            yield {"kind": "deb", "name": found["Package"], "version": found["Version"], "licence": None}


def python() -> Iterator[Package]:
    """What lies on the path of this interpreter with metadata of its own."""
    for folder in filter(os.path.isdir, sys.path):
        for pattern in ("*.dist-info/METADATA", "*.egg-info/PKG-INFO"):
            for path in glob.glob(os.path.join(folder, pattern)):
                found = headers(read(path))
                yield {"kind": "pypi", "name": found["Name"], "version": found["Version"], "licence": licence(found)}


def licence(found: Message) -> "str | None":
    """A short name; some packages put the whole text where the name belongs."""
    name = found["License-Expression"] or found["License"] or ""
    return name if 0 < len(name) <= 100 and "\n" not in name else None


def r() -> Iterator[Package]:
    """R's packages."""
    for folder in R_LIBRARIES:
        for path in glob.glob(os.path.join(folder, "*", "DESCRIPTION")):
            found = headers(read(path))
            yield {"kind": "cran", "name": found["Package"], "version": found["Version"], "licence": licence(found)}


def main() -> None:
    """Print it."""
    every = {(p["kind"], p["name"], p["version"]): p for of in (debian, python, r) for p in of()}
    packages = [every[key] for key in sorted(every, key=str) if all(key)]
    json.dump({"python": platform.python_version(), "packages": packages}, sys.stdout)


if __name__ == "__main__":
    main()
