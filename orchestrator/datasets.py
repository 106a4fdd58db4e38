"""Data sets: a table of what their publishers made, and the way from there, or from a mirror, into the cache."""

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit, urlunsplit

from orchestrator.errors import DataError, DiskError

if TYPE_CHECKING:
    import gzip
    import tarfile

    import requests
    from filelock import BaseFileLock
    from rich.console import Console

CHUNK = 2**18
"""Bytes read and written at a time."""

BACK_OFF = (1, 2, 4, 8, 16)
"""Seconds between the tries of a broken download."""

TIMEOUTS = (15, 60)
"""Seconds to wait for a connection, and for the next byte."""

LINE_EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal to draw a bar on."""

TAR_OVERHEAD = 2**20
"""Bytes that an archive may unpack to beyond its declared files: headers, padding and small extras."""

Say = Callable[[str], None]
"""Takes a line for the user."""

AGAIN = "Run 'rosetta data fetch' again: it goes on where it stopped."
OFFLINE = "Without internet, let ROSETTA_DATA_MIRROR name a folder or URL that holds the files (docs/data.md)."


@dataclass(frozen=True)
class Content:
    """The bytes of a file: their sha256 in hex, and how many there are."""

    sha256: str
    size: int


@dataclass(frozen=True)
class File:
    """A file of a data set, or the archive it is published in.

    ``path`` is relative to the folder of the set. ``contents`` are those to accept: first the publisher's, then any
    that are packed otherwise but hold the same data. ``url`` is the publisher's; files from an archive have none.
    """

    path: str
    contents: tuple[Content, ...]
    url: str = ""

    @property
    def size(self) -> int:
        """Bytes as published."""
        return self.contents[0].size

    @property
    def largest(self) -> int:
        """Bytes of the largest accepted content."""
        return max(content.size for content in self.contents)

    @property
    def sums(self) -> tuple[str, ...]:
        """The accepted sha256 sums, the publisher's first."""
        return tuple(content.sha256 for content in self.contents)


@dataclass(frozen=True)
class DataSet:
    """A data set: its ``files`` as the workloads read them below ``/data``, and the ``archive`` if they come in one.

    ``extras`` are members of the archive that no workload reads; any other member is refused.
    """

    name: str
    title: str
    terms: str
    citation: str
    files: tuple[File, ...]
    archive: File | None = None
    extras: tuple[str, ...] = ()


def one(path: str, sha256: str, size: int, url: str = "") -> File:
    """A file of which one content is known."""
    return File(path, (Content(sha256, size),), url)


CIFAR_10 = DataSet(
    name="cifar-10",
    title="CIFAR-10: 60,000 colour images of 32x32 pixels in 10 classes",
    terms="No licence stated; the author asks for the citation.",
    citation="A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009.",
    archive=one(
        "cifar-10-python.tar.gz",
        "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        170_498_071,
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    ),
    files=tuple(
        one(f"cifar-10-batches-py/{name}", sha256, size)
        for name, sha256, size in (
            ("data_batch_1", "54636561a3ce25bd3e19253c6b0d8538147b0ae398331ac4a2d86c6d987368cd", 31_035_704),
            ("data_batch_2", "766b2cef9fbc745cf056b3152224f7cf77163b330ea9a15f9392beb8b89bc5a8", 31_035_320),
            ("data_batch_3", "0f00d98ebfb30b3ec0ad19f9756dc2630b89003e10525f5e148445e82aa6a1f9", 31_035_999),
            ("data_batch_4", "3f7bb240661948b8f4d53e36ec720d8306f5668bd0071dcb4e6c947f78e9682b", 31_035_696),
            ("data_batch_5", "d91802434d8376bbaeeadf58a737e3a1b12ac839077e931237e0dcd43adcb154", 31_035_623),
            ("test_batch", "f53d8d457504f7cff4ea9e021afcf0e0ad8e24a91f3fc42091b8adef61157831", 31_035_526),
            ("batches.meta", "f962466ef690d46b226450fb9aadc74ba4bc64a76aa526b5827fe4bc5c7125cb", 158),
        )
    ),
    extras=("cifar-10-batches-py/readme.html",),
)

