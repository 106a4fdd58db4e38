"""Fetch data sets from their publishers, or from a mirror, into the cache."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from orchestrator.data import chestxray
from orchestrator.data.catalogue import CHESTXRAY14, DATA_SETS, WEIGHTS, DataSet
from orchestrator.data.downloads import OFFLINE, below, bring, is_stored, is_url, silent
from orchestrator.data.files import Content, File, checksum
from orchestrator.errors import DataError, DiskError
from orchestrator.storage.location import storage_at
from orchestrator.storage.protocol import NotThere
from orchestrator.system.addresses import printable
from orchestrator.system.cache import cache_folder as cache_folder
from orchestrator.system.terminal import Say, quoted
from orchestrator.system.words import advice


class State(StrEnum):
    """The state of a checked file."""

    OK = "ok"
    MISSING = "missing"
    WRONG = "wrong"


@dataclass(frozen=True)
class Checked:
    """A checked file of the cache: its path, its state, and its checksum (``found``) beside the accepted ones."""

    dataset: str
    path: Path
    state: State
    expected: tuple[str, ...]
    found: str | None = None


def folder(name: str, cache: Path | None = None) -> Path:
    """Return a data set's folder in the cache, to be mounted at ``/data``, without checking that it is filled."""
    return Shelf(named([name])[0], cache).folder


def digest(name: str) -> str:
    """Return one sha256, in hex, of a data set's content, from its publisher's checksums: no data is read or hashed.

    Copies that are packed differently but hold the same data have the same digest. For a set that is converted here it
    is the digest of its index, and empty before that exists; weights beside it change it.
    """
    if name == chestxray.NAME:
        arrays, weights = chestxray.digest(folder(name)), chestxray.weights(folder(name))
        return hashlib.sha256(json.dumps([arrays, weights]).encode()).hexdigest() if arrays and weights else arrays
    lines = sorted(f"{file.path} {file.sums[0]}\n" for file in named([name])[0].published)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def mounted(names: Iterable[str] = ()) -> list[Path]:
    """Return the folders of these data sets that a cell finds at /data: not those of weights beside another's arrays.

    No names: all known ones, weights included.
    """
    return [folder(dataset.name) for dataset in named(names or [*DATA_SETS, *WEIGHTS]) if not dataset.beside]


def is_declared(name: str) -> bool:
    """Return whether the checksums of a data set are known before it is fetched."""
    return name != chestxray.NAME


def contents(folder: Path) -> dict[str, File]:
    """Return the files, by path, that a cell must find at ``/data``, for the data set in a ``folder`` of the cache.

    For a set converted here these are the files that its index names, the index, and the weights beside them. Raises
    DataError for an unknown name.
    """
    if folder.name != chestxray.NAME:
        return {file.path: file for file in named([folder.name])[0].files}
    sums = {**chestxray.sums(folder), "index.json": chestxray.digest(folder), **chestxray.weights(folder)}
    return {name: File(name, (Content(sum, (folder / name).stat().st_size),)) for name, sum in sums.items()}


def check(names: Iterable[str], cache: Path | None = None) -> list[Checked]:
    """Hash every file of the named data sets, half a second for 200 MB; nothing is downloaded.

    No names: all but the large.

    Raises DataError for an unknown name or an unreadable cache.
    """
    found = []
    for dataset in named(names):
        shelf = Shelf(dataset, cache)
        with disk_errors(shelf.folder):
            found += check_arrays(shelf.folder) if dataset.large else shelf.check()
    return found


def check_arrays(folder: Path) -> list[Checked]:
    """Check a data set that was converted here, by the checksums in its index."""
    found = []
    for name, wanted in (chestxray.sums(folder) or {"index.json": ""}).items():
        path = folder / name
        actual = checksum(path) if path.is_file() else None
        state = State.MISSING if actual is None else State.OK if actual == wanted else State.WRONG
        found.append(Checked(chestxray.NAME, path, state, (wanted,), actual))
    return found


def report_check(names: Iterable[str], cache: Path | None = None, say: Say = silent) -> None:
    """Check the named data sets and say a line per file.

    Raises DataError if a file is missing or wrong.
    """
    checked = check(names, cache)
    for file in checked:
        say(f"{file.state:<8}{file.path}")
        if file.state is State.WRONG:
            say(f"        has    {file.found}\n        wanted {file.expected[0]}")
    bad = [file for file in checked if file.state is not State.OK]
    if bad:
        sets = dict.fromkeys(file.dataset for file in bad)
        # A set converted here counts as complete as long as its index exists.
        indices = {file.path.with_name("index.json") for file in bad if file.dataset == chestxray.NAME}
        removing = "".join(f"{quoted('rm', '-f', index)}, then " for index in indices)
        raise DataError(
            f"{len(bad)} of {len(checked)} files of the data sets are missing or wrong.",
            remedy=f"Run {removing}{quoted('rosetta', 'data', 'fetch', *sets)}.",
        )


