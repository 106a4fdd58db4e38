"""Run inside an image: prints what is in it, as JSON. Python 3.6 and nothing else, as the user that cells have.

Debian's packages from dpkg's own record, Python's and R's from the metadata that their installers leave, the libraries
inside Python's packages from the lists of their files (RECORD), Python itself and further libraries from where they
lie. What belongs to none of them is counted.
"""

import base64
import csv
import glob
import hashlib
import json
import mmap
import os
import platform
import re
import stat
import sys
import sysconfig
from email.message import Message
from email.parser import HeaderParser
from typing import Any, Dict, Iterable, Iterator, List, Optional, Set, Tuple

Package = Dict[str, Any]
Owners = Dict[str, str]
"""The kind of package that a file belongs to, by its path."""

DPKG = "/var/lib/dpkg"
R_LIBRARIES = ("/usr/lib/R/library", "/usr/lib/R/site-library", "/usr/local/lib/R/site-library")

OF_PYTHON = (
    *("bin/python*", "bin/pydoc*", "bin/idle*", "bin/2to3*", "bin/pyvenv*", "lib/libpython*", "lib/python3*.zip"),
    *("lib/pkgconfig/python*", "share/man/man1/python*", "include/python*"),
)
"""What Python's own installer leaves beside its library."""

LIBRARY = re.compile(r"(?P<name>lib[A-Za-z0-9_+.-]*?)(?:-[0-9a-f]{8})*\.so(?:\.(?P<version>[0-9][\w.]*))?$")
"""A shared library by its file, as auditwheel renames it: ``libgfortran-040039e1.so.5.0.0``."""

OPENBLAS = re.compile(r"(?P<name>libopenblas\w*)-r(?P<major>\d+)(?:-[0-9a-f]{8})?\.(?P<minor>[\d.]+)\.so$")
"""This one has its version before the end, and auditwheel's letters within: ``libopenblasp-r0-34a18dc3.3.7.so``."""

INSIDE = {
    "HDF5": re.compile(rb"HDF5 (?:library version|Version:) {0,2}(\d+\.\d+\.\d+)"),
    "MKL": re.compile(rb"Math Kernel Library (?:Version )?(\d{4}\.\d+(?:\.\d+)?)"),
    "OpenBLAS": re.compile(rb"OpenBLAS (\d+\.\d+\.\d+)"),
    "OpenSSL": re.compile(rb"OpenSSL (\d+\.\d+\.\d+[a-z]?) {1,2}\d{1,2} [A-Z][a-z]{2} \d{4}"),
    "SQLite": re.compile(rb"SQLite format 3\0(?:.{0,4096}?)(\d\.\d{1,2}\.\d{1,2})\0", re.S),
    "zlib": re.compile(rb" deflate (\d+\.\d+[.\d]*) Copyright"),
}
"""The versions that libraries state in their own bytes, also where they are linked into another one."""


def headers(text: str) -> Message:
    """The first paragraph of ``Name: value`` lines, as pip, dpkg and R write them."""
    return HeaderParser().parsestr(text)


def read(path: str) -> str:
    """Return the text of a file, whatever its bytes; empty if it is missing or can't be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def sum_of(path: str) -> Optional[str]:
    """Return the SHA-256 of a file; None if it can't be read."""
    try:
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except OSError:
        return None


def package(kind: str, name: str, version: Optional[str], licence: Optional[str] = None, **more: Any) -> Package:
    """Something that is installed. ``sha256`` is that of its file, or of the list of its files; ``within`` has it."""
    return dict({"kind": kind, "name": name, "version": version, "licence": licence, "sha256": None}, **more)


def real(path: str, known: Dict[str, str]) -> str:
    """Resolve the links among a path's folders: /lib is /usr/lib."""
    folder, name = os.path.split(path)
    if folder not in known:
        known[folder] = os.path.realpath(folder)
    return os.path.join(known[folder], name)