IMDB = DataSet(
    name="imdb",
    title="IMDB: 50,000 film reviews, half of them positive, as word ranks",
    terms="No licence stated; the authors ask for the citation.",
    citation="A. L. Maas et al.: Learning Word Vectors for Sentiment Analysis, ACL 2011.",
    files=(
        File(
            "imdb.npz",
            (
                Content("69664113be75683a8fe16e3ed0ab59fda8886cb3cd7ada244f7d9544e4676b9f", 17_464_789),
                # The same reviews in the same order, packed again: other bytes, equal content.
                Content("6814c0beea01878740d178d45caaf84fa878f5f452bd5f6bb6b5e3add8655f32", 17_311_495),
            ),
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/imdb.npz",
        ),
    ),
)

DATA_SETS = {dataset.name: dataset for dataset in (CIFAR_10, IMDB)}
"""The data sets by name, as ``dataset`` in workloads/params.json names them. Synthetic data is made in the cell."""


class State(StrEnum):
    """What a check found of a file."""

    OK = "ok"
    MISSING = "missing"
    WRONG = "wrong"


@dataclass(frozen=True)
class Checked:
    """One file as found in the cache: where, in which state, and its sha256 (``found``) beside the accepted ones."""

    dataset: str
    path: Path
    state: State
    expected: tuple[str, ...]
    found: str | None = None


def silent(line: str) -> None:
    """Say nothing."""


def cache_folder() -> Path:
    """Where everything downloaded is kept: ``ROSETTA_CACHE``, else ``~/.cache/rosetta``."""
    return Path(os.environ.get("ROSETTA_CACHE") or "~/.cache/rosetta").expanduser()


def folder(name: str, cache: Path | None = None) -> Path:
    """The folder of a data set in the cache, to be mounted at ``/data``; whether anything is in it is not looked at."""
    return Shelf(named([name])[0], cache).folder


def digest(name: str) -> str:
    """The content of a data set as one sha256 in hex, from the declared sums: nothing is read or hashed.

    Copies that are packed otherwise but hold the same data have the same digest.
    """
    lines = sorted(f"{file.path} {file.sums[0]}\n" for file in named([name])[0].files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check(names: Iterable[str], cache: Path | None = None) -> list[Checked]:
    """Hash every file of the named data sets (no names: all), half a second for 200 MB; nothing is downloaded.

    Raises DataError for an unknown name or an unreadable cache.
    """
    found = []
    for dataset in named(names):
        shelf = Shelf(dataset, cache)
        with disk_errors(shelf.folder):
            found += shelf.check()
    return found


def report_check(names: Iterable[str], cache: Path | None = None, say: Say = silent) -> None:
    """Check the named data sets and say a line per file.

    Raises DataError if a file is missing or wrong.
    """
    checked = check(names, cache)
    for file in checked:
        say(f"{file.state:<8}{file.path}")
        if file.state is State.WRONG:
            say(f"        sha256 {file.found}\n        wanted {file.expected[0]}")
    bad = [file for file in checked if file.state is not State.OK]
    if bad:
        sets = " ".join(dict.fromkeys(file.dataset for file in bad))
        raise DataError(
            f"{len(bad)} of {len(checked)} files of the data sets are missing or wrong.",
            remedy=f"Run 'rosetta data fetch {sets}'.",
        )


def fetch(
    names: Iterable[str],
    *,
    cache: Path | None = None,
    mirror: str | None = None,
    say: Say = silent,
) -> dict[str, Path]:
    """Bring the named data sets into the cache; returns the folder of each, to be mounted at ``/data``.

    What is there already and was verified before costs nothing, else the ``mirror`` (a folder or URL, by default
    ``ROSETTA_DATA_MIRROR``) is asked first, then the publisher. Broken downloads are tried again and go on where they
    stopped, also in a later call. Several processes may call this at once. ``say`` gets a line per step; a progress
    bar goes to stderr where that is a terminal, else lines now and then to ``say``. No names means all.

    Raises DataError for an unknown name, a file that can't be had or isn't what its publisher made; DiskError for
    lack of room, before anything is downloaded.
    """
    mirror = mirror or os.environ.get("ROSETTA_DATA_MIRROR") or None
    folders = {}
    for dataset in named(names):
        shelf = Shelf(dataset, cache)
        with disk_errors(shelf.folder):
            if shelf.lacking():
                with shelf.alone(say):
                    fill(shelf, mirror, say)
        folders[dataset.name] = shelf.folder
    return folders


def named(names: Iterable[str]) -> list[DataSet]:
    """The data sets of these names, each once; all where no name is given."""
    wanted = list(dict.fromkeys(names)) or list(DATA_SETS)
    for name in wanted:
        if name not in DATA_SETS:
            near = get_close_matches(name, DATA_SETS, n=1)
            raise DataError(
                f"There is no data set {name!r}.",
                remedy=f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(DATA_SETS)}.",
            )
    return [DATA_SETS[name] for name in wanted]


