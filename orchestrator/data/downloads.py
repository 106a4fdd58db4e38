"""Fetch files of known checksum from a URL, a storage or a folder: with resumption, retries and verification."""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit, urlunsplit

from orchestrator.data.files import File
from orchestrator.errors import DataError
from orchestrator.storage.location import storage_at
from orchestrator.storage.protocol import SCHEMES, NotThere
from orchestrator.system.addresses import printable
from orchestrator.system.certificates import ca_bundle
from orchestrator.system.terminal import Say

if TYPE_CHECKING:
    import requests

CHUNK = 2**18
"""Bytes read and written at a time."""

BACK_OFF = (1, 2, 4, 8, 16)
"""Seconds between retries of a broken download."""

TIMEOUTS = (15, 60)
"""Seconds to wait for a connection, and for the next byte."""

LINE_EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal to draw a bar on."""

OFFLINE = "Without internet, set ROSETTA_DATA_MIRROR to a place that has the files (docs/data.md)."


def silent(line: str) -> None:
    """Say nothing."""


class Incoming:
    """A partly fetched file: the bytes received so far are on disk, hashed, and never more than declared.

    Bytes of an earlier call are reused if they came from the same address; the ``validator`` of that response (its ETag
    or date) is kept with them, so that a file that changed meanwhile is not appended to the old one.
    """

    def __init__(self, file: File, path: Path, address: str, stream: IO[bytes]) -> None:
        self.file, self.path, self.stream = file, path, stream
        self.source, self.address = address, printable(address)
        self.slip = path.with_name(path.name + ".origin")
        self.hash, self.size, self.validator = hashlib.new(self.file.algorithm), 0, ""

    def resume(self) -> None:
        """Reuse what an earlier call left, if possible."""
        origin, _, self.validator = (
            self.slip.read_text(encoding="utf-8").partition("\n") if self.slip.is_file() else ("", "", "")
        )
        self.stream.seek(0)
        while chunk := self.stream.read(CHUNK):
            self.hash.update(chunk)
            self.size += len(chunk)
        usable = self.file.is_declared and origin == self.address and self.size < self.file.largest
        if not self.complete and not usable:
            self.restart()

    @property
    def complete(self) -> bool:
        """Whether an accepted content has been received."""
        return self.hash.hexdigest() in self.file.sums

    def restart(self, validator: str = "") -> None:
        """Discard what was received, and note where the next bytes come from."""
        self.stream.truncate(0)
        self.hash, self.size, self.validator = hashlib.new(self.file.algorithm), 0, validator
        self.slip.write_text(f"{self.address}\n{validator}", encoding="utf-8")

    def write(self, chunk: bytes) -> None:
        """Write the next bytes. Raises DataError if they exceed the largest accepted content."""
        self.size += len(chunk)
        if self.size > self.file.largest:
            self.refuse(f"It has more than the {self.file.largest:,} bytes it should have.")
        self.stream.write(chunk)
        self.hash.update(chunk)

    def verify(self) -> None:
        """Remove the file and raise DataError if it is not an accepted content."""
        if self.file.is_declared and not self.complete:
            self.refuse(
                f"Its {self.file.algorithm} is {self.hash.hexdigest()} ({self.size:,} bytes); "
                f"it should be {self.file.sums[0]} ({self.file.size:,} bytes)."
            )

    def refuse(self, why: str) -> NoReturn:
        """Remove the file and raise DataError."""
        self.path.unlink()
        self.slip.unlink(missing_ok=True)
        raise DataError(
            f"{self.address} is not the file its publisher made ({self.file.path}).",
            why,
            "If it came through a proxy or a mirror, check that; otherwise fetch it again.",
        )


class Broken(Exception):
    """The connection broke: retry."""


@contextmanager
def receiving(file: File, path: Path, address: str) -> Iterator[Incoming]:
    """Receive ``file`` from ``address`` at ``path``, resuming what an earlier call left there, and verify it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as stream:
        incoming = Incoming(file, path, address, stream)
        incoming.resume()
        yield incoming
        incoming.verify()


def bring(file: File, path: Path, address: str, say: Say) -> None:
    """Fetch ``file`` from ``address`` (a URL, a place in a storage, or a path) to ``path``, and verify it.

    Raises NotThere if the source says so; DataError for wrong bytes, or a connection that keeps breaking; StorageError
    for a storage that refuses.
    """
    way = download if is_url(address) else take if is_stored(address) else copy
    with receiving(file, path, address) as incoming:
        if not incoming.complete:
            way(incoming, say)


def copy(incoming: Incoming, say: Say) -> None:
    """Copy a file from a mirror folder."""
    path = Path(incoming.source)
    if not path.is_file():
        raise NotThere(f"{path} does not exist")
    incoming.restart()
    with path.open("rb") as source, shown(say, incoming) as show:
        while chunk := source.read(CHUNK):
            incoming.write(chunk)
            show()