def debian(owners: Owners) -> Iterator[Package]:
    """Yield the packages that dpkg has installed."""
    known: Dict[str, str] = {}
    for found in map(headers, read(os.path.join(DPKG, "status")).split("\n\n")):
        if found["Status"] != "install ok installed":
            continue
        name = found["Package"]
        stems = [os.path.join(DPKG, "info", stem) for stem in (name, "%s:%s" % (name, found["Architecture"]))]
        for path in [line for stem in stems for line in read(stem + ".list").split("\n")]:
            owners[real(path, known)] = "deb"
        sums = sum_of(stems[0] + ".md5sums") or sum_of(stems[1] + ".md5sums")
        copyright_file = read("/usr/share/doc/%s/copyright" % name)
        licences = sorted(set(re.findall(r"(?m)^License: *(\S+(?: with \S+ exception)?)", copyright_file)))
        licence = ", ".join(licences) if "Format:" in copyright_file[:500] else None
        yield package("deb", name, found["Version"], licence or None, sha256=sums)


def python(owners: Owners) -> Iterator[Package]:
    """Yield what has metadata on this interpreter's path, and the libraries in it."""
    for folder in filter(os.path.isdir, sys.path):
        for pattern in ("*.dist-info/METADATA", "*.egg-info/PKG-INFO"):
            for path in glob.glob(os.path.join(folder, pattern)):
                found, place = headers(read(path)), os.path.dirname(path)
                record = os.path.join(place, "RECORD")
                files = dict(files_of(folder, place))
                owners.update((name, "pypi") for name in files)
                yield package("pypi", found["Name"], found["Version"], licence_of(found), sha256=sum_of(record))
                for inside in libraries(files, str(found["Name"])):
                    yield inside


def files_of(folder: str, place: str) -> Iterator[Tuple[str, Optional[str]]]:
    """The files of a package, each with its SHA-256 as the wheel told it; those that pip made have none."""
    for line in csv.reader(read(os.path.join(place, "RECORD")).splitlines()):
        if line and line[0]:
            told = line[1] if len(line) > 1 else ""
            yield os.path.realpath(os.path.join(folder, line[0])), hexadecimal(told)
    for name in read(os.path.join(place, "installed-files.txt")).splitlines():
        yield os.path.realpath(os.path.join(place, name)), None


def hexadecimal(told: str) -> Optional[str]:
    """Convert RECORD's ``sha256=`` and base64 without padding to hexadecimal; None for anything else."""
    kind, _, text = told.partition("=")
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).hex() if kind == "sha256" else None
    except ValueError:
        return None


def libraries(files: Dict[str, Optional[str]], within: str) -> Iterator[Package]:
    """The shared libraries of a package, and what can be seen in its binaries of libraries that are linked in."""
    linked: Dict[str, str] = {}
    for path in sorted(files):
        if ".so" not in os.path.basename(path) or not os.path.isfile(path):
            continue
        found = named(path)
        told = marks(path)
        if found:
            alone = len(told) == 1
            version = list(told.values())[0] if alone else found[1]
            yield package("bundled", found[0], version, sha256=files[path] or sum_of(path), within=within)
            told = {} if alone else told
        linked.update(told)
    for name in sorted(linked):
        yield package("bundled", name, linked[name], within=within)


def named(path: str) -> Optional[Tuple[str, Optional[str]]]:
    """The name of a shared library and its version, by its file; None if it is none, such as a Python module."""
    file = os.path.basename(path)
    found = OPENBLAS.match(file)
    if found:
        return found.group("name"), "%s.%s" % (found.group("major"), found.group("minor"))
    found = LIBRARY.match(file)
    return (found.group("name"), found.group("version")) if found else None


def marks(path: str) -> Dict[str, str]:
    """The libraries that a binary has in itself, with their versions."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            found = [(name, mark.search(content)) for name, mark in INSIDE.items()]
            return {name: match.group(1).decode() for name, match in found if match}
    except (OSError, ValueError):
        return {}


def licence_of(found: Message) -> Optional[str]:
    """Return a licence's short name; some packages put the whole text there, some name it in their classifiers."""
    name = found["License-Expression"] or found["License"] or ""
    if 0 < len(name) <= 100 and "\n" not in name:
        return str(name)
    classes = [str(each).split(" :: ") for each in found.get_all("Classifier") or ()]
    return " AND ".join(each[-1] for each in classes if each[0] == "License" and len(each) > 2) or None