class Shelf:
    """The place of one data set in the cache: ``folder`` with its files and nothing else, and beside it ``desk``.

    On the desk lie the lock, the note of what was verified, and in ``incoming`` what is still on its way.
    """

    def __init__(self, dataset: DataSet, cache: Path | None) -> None:
        data = (cache or cache_folder()) / "data"
        self.dataset = dataset
        self.folder, self.desk = data / dataset.name, data / f".{dataset.name}"
        self.incoming, self.note = self.desk / "incoming", self.desk / "verified.json"

    def lacking(self) -> list[File]:
        """The files that are missing or wrong; those verified before and not touched since are not hashed again."""
        checked = self.check(trusting=True)
        return [file for file, found in zip(self.dataset.files, checked, strict=True) if found.state is not State.OK]

    def check(self, trusting: bool = False) -> list[Checked]:
        """The state of every file; ``trusting`` the note of an earlier check where size and time of change agree."""
        before = self.read_note() if trusting else {}
        checked, note = [], {}
        for file in self.dataset.files:
            path = self.folder / file.path
            found = None
            if path.is_file():
                size, changed = path.stat().st_size, path.stat().st_mtime_ns
                known = before.get(file.path, [])
                found = str(known[2]) if known[:2] == [size, changed] else sha256(path)
                note[file.path] = [size, changed, found]
            state = State.MISSING if found is None else State.OK if found in file.sums else State.WRONG
            checked.append(Checked(self.dataset.name, path, state, file.sums, found))
        if note != before:
            self.write_note(note)
        return checked

    def read_note(self) -> dict[str, list[object]]:
        """Size, time of change and sha256 by path, or nothing where the note is missing or damaged."""
        try:
            note = json.loads(self.note.read_text())
            return note if all(len(entry) == 3 for entry in note.values()) else {}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def write_note(self, note: dict[str, list[object]]) -> None:
        """Keep what was found. A cache that can only be read does without."""
        draft = self.note.with_suffix(f".{os.getpid()}")
        try:
            self.desk.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(note))
            draft.replace(self.note)
        except OSError:
            return

    @contextmanager
    def alone(self, say: Say) -> Iterator[None]:
        """Keep other processes from filling this shelf at the same time; waits for one that does."""
        from filelock import FileLock, Timeout

        self.desk.mkdir(parents=True, exist_ok=True)
        lock: BaseFileLock = FileLock(self.desk / "lock")
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
    """Get what the shelf lacks by the first way that has it, then put it in place, each file by one rename."""
    wanted = shelf.lacking()  # again: another process may have filled it while this one waited for the lock
    if not wanted:
        return
    say(f"{shelf.dataset.title}\n  {shelf.dataset.citation} {shelf.dataset.terms}")
    refusals = []
    for way in ways(shelf.dataset, wanted, mirror):
        try:
            gather(shelf, way, wanted, say)
            break
        except NotThere as refusal:
            refusals.append(str(refusal))
    else:
        raise DataError(f"The data set {shelf.dataset.name} can't be had.", "; ".join(refusals) + ".", OFFLINE)
    for file in wanted:
        target = shelf.folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        for path, mode in ((shelf.folder, 0o755), (target.parent, 0o755), (shelf.incoming / file.path, 0o644)):
            if path.stat().st_mode & mode != mode:
                path.chmod(mode)  # cells run as another user
        (shelf.incoming / file.path).replace(target)
    shutil.rmtree(shelf.incoming)
    shelf.check()
    say(f"{shelf.dataset.name}: complete in {shelf.folder}")


