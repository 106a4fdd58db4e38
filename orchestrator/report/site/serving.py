"""The pages over HTTP while cells run: made from the results folder as it is at each moment, and nothing else."""

import ipaddress
import json
import math
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from orchestrator.errors import AddressError, ResultError
from orchestrator.report.site.pages import POLICY, Site
from orchestrator.results.claims import is_of_orchestrator, living
from orchestrator.results.files import table_of
from orchestrator.results.merging import NAMED, Folder, result_files
from orchestrator.results.paths import ResultsFolder
from orchestrator.system.terminal import clock, number, plain

PATIENCE = 1.0
"""Seconds between two reads of the folder, however many clients ask."""

SLOWEST = 30.0
"""Seconds that a browser may take for the next byte of its request or for taking an answer."""

KINDS = {
    **{ending: f"text/{kind}; charset=utf-8" for ending, kind in (("html", "html"), ("css", "css"), ("csv", "csv"))},
    "gz": "application/gzip",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
}
"""The media type of each file of a site, by the end of its name."""

MOST_AT_A_TIME = 64
"""Connections that are served at a time; the next wait in the kernel's queue."""


class Watched:
    """A results folder and the site of what is in it now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folder = Folder(path)
        self._site: Site | None = None
        self._rows: Any = None
        self._looked = 0.0
        self._trouble = ""
        self._version = 0
        self._looking = threading.Lock()

    def site(self) -> tuple[int, Site]:
        """The site, and a number that changes when its content does; a file that can't be read yet is left out."""
        with self._looking:
            if self._site is None or time.monotonic() - self._looked > PATIENCE:
                self._trouble = ""
                try:
                    rows = self._folder.read()
                    if rows is not self._rows:
                        self._site, self._rows = Site(rows, self.path.name, live=True, folder=self.path), rows
                        self._version += 1
                except (ResultError, OSError) as error:
                    self._trouble = str(error).partition("\n")[0]
                self._looked = time.monotonic()
            return self._version, self._site or Site(table_of([]), self.path.name, live=True)

    def look_again(self) -> None:
        """Make the next request read the folder, without a wait."""
        self._looked = -math.inf

    def now(self) -> dict[str, Any]:
        """Return what the pages poll: whether there is something new, and what runs."""
        version, _ = self.site()
        return {"version": version, "lines": [*running(self.path), *self._refused()]}

    def _refused(self) -> list[str]:
        """Return what of the folder is not on the pages, and why."""
        refused = [each.error.what for each in self._folder.refused if not each.is_note]
        more = [f"and {len(refused) - NAMED:,} more"] if len(refused) > NAMED else []
        trouble = [self._trouble] if self._trouble and self._trouble not in refused else []
        return [str(plain(line)) for line in (*trouble, *refused[:NAMED], *more)]


def running(folder: Path) -> list[str]:
    """Return what runs in a results folder now, a line for each orchestrator and each cell."""
    claims = list(living(folder))
    now = time.time()
    lines = []
    for name, facts in claims:
        gone = clock(now - facts["started"])
        if is_of_orchestrator(name):
            words = [f"{facts[what]:,} {what}" for what in ("waiting", "running", "building") if facts.get(what)]
            lines.append(f"{facts.get('host', '')}: {', '.join(words) or 'starting'}, for {gone}")
        else:
            epoch = f"epoch {facts['epoch']:.0f} of {facts['epochs']:.0f}, " if facts.get("epochs") else ""
            loss = f"loss {number(facts['loss'])}, " if facts.get("loss") is not None else ""
            lines.append(f"{facts.get('cell', name)}: {epoch}{loss}{gone}")
    return lines


def serve(folder: Path, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve the pages of a folder until Ctrl-C; raises ResultError or AddressError."""
    if folder.is_file():
        remedy = "Without --serve, pages are written for a single file."
        raise ResultError(f"{folder} is a file. Only a results folder can be served.", remedy=remedy)
    if not folder.is_dir():
        raise ResultError(f"There is no folder {folder}.", remedy="Create it, or name the results folder of a run.")
    deque(result_files([folder], ResultsFolder(folder).merged), maxlen=0)  # raises for a folder that can't be read
    try:
        server = Server((host, port), handler(Watched(folder), host))
    except OSError as error:
        what = f"Nothing can be served at {host}, port {port}: {error.strerror or error}."
        raise AddressError(what, remedy="Choose another with --port N or --host ADDRESS.") from None
    shown = "localhost" if host in ("127.0.0.1", "0.0.0.0") else host
    say(f"http://{shown}:{server.server_port} shows the results in {folder}; press Ctrl-C to stop")
    with server, suppress(KeyboardInterrupt):
        server.serve_forever()


class Server(ThreadingHTTPServer):
    """Serves ``MOST_AT_A_TIME`` connections at a time and no more."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], answers: type[BaseHTTPRequestHandler]) -> None:
        self._free = threading.BoundedSemaphore(MOST_AT_A_TIME)
        super().__init__(address, answers)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Hand a connection to a thread of its own, once one is free."""
        self._free.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve a connection, then free its place."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a browser that went away, or was too slow."""


def is_named(host: str, listening: str) -> bool:
    """Whether a request names this machine by a host name that no foreign page can point here (DNS rebinding).

    Somebody else's name that leads here would let that page read these. Addresses and this machine's own names
    can't be given to others; where ``listening`` is open to the network, a colleague may use them.
    """
    name = host.rpartition(":")[0] if re.search(r":\d*$", host) else host
    name = name.strip("[]").lower().rstrip(".")
    own = {"localhost", listening.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}
    with suppress(ValueError):
        ipaddress.ip_address(name)
        return True
    return name in own


def handler(watched: Watched, listening: str = "localhost") -> type[BaseHTTPRequestHandler]:
    """Return the class that answers requests: with pages from memory, never a file by its name."""

    class Handler(BaseHTTPRequestHandler):
        timeout = SLOWEST

        def do_GET(self) -> None:
            if not is_named(self.headers.get("Host", ""), listening):
                self.answer(421, "text/plain", b"These pages have another address.")
                return
            path = unquote(urlsplit(self.path).path).lstrip("/") or "index.html"
            if path == "live.json":
                self.answer(200, "application/json", json.dumps(watched.now()).encode())
                return
            make = watched.site()[1].pages.get(path)
            kind = KINDS[path.rpartition(".")[2]] if make else ""
            if make is None:
                self.answer(404, "text/html; charset=utf-8", watched.site()[1].missing(path))
            else:
                self.answer(200, kind, make())

        do_HEAD = do_GET

        def answer(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            headers = {"Content-Type": kind, "Content-Length": str(len(content)), "Cache-Control": "no-cache"}
            headers |= {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing: every open page asks every two seconds."""

    return Handler