def take(incoming: Incoming, say: Say) -> None:
    """Fetch a file from a storage, resuming an earlier call; the storage itself does the retries."""
    place, _, name = incoming.source.rpartition("/")
    with closing(storage_at(place)) as there, shown(say, incoming) as show:
        for chunk in there.read(name, incoming.size):
            incoming.write(chunk)
            show()


def download(incoming: Incoming, say: Say) -> None:
    """Download a file, with pauses between retries of a broken connection."""
    import requests
    from urllib3.exceptions import HTTPError, NameResolutionError

    with shown(say, incoming) as show:
        for pause in (*BACK_OFF, None):
            try:
                return receive(incoming, show)
            except (requests.RequestException, HTTPError, ValueError, Broken) as error:
                inner = cause(error)
                nameless = isinstance(inner, NameResolutionError) and not incoming.size  # else the network may be back
                wrong = isinstance(inner, ValueError)  # the URL or the certificate
                if pause is None or nameless or wrong:
                    raise given_up(incoming, inner) from None
                say(f"{incoming.file.path}: {reason(inner)}; next try in {pause} s")
                time.sleep(pause)


def receive(incoming: Incoming, show: Callable[[], None]) -> None:
    """Make one request for the missing bytes. Raises requests' or urllib3's errors, or Broken, if it breaks."""
    import requests

    # Bytes as they are: some servers call a .tar.gz a gzip-encoded .tar, and a range counts encoded bytes.
    headers = {"Accept-Encoding": "identity"}
    if incoming.size:
        headers["Range"] = f"bytes={incoming.size}-"
        if incoming.validator:
            headers["If-Range"] = incoming.validator
    with requests.get(incoming.source, headers=headers, stream=True, timeout=TIMEOUTS, verify=ca_bundle()) as response:
        accept(incoming, response)
        for chunk in response.raw.stream(CHUNK, decode_content=False):
            incoming.write(chunk)
            show()
        untold = "Content-Length" not in response.headers and not response.raw.chunked
        if untold and incoming.size < incoming.file.size:
            raise Broken("the connection was closed early")


def accept(incoming: Incoming, response: "requests.Response") -> None:
    """Prepare ``incoming`` for the body of this response, or raise an error that says why there is none."""
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
        raise Broken("the server sent another part of the file than requested")


def given_up(incoming: Incoming, error: BaseException) -> DataError:
    """Return the error for an abandoned download."""
    import ssl

    what, remedy = f"The file {incoming.file.path} can't be downloaded.", OFFLINE
    if incoming.size:
        total = f"the {incoming.file.size:,} bytes of {incoming.file.path}"
        what = f"The download broke off after {incoming.size:,} of {total}."
        remedy = f"Run 'rosetta data fetch' again: it resumes where it stopped. {OFFLINE}"
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = "If a proxy inspects TLS here, set ROSETTA_CA_BUNDLE to the file with its certificate authority."
    return DataError(what, f"{incoming.address}: {reason(error)}.", remedy)


@contextmanager
def shown(say: Say, incoming: Incoming) -> Iterator[Callable[[], None]]:
    """Show a download's progress: a bar on a terminal, else occasional lines. Yields a function to call per chunk."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    from orchestrator.system.console import screen

    console = screen(stderr=True)
    if say is not silent and console.is_terminal:
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


def is_url(address: str) -> bool:
    """Whether an address is fetched over HTTP."""
    return address.lower().startswith(("http://", "https://"))


def is_stored(address: str) -> bool:
    """Return whether an address is a place in a storage; anything that is neither that nor a URL is a path."""
    return address.partition("://")[0] in SCHEMES and "://" in address


def below(mirror: str, path: str) -> str:
    """Return the address of a file in a mirror; the query of a URL (such as a signature) stays at its end."""
    if not is_url(mirror) and not is_stored(mirror):
        return str(Path(mirror).expanduser() / path)
    try:
        parts = urlsplit(mirror)
    except ValueError:
        raise DataError("ROSETTA_DATA_MIRROR is a malformed address.", remedy="Correct or unset it.") from None
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{path}"))


def cause(error: BaseException) -> BaseException:
    """The innermost of requests' nested errors."""
    while True:
        parts = (getattr(error, "reason", None), *error.args)
        inner = next((part for part in parts if isinstance(part, Exception)), None)
        if inner is None:
            return error
        error = inner


def reason(error: BaseException) -> str:
    """Return an error's message, without the connection object that urllib3 puts in front.

    That of a malformed address would have a part of it, which may be of a proxy's password.
    """
    from requests.exceptions import InvalidURL
    from urllib3.exceptions import LocationValueError

    if isinstance(error, InvalidURL | LocationValueError):
        return "the address, or that of a proxy, is malformed"
    text = str(error)
    return text.partition("): ")[2] if text.startswith("HTTP") and "): " in text else text