Way = list[tuple[File, str]]
"""The files to get, each with its address (a URL or a path)."""


def ways(dataset: DataSet, wanted: list[File], mirror: str | None) -> list[Way]:
    """The ways to the wanted files: the publisher's own files from the mirror, the unpacked ones, the publisher."""
    found: list[Way] = [[(file, file.url) for file in ([dataset.archive] if dataset.archive else wanted)]]
    if mirror:
        if not is_url(mirror) and not Path(mirror).expanduser().is_dir():
            raise DataError(
                f"The mirror {mirror} is neither a folder nor an http(s) URL.",
                remedy="Correct or unset ROSETTA_DATA_MIRROR.",
            )
        found.insert(0, [(file, below(mirror, file.path)) for file in wanted])
        if dataset.archive:
            found.insert(0, [(dataset.archive, below(mirror, dataset.archive.path))])
    return found


def gather(shelf: Shelf, way: Way, wanted: list[File], say: Say) -> None:
    """Bring all wanted files, verified, into ``shelf.incoming``. Raises NotThere if this way doesn't have them."""
    archive = shelf.dataset.archive
    packed = archive is not None and way[0][0] is archive
    paths = [shelf.incoming / file.path for file, _ in way]
    there = sum(path.stat().st_size for path in paths if path.is_file())
    require_room(shelf, sum(file.largest for file, _ in way) - there + packed * sum(file.largest for file in wanted))
    for (file, address), path in zip(way, paths, strict=True):
        with receiving(file, path, address) as incoming:
            bring = download if is_url(address) else copy
            bring(incoming, say)
    if packed:
        unpack(paths[0], shelf, wanted)


def require_room(shelf: Shelf, needed: int) -> None:
    """Raise DiskError where the disk has less than ``needed`` bytes free."""
    free = shutil.disk_usage(shelf.desk).free
    if free < needed:
        raise DiskError(
            f"There is no room for the data set {shelf.dataset.name} in {shelf.folder.parent}.",
            f"It needs {needed:,} bytes, and {free:,} are free.",
            remedy="Make room, or let ROSETTA_CACHE name a folder on a larger disk.",
        )