def fetch(
    names: Iterable[str],
    *,
    cache: Path | None = None,
    mirror: str | None = None,
    say: Say = silent,
) -> dict[str, Path]:
    """Fetch the named data sets into the cache; returns the folder of each, to be mounted at ``/data``.

    What is there and was verified before costs nothing; else the ``mirror`` (a folder, URL or location of a storage, by
    default ``ROSETTA_DATA_MIRROR``) is asked first, then the publisher. Broken downloads are retried and resumed, also
    in a later call. Several processes may call this at once. ``say`` gets a line per step; a progress bar goes to
    stderr if that is a terminal, else occasional lines to ``say``. No names means
    all but the large ones and the weights.

    Raises DataError for an unknown name, or a file that can't be had or isn't what its publisher made; DiskError for
    lack of room, before anything is downloaded.
    """
    mirror = mirror or os.environ.get("ROSETTA_DATA_MIRROR") or None
    folders = {}
    for dataset in named(names):
        shelf = Shelf(dataset, cache)
        with disk_errors(shelf.folder):
            if dataset is CHESTXRAY14:
                with shelf.alone(say):
                    chestxray.fetch(shelf.folder, shelf.desk, mirror, say)
            elif shelf.lacking():
                with shelf.alone(say):
                    fill(shelf, mirror, say)
        folders[dataset.name] = shelf.folder
    return folders


def named(names: Iterable[str]) -> list[DataSet]:
    """Return the distinct data sets of these names; without names all but the large ones and the weights."""
    known = {**DATA_SETS, **WEIGHTS}
    wanted = list(dict.fromkeys(names)) or [name for name, dataset in DATA_SETS.items() if not dataset.large]
    for name in wanted:
        if name not in known:
            raise DataError(f"There is no data set {name!r}.", remedy=advice(name, known))
    return [known[name] for name in wanted]


class Shelf:
    """The place of one data set in the cache: ``folder`` with only its files, and beside it ``desk``.

    Weights ``beside`` another set lie in its folder. The desk holds the lock, the note of what was verified, and in
    ``incoming`` partial downloads.
    """

    def __init__(self, dataset: DataSet, cache: Path | None) -> None:
        data = (cache or cache_folder()) / "data"
        self.dataset = dataset
        self.folder, self.desk = data / (dataset.beside or dataset.name), data / f".{dataset.name}"
        self.incoming, self.note = self.desk / "incoming", self.desk / "verified.json"

    def lacking(self) -> list[File]:
        """Return the missing or wrong files; those verified before and not modified since are not hashed again."""
        checked = self.check(trusting=True)
        return [file for file, found in zip(self.dataset.files, checked, strict=True) if found.state is not State.OK]

    def check(self, trusting: bool = False) -> list[Checked]:
        """Return the state of every file; with ``trusting``, by an earlier check's note if size and mtime agree."""
        before = self.read_note() if trusting else {}
        checked, note = [], {}
        for file in self.dataset.files:
            path = self.folder / file.path
            found = None
            if path.is_file():
                size, changed = path.stat().st_size, path.stat().st_mtime_ns
                known = before.get(file.path, [])
                found = str(known[2]) if known[:2] == [size, changed] else checksum(path, file.algorithm)
                note[file.path] = [size, changed, found]
            state = State.MISSING if found is None else State.OK if found in file.sums else State.WRONG
            checked.append(Checked(self.dataset.name, path, state, file.sums, found))
        if note != before:
            self.write_note(note)
        return checked

    def read_note(self) -> dict[str, list[object]]:
        """Return size, mtime and checksum by path; empty if the note is missing or damaged."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            return note if all(len(entry) == 3 for entry in note.values()) else {}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def write_note(self, note: dict[str, list[object]]) -> None:
        """Write the note; a read-only cache does without one."""
        draft = self.note.with_suffix(f".{os.getpid()}")
        try:
            self.desk.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(note), encoding="utf-8")
            draft.replace(self.note)
        except OSError:
            return

    @contextmanager
    def alone(self, say: Say) -> Iterator[None]:
        """Lock this shelf against other processes that would fill it; waits for one that does."""
        from filelock import FileLock, Timeout

        self.desk.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.desk / "lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say(f"{self.dataset.name}: waiting for another process that fetches it")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()


def fill(shelf: Shelf, mirror: str | None, say: Say) -> None:
    """Fetch missing files by the first way that has them, then move each into place by one rename."""
    wanted = shelf.lacking()  # again: another process may have filled it while this one waited for the lock
    if not wanted:
        return
    say(f"{shelf.dataset.name}: {shelf.dataset.terms}")
    bring_published(shelf, wanted, mirror, say)
    made = convert(shelf, wanted) if shelf.dataset.convert else shelf.incoming
    for file in wanted:
        target = shelf.folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        for path, mode in ((shelf.folder, 0o755), (target.parent, 0o755), (made / file.path, 0o644)):
            if path.stat().st_mode & mode != mode:
                path.chmod(mode)  # cells run as another user
        (made / file.path).replace(target)
    shutil.rmtree(shelf.incoming)
    shelf.check()


def bring_published(shelf: Shelf, wanted: list[File], mirror: str | None, say: Say) -> None:
    """Fetch and verify the published files needed, into ``shelf.incoming``, by the first way that has them."""
    needed = list(shelf.dataset.originals) or wanted
    refusals = []
    for way in ways(shelf, needed, mirror):
        try:
            return gather(shelf, way, needed, say)
        except NotThere as refusal:
            refusals.append(str(refusal))
            if is_url(way[0][1]):
                say(f"{shelf.dataset.name}: {refusal}")
        except DataError as error:
            if not refusals:
                raise
            raise DataError(error.what, f"{'; '.join(refusals)}. Then {error.why}", MIRROR) from None
    remedy = MIRROR if mirror else OFFLINE
    raise DataError(f"The data set {shelf.dataset.name} could not be fetched.", "; ".join(refusals) + ".", remedy)


def convert(shelf: Shelf, wanted: list[File]) -> Path:
    """Convert published files to those that cells read; returns their folder. Raises DataError on wrong checksums."""
    assert shelf.dataset.convert is not None
    made = shelf.incoming / "converted"
    made.mkdir(exist_ok=True)
    shelf.dataset.convert(shelf.incoming, made)
    for file in wanted:
        if checksum(made / file.path) not in file.sums:
            raise DataError(
                f"The data set {shelf.dataset.name} was not converted as expected: {file.path} has another checksum.",
                f"It should be {file.sums[0]}.",
            )
    return made


MIRROR = "Check ROSETTA_DATA_MIRROR first: the place and the credentials in it."

Way = list[tuple[File, str]]
"""The files to get, each with its address (a URL, a place in a storage, or a path)."""


def ways(shelf: Shelf, wanted: list[File], mirror: str | None) -> list[Way]:
    """Return the ways to get the published files: local copies, the mirror's archive or files, the publisher."""
    dataset = shelf.dataset
    found: list[Way] = [[(file, file.url) for file in ([dataset.archive] if dataset.archive else wanted)]]
    if mirror:
        if is_stored(mirror):
            storage_at(mirror).close()  # is it a location at all?
        elif not is_url(mirror) and not Path(mirror).expanduser().is_dir():
            raise DataError(
                f"The mirror {printable(mirror)} is neither a folder nor a URL with http, https, az or file.",
                remedy="Correct or unset ROSETTA_DATA_MIRROR.",
            )
        found.insert(0, [(file, below(mirror, file.path)) for file in wanted])
        if dataset.archive:
            found.insert(0, [(dataset.archive, below(mirror, dataset.archive.path))])
    if dataset.originals and all(is_whole(shelf.folder / file.path, file) for file in wanted):
        found.insert(0, [(file, str(shelf.folder / file.path)) for file in wanted])
    return found


