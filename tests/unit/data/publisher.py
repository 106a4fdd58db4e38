"""A publisher to fetch from: a web site on loopback, what it offers, and how it behaves."""

import hashlib
import io
import re
import tarfile
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from orchestrator.data import datasets
from orchestrator.data.files import Content, File

ROOT = Path(__file__).parents[3]
REVIEWS = bytes(range(256)) * 4096  # 1 MiB, four chunks
PIXELS, LABELS = b"pixels " * 70_000, b"labels"
TAG = '"the-first"'


def content(data: bytes) -> Content:
    return Content(hashlib.sha256(data).hexdigest(), len(data))


def file(path: str, *accepted: bytes, url: str = "") -> File:
    return File(path, tuple(map(content, accepted)), url)


def tar_gz(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def member(
    name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info, data


GOOD = (member("batches", kind=tarfile.DIRTYPE), member("batches/a", PIXELS), member("batches/b", LABELS))
ARCHIVE = tar_gz(*GOOD, member("batches/readme.html", b"hello"))


@dataclass
class Site:
    """A web site on loopback: ``pages`` by path, and how it behaves."""

    server: ThreadingHTTPServer
    pages: dict[str, bytes] = field(default_factory=dict)
    breaks: list[int] = field(default_factory=list)
    """Bytes of the body after which each of the next answers breaks off."""
    statuses: list[int] = field(default_factory=list)
    """What the next requests are answered instead of the page."""
    ranges: bool = True
    tag: str | None = TAG
    length: bool = True
    shift: int = 0
    requests: list[dict[str, str]] = field(default_factory=list)
    served: dict[str, int] = field(default_factory=dict)
    """Bytes of bodies sent, by path."""
    gate: threading.Event = field(default_factory=threading.Event)
    holds: int | None = None
    """Bytes of the body after which every answer waits for ``gate``."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


def handler(get_site: Callable[[], Site]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site, path = get_site(), urlsplit(self.path).path
            site.requests.append({key.lower(): value for key, value in self.headers.items()} | {"path": self.path})
            page = site.pages.get(path)
            if site.statuses or page is None:
                self.send_error(site.statuses.pop(0) if site.statuses else 404)
                return
            start = self.start(site)
            if start >= len(page):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start + site.shift}-{len(page) - 1}/{len(page)}")
            if site.length:
                self.send_header("Content-Length", str(len(page) - start))
            if site.tag:
                self.send_header("ETag", site.tag)
            self.end_headers()
            self.body(site, path, page[start:])

        def start(self, site: Site) -> int:
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            unchanged = self.headers.get("If-Range", site.tag) == site.tag
            return int(asked[1]) if asked and site.ranges and unchanged else 0

        def body(self, site: Site, path: str, data: bytes) -> None:
            if site.breaks:
                data = data[: site.breaks.pop(0)]
            first = len(data) if site.holds is None else site.holds
            for part in (data[:first], data[first:]):
                self.wfile.write(part)
                self.wfile.flush()
                site.served[path] = site.served.get(path, 0) + len(part)
                if site.holds is not None:
                    site.gate.wait(30)

        def handle(self) -> None:
            with suppress(OSError):  # clients that give up are part of these tests
                super().handle()

        def finish(self) -> None:
            with suppress(OSError):
                super().finish()

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    return Handler


def partial(name: str, path: str) -> Path:
    return datasets.cache_folder() / "data" / f".{name}" / "incoming" / path


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