class Incoming:
    """A file on its way into the cache: what has come so far is on disk, hashed, and never more than declared.

    Bytes of an earlier call count if they came from the same address; with them the ``validator`` of that answer
    (its ETag or date) is kept, so that a file that changed meanwhile is not glued to the old one.
    """

    def __init__(self, file: File, path: Path, address: str, stream: IO[bytes]) -> None:
        self.file, self.path, self.stream = file, path, stream
        self.source, self.address = address, printable(address)
        self.slip = path.with_name(path.name + ".origin")
        self.hash, self.size, self.validator = hashlib.sha256(), 0, ""

    def resume(self) -> None:
        """Count what an earlier call left, if it is of any use."""
        origin, _, self.validator = self.slip.read_text().partition("\n") if self.slip.is_file() else ("", "", "")
        self.stream.seek(0)
        while chunk := self.stream.read(CHUNK):
            self.hash.update(chunk)
            self.size += len(chunk)
        if not self.complete and (origin != self.address or self.size >= self.file.largest):
            self.restart()

    @property
    def complete(self) -> bool:
        """Whether an accepted content has come."""
        return self.hash.hexdigest() in self.file.sums

    def restart(self, validator: str = "") -> None:
        """Forget what came, and note where the next bytes come from."""
        self.stream.truncate(0)
        self.hash, self.size, self.validator = hashlib.sha256(), 0, validator
        self.slip.write_text(f"{self.address}\n{validator}")

    def write(self, chunk: bytes) -> None:
        """Take the next bytes. Raises DataError where they are more than any accepted content has."""
        self.size += len(chunk)
        if self.size > self.file.largest:
            self.refuse(f"It has more than the {self.file.largest:,} bytes it should have.")
        self.stream.write(chunk)
        self.hash.update(chunk)

    def verify(self) -> None:
        """Raise DataError, and remove the file, if it is not an accepted content."""
        if not self.complete:
            self.refuse(
                f"Its sha256 is {self.hash.hexdigest()} ({self.size:,} bytes); "
                f"it should be {self.file.sums[0]} ({self.file.size:,} bytes)."
            )

    def refuse(self, why: str) -> NoReturn:
        """Remove the file and raise DataError."""
        self.path.unlink()
        self.slip.unlink(missing_ok=True)
        raise DataError(
            f"{self.address} is not the file its publisher made ({self.file.path}).",
            why,
            "If it came through a proxy or a mirror, look there; else fetch it again.",
        )


@contextmanager
def receiving(file: File, path: Path, address: str) -> Iterator[Incoming]:
    """Receive ``file`` from ``address`` at ``path``, after what an earlier call left there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as stream:
        incoming = Incoming(file, path, address, stream)
        incoming.resume()
        yield incoming


class NotThere(Exception):
    """A source doesn't have the file: try the next one."""


class Broken(Exception):
    """The connection didn't hold: try again."""


def copy(incoming: Incoming, say: Say) -> None:
    """Copy a file of a mirror folder. Raises NotThere where it isn't there."""
    path = Path(incoming.source)
    if incoming.complete:
        return
    if not path.is_file():
        raise NotThere(f"{path} does not exist")
    incoming.restart()
    with path.open("rb") as source, shown(say, incoming) as show:
        while chunk := source.read(CHUNK):
            incoming.write(chunk)
            show()
    incoming.verify()


def download(incoming: Incoming, say: Say) -> None:
    """Download a file, with pauses between the tries of a connection that breaks.

    Raises NotThere where the server says so; DataError when the tries are used up or trying again is no use.
    """
    import requests
    import urllib3

    if incoming.complete:
        return
    with shown(say, incoming) as show:
        for pause in (*BACK_OFF, None):
            try:
                receive(incoming, show)
                break
            except (requests.RequestException, urllib3.exceptions.HTTPError, Broken) as error:
                inner = cause(error)
                if pause is None or hopeless(inner, incoming):
                    raise given_up(incoming, inner) from None
                say(f"{incoming.file.path}: {reason(inner)}; next try in {pause} s")
                time.sleep(pause)
    incoming.verify()


def receive(incoming: Incoming, show: Callable[[], None]) -> None:
    """One request for the bytes that are still lacking. Raises requests', urllib3's or Broken where it breaks."""
    import requests

    # Bytes as they are: some servers call a .tar.gz a gzip-encoded .tar, and a range counts encoded bytes.
    headers = {"Accept-Encoding": "identity"}
    if incoming.size:
        headers["Range"] = f"bytes={incoming.size}-"
        if incoming.validator:
            headers["If-Range"] = incoming.validator
    with requests.get(incoming.source, headers=headers, stream=True, timeout=TIMEOUTS, verify=ca_bundle()) as response:
        place_answer(incoming, response)
        for chunk in response.raw.stream(CHUNK, decode_content=False):
            incoming.write(chunk)
            show()
        untold = "Content-Length" not in response.headers and not response.raw.chunked
        if untold and incoming.size < incoming.file.size:
            raise Broken("the connection was closed early")