def is_whole(path: Path, file: File) -> bool:
    """Return whether a file exists with an accepted content: earlier releases kept published files unconverted."""
    return path.is_file() and checksum(path, file.algorithm) in file.sums


def gather(shelf: Shelf, way: Way, wanted: list[File], say: Say) -> None:
    """Fetch and verify all wanted files into ``shelf.incoming``. Raises NotThere if this way doesn't have them."""
    archive = shelf.dataset.archive
    packed = archive is not None and way[0][0] is archive
    paths = [shelf.incoming / file.path for file, _ in way]
    there = sum(path.stat().st_size for path in paths if path.is_file())
    made = sum(file.largest for file in shelf.dataset.files) if shelf.dataset.originals else 0
    unpacked = packed * sum(file.largest for file in wanted)
    require_room(shelf, sum(file.largest for file, _ in way) - there + unpacked + made)
    for (file, address), path in zip(way, paths, strict=True):
        bring(file, path, address, say)
    if packed:
        from orchestrator.data.unpacking import unpack, unzip

        if paths[0].suffix == ".zip":
            return unzip(paths[0], shelf.incoming, wanted)
        unpack(paths[0], shelf.incoming, wanted, shelf.dataset.published, shelf.dataset.extras)


def require_room(shelf: Shelf, needed: int) -> None:
    """Raise DiskError if the disk has less than ``needed`` bytes free."""
    free = shutil.disk_usage(shelf.desk).free
    if free < needed:
        raise DiskError(
            f"There is no room for the data set {shelf.dataset.name} in {shelf.folder.parent}.",
            f"It needs {needed:,} bytes, and {free:,} are free.",
            remedy="Free some space, or set ROSETTA_CACHE to a folder on a larger disk.",
        )


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Turn OSErrors about the cache into errors with a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskError(
                f"The disk of {place.parent} is full.",
                remedy="Free space, or set ROSETTA_CACHE to a folder on a larger disk; then run the command again.",
            ) from None
        raise DataError(
            f"The data set {place.name} could not be read from or written to {place.parent}.",
            f"{error}.",
            "Correct its owner or mode, or set ROSETTA_CACHE to another folder.",
        ) from None