def r(owners: Owners) -> Iterator[Package]:
    """R's packages."""
    for folder in R_LIBRARIES:
        for path in glob.glob(os.path.join(folder, "*", "DESCRIPTION")):
            found = headers(read(path))
            for file in below(os.path.dirname(path)):
                owners.setdefault(file, "cran")
            yield package("cran", found["Package"], found["Version"], licence_of(found), sha256=sum_of(path))


def interpreter(owners: Owners) -> Iterator[Package]:
    """Python itself, unless it is one of Debian's packages: its library, programs and headers."""
    program, prefix = os.path.realpath(sys.executable), os.path.realpath(sys.base_prefix)
    if program in owners:
        return
    library = os.path.realpath(sysconfig.get_paths()["stdlib"])
    others = [os.path.realpath(sysconfig.get_paths()[name]) + os.sep for name in ("purelib", "platlib")]
    for place in [library, *(path for pattern in OF_PYTHON for path in glob.glob(os.path.join(prefix, pattern)))]:
        for path in below(place):
            if not path.startswith(tuple(others)):
                owners.setdefault(path, "python")
    yield package("python", "cpython", platform.python_version(), "PSF-2.0", sha256=sum_of(program))
    for path in sorted(glob.glob(os.path.join(library, "lib-dynload", "*.so"))):
        for name, version in sorted(marks(path).items()):
            yield package("bundled", name, version, within="cpython")


def elsewhere(owners: Owners) -> Iterator[Package]:
    """Shared libraries that no package brought: those of CUDA, and what was compiled from its source."""
    for path in [*below("/usr/local"), *below("/opt")]:
        found = named(path)
        if found and path not in owners:
            owners[path] = "file"
            versions = list(marks(path).values())
            version = versions[0] if len(versions) == 1 else found[1]
            yield package("file", found[0], version, sha256=sum_of(path), within=os.path.dirname(path))


def below(place: str) -> Iterator[str]:
    """The plain files in a folder, or a file itself."""
    if os.path.isfile(place) and not os.path.islink(place):
        yield place
    for folder, _, names in os.walk(place):
        for name in names:
            if not os.path.islink(os.path.join(folder, name)):
                yield os.path.join(folder, name)


def everything() -> Iterator[Tuple[str, int]]:
    """Each plain file of the image once, with its size; nothing that is mounted into it."""
    seen: Set[int] = set()
    here = os.stat("/").st_dev
    for folder, folders, names in os.walk("/"):
        folders[:] = [name for name in folders if device(os.path.join(folder, name)) == here]
        for path in (os.path.join(folder, name) for name in names):
            try:
                found = os.lstat(path)
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode) and found.st_dev == here and found.st_ino not in seen:
                seen.add(found.st_ino)
                yield path, found.st_size


def device(path: str) -> Optional[int]:
    """The file system of a folder; None for a link."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev if stat.S_ISDIR(found.st_mode) else None


def owner(path: str, owners: Owners) -> str:
    """Return the kind of package that a file belongs to; byte code belongs to that of its source."""
    folder, name = os.path.split(path)
    if name.endswith(".pyc") and os.path.basename(folder) == "__pycache__":
        path = os.path.join(os.path.dirname(folder), name.split(".")[0] + ".py")
    if path.startswith("/workloads/"):
        return "workloads"
    return owners.get(path, "nobody")


def sizes(owners: Owners) -> Dict[str, int]:
    """The bytes of all files by the kind of package that they belong to."""
    found = {"nobody": 0}
    for path, size in everything():
        kind = owner(path, owners)
        found[kind] = found.get(kind, 0) + size
    return found


def distinct(packages: Iterable[Package]) -> List[Package]:
    """Return each package once, in a fixed order; what has no name was no package."""
    every = {tuple(str(p.get(key)) for key in ("kind", "within", "name", "version", "sha256")): p for p in packages}
    named = [every[key] for key in sorted(every) if every[key]["name"]]
    return [each for each in named if each["version"] or each["kind"] in ("bundled", "file")]


def main() -> None:
    """Print the inventory."""
    owners: Owners = {}
    packages = [found for of in (debian, python, r, interpreter, elsewhere) for found in of(owners)]
    told = {"python": platform.python_version(), "packages": distinct(packages), "sizes": sizes(owners)}
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