def place_answer(incoming: Incoming, response: "requests.Response") -> None:
    """Make ``incoming`` ready for the body of this response, or raise why there is none."""
    status = f"{response.status_code} {response.reason}"
    if response.status_code == 416:
        incoming.restart()
    if response.status_code in (408, 416, 425, 429) or response.status_code >= 500:
        raise Broken(f"the server answered {status}")
    if response.status_code >= 400:
        raise NotThere(f"{incoming.address} answered {status}")
    if response.status_code != 206:
        tag = response.headers.get("ETag", "W/")
        strong = response.headers.get("Last-Modified", "") if tag.startswith("W/") else tag
        incoming.restart(strong)
    elif not response.headers.get("Content-Range", "").startswith(f"bytes {incoming.size}-"):
        incoming.restart()
        raise Broken("the server sent another part of the file than was asked for")


def hopeless(error: BaseException, incoming: Incoming) -> bool:
    """Whether trying again is no use."""
    from urllib3.exceptions import NameResolutionError

    if isinstance(error, NameResolutionError):
        return incoming.size == 0  # else the network was there and may come back
    return isinstance(error, ValueError)  # a wrong URL or certificate


def given_up(incoming: Incoming, error: BaseException) -> DataError:
    """The error for a download that was given up."""
    import ssl

    what, remedy = f"The file {incoming.file.path} can't be downloaded.", OFFLINE
    if incoming.size:
        total = f"the {incoming.file.size:,} bytes of {incoming.file.path}"
        what = f"The download broke off after {incoming.size:,} of {total}."
        remedy = f"{AGAIN} {OFFLINE}"
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = "If a proxy inspects TLS here, let ROSETTA_CA_BUNDLE name the file with its certificate authority."
    return DataError(what, f"{incoming.address}: {reason(error)}.", remedy)


def ca_bundle() -> str | bool:
    """The file of certificate authorities to trust, by the first variable that is set; else requests' own."""
    for variable in ("ROSETTA_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT", "SSL_CERT_FILE"):
        if bundle := os.environ.get(variable):
            if not Path(bundle).exists():
                raise DataError(f"{variable} names {bundle}, which does not exist.", remedy="Correct or unset it.")
            return bundle
    return True


def unpack(archive: Path, shelf: Shelf, wanted: list[File]) -> None:
    """Write the wanted members of a verified archive into ``shelf.incoming``, and verify each.

    Nothing of an archive is trusted but bytes with the right sum: no path, link, mode or owner is taken from it. It is
    read as a stream that ends at the declared size. Raises DataError for anything undeclared, missing or damaged.
    """
    import gzip
    import tarfile
    import zlib

    lacking = {file.path: file for file in wanted}
    most = sum(file.largest for file in shelf.dataset.files) + TAR_OVERHEAD
    try:
        with (
            gzip.open(archive) as raw,
            tarfile.open(fileobj=Limited(raw, most), mode="r|", bufsize=CHUNK) as tar,  # type: ignore[call-overload]
        ):
            for member in tar:
                refuse_undeclared(member, shelf.dataset)
                file, source = lacking.pop(member.name, None), tar.extractfile(member)
                if file and source:
                    unpack_member(source, file, shelf.incoming / file.path, f"{archive.name}/{member.name}")
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"The archive {archive.name} can't be unpacked.", f"{error}.", OFFLINE) from None
    if lacking:
        raise DataError(f"The archive {archive.name} lacks {', '.join(lacking)}.", remedy=OFFLINE)


def unpack_member(source: IO[bytes], file: File, path: Path, address: str) -> None:
    """Write one member of an archive and verify it."""
    with receiving(file, path, address) as incoming:
        incoming.restart()
        while chunk := source.read(CHUNK):
            incoming.write(chunk)
        incoming.verify()


def refuse_undeclared(member: "tarfile.TarInfo", dataset: DataSet) -> None:
    """Raise DataError for a member that isn't a regular file of the set, an extra, or a folder of these."""
    declared = {file.path for file in dataset.files} | set(dataset.extras)
    folders = {parent.as_posix() for path in declared for parent in Path(path).parents}
    if (member.isreg() and member.name in declared) or (member.isdir() and member.name in folders):
        return
    kinds = ("file", member.isreg()), ("folder", member.isdir()), ("link", member.islnk() or member.issym())
    kind = next((kind for kind, fits in kinds if fits), "device")
    raise DataError(
        f"The archive of {dataset.name} holds the {kind} {member.name!r}, which does not belong to it.",
        "Nothing of it was put in place.",
        OFFLINE,
    )


class Limited:
    """A stream that gives no more than ``left`` bytes: what unpacks to more than was declared is refused early."""

    def __init__(self, stream: "gzip.GzipFile", left: int) -> None:
        self.stream, self.left = stream, left

    def read(self, size: int) -> bytes:
        """The next bytes; raises DataError once they are too many."""
        chunk = self.stream.read(size)
        self.left -= len(chunk)
        if self.left < 0:
            raise DataError("The archive unpacks to more bytes than its data set has.", remedy=OFFLINE)
        return chunk


@contextmanager
def shown(say: Say, incoming: Incoming) -> Iterator[Callable[[], None]]:
    """Show a file coming in: a bar on a terminal, else a line now and then. Yields what to call after each chunk."""
    if say is not silent and (console := terminal()):
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(incoming.file.path, total=incoming.file.size, completed=incoming.size)
            yield lambda: bar.update(task, completed=incoming.size)
        return
    last = time.monotonic()

    def line() -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY:
            last = time.monotonic()
            say(f"{incoming.file.path}: {incoming.size:,} of {incoming.file.size:,} bytes")

    yield line


def terminal() -> "Console | None":
    """A console on stderr, if that is a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    return console if console.is_terminal else None


@contextmanager
def disk_errors(place: Path) -> Iterator[None]:
    """Turn what the operating system says about the cache into errors with a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskError(
                f"The disk of {place.parent} is full.",
                remedy="Make room, or let ROSETTA_CACHE name a folder on a larger disk, and run the command again.",
            ) from None
        raise DataError(
            f"The data set {place.name} could not be read from or put into {place.parent}.",
            f"{error}.",
            "Correct its owner or mode, or let ROSETTA_CACHE name another folder.",
        ) from None


def sha256(path: Path) -> str:
    """The sha256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_url(address: str) -> bool:
    """Whether an address is fetched over HTTP; else it is a path."""
    return urlsplit(address).scheme in ("http", "https")


def below(mirror: str, path: str) -> str:
    """The address of a file of a mirror; the query of a URL (a signature, say) stays behind it."""
    if not is_url(mirror):
        return str(Path(mirror).expanduser() / path)
    parts = urlsplit(mirror)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{path}"))


def printable(address: str) -> str:
    """An address without the secrets it may carry: user, password, query."""
    if not is_url(address):
        return address
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))


def cause(error: BaseException) -> BaseException:
    """The innermost of requests' nested errors."""
    while True:
        parts = (getattr(error, "reason", None), *error.args)
        inner = next((part for part in parts if isinstance(part, Exception)), None)
        if inner is None:
            return error
        error = inner


def reason(error: BaseException) -> str:
    """What an error says, without the connection object that urllib3 puts in front."""
    text = str(error)
    return text.partition("): ")[2] if text.startswith("HTTP") and "): " in text else text
