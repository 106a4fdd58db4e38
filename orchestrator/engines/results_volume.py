"""The results folder of a cell: a tmpfs of bounded size, so that no cell fills the engine's disk.

Such a folder is gone as soon as no container uses it, but its document is fetched after the cell has ended. So another
container keeps it, and it is fetched from that one, which takes Podman a third as long as from one that has ended. Its
image is made here and has one program, which only waits. Starting it takes longer than anything else that is done for a
cell, and as long for sixteen folders as for one, so a run has one for sixteen cells, and the next starts beside them.
"""

import hashlib
import io
import json
import struct
import tarfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import docker
from docker.errors import NotFound

from orchestrator.engines.client import UNREACHABLE
from orchestrator.engines.isolation import RESULTS, USER, isolation
from orchestrator.images import records

SIZE, MOST_FILES = 2**24, 256
"""Most bytes, and most files and folders, that a cell may leave: a document has up to four million bytes."""

KEPT = 16
"""Results folders of one keeper: each is used once, and what cells left takes memory until all of them are done."""

REPOSITORY = "rosetta/keeper"

NAMES = "rosetta-results-"
"""Prefix of results volumes with a name."""

KEEPS = {"rosetta": "keeper"}
"""Labels of all keepers."""

WAITS = b"\xb8\x22\x00\x00\x00\x0f\x05\xeb\xf7"
"""x86-64 machine code: put the number of pause(2) into a register, call the kernel, repeat."""


def program() -> bytes:
    """Return a minimal executable of that code: ELF header, one segment, the code."""
    base, headers = 0x400000, 64 + 56
    end = headers + len(WAITS)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")  # 64 bits, little-endian
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + headers, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, end, end, 0x1000)  # to be loaded, read and executed
    return ident + header + segment + WAITS


def image(api: docker.APIClient) -> str:
    """Return the id of the keeper's image, which is made unless it exists and was made here."""
    content = archive()
    version = hashlib.sha256(content).hexdigest()[:16]
    with suppress(NotFound):
        found = str(api.inspect_image(f"{REPOSITORY}:{version}")["Id"])
        if records.made_of(found) == (version, ""):
            return found
    untyped: Any = api
    made = json.loads(untyped.import_image_from_data(content, REPOSITORY, version, ["LABEL rosetta=keeper"]))
    records.note(str(made["status"]), version, "")
    return str(made["status"])


def archive() -> bytes:
    """Return the content of the image as a tar archive."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        file = tarfile.TarInfo("keeper")
        file.size, file.mode = len(program()), 0o755
        tar.addfile(file, io.BytesIO(program()))
    return content.getvalue()


def options() -> dict[str, str]:
    """Return the volume driver's options for a results folder."""
    owner, group = USER.split(":")
    limits = f"size={SIZE},nr_inodes={MOST_FILES},uid={owner},gid={group},mode=755,nosuid,nodev,noexec"
    return {"type": "tmpfs", "device": "tmpfs", "o": limits}


Later = Callable[[Callable[[], Any]], "Future[Any]"]
"""Does work, now or in another thread, and returns what it will have returned."""


def at_once(work: Callable[[], Any]) -> "Future[Any]":
    """Do work now."""
    future: Future[Any] = Future()
    try:
        future.set_result(work())
    except Exception as error:
        future.set_exception(error)
    return future


MountOf = Callable[[docker.APIClient, str, Mapping[str, str]], docker.types.Mount]
"""Returns a new results volume, mounted at a path; one with a name has the labels."""


def unnamed(api: docker.APIClient, path: str, labels: Mapping[str, str]) -> docker.types.Mount:
    """Return an anonymous results volume."""
    driver = docker.types.DriverConfig("local", options())
    return docker.types.Mount(path, None, type="volume", no_copy=True, driver_config=driver)


def named(api: docker.APIClient, path: str, labels: Mapping[str, str]) -> docker.types.Mount:
    """Return a named results volume, for engines like Podman that allow options only on those."""
    name = f"{NAMES}{uuid.uuid4().hex}"
    api.create_volume(name, driver="local", driver_opts=options(), labels=dict(labels))
    return docker.types.Mount(path, name, type="volume", no_copy=True)


@dataclass(frozen=True)
class ResultsFolder:
    """A ``volume``, and its ``path`` in the container ``keeper``, which runs since ``started``."""

    keeper: str
    started: str
    volume: str
    path: str

    def is_kept(self, api: docker.APIClient) -> bool:
        """Return whether it was kept all the time: the keeper runs, and was not started again meanwhile."""
        try:
            state = api.inspect_container(self.keeper)["State"]
        except NotFound:
            return False
        return bool(state["Running"]) and state["StartedAt"] == self.started


@dataclass
class Keeper:
    """A container that holds ``folders``; those that are ``spare`` no cell has had, ``used`` cells have one now."""

    container: str
    folders: tuple[ResultsFolder, ...] = ()
    spare: list[ResultsFolder] = field(default_factory=list)
    used: int = 0

    @property
    def is_done(self) -> bool:
        """Whether none of its folders is or will be used."""
        return not self.spare and not self.used


def key_of(labels: Mapping[str, str]) -> tuple[str, ...]:
    """Return what cells that share keepers have in common."""
    return tuple(sorted(labels.values()))


class ResultsFolders:
    """Hands out empty results folders of one engine, each once; a keeper is removed with the last of its folders."""

    def __init__(self, api: docker.APIClient, mount_of: MountOf = unnamed) -> None:
        self._api, self._mount_of = api, mount_of
        self._handing, self._counting = threading.Lock(), threading.Lock()
        self._last: dict[tuple[str, ...], Future[Keeper]] = {}

    @contextmanager
    def one(self, labels: Mapping[str, str], count: int = 1, beside: Later | None = None) -> Iterator[ResultsFolder]:
        """Yield a folder; cells with the same labels share keepers of ``count``.

        As soon as the last folder of one is given out, the next is started ``beside``; without that, when it is needed.
        """
        with self._handing:
            keeper = self._with_spare(labels, count)
            with self._counting:
                folder = keeper.spare.pop()
                keeper.used += 1
            if beside and not keeper.spare:
                self._last[key_of(labels)] = beside(lambda: self._started(labels, count))
        try:
            yield folder
        finally:
            with self._counting:
                keeper.used -= 1
                done = keeper.is_done
            if done:  # nobody is given a folder of it any more
                self._remove(keeper)

    def _with_spare(self, labels: Mapping[str, str], count: int) -> Keeper:
        """Return a running keeper that has a spare folder: the last one with these labels, else a new one."""
        key = key_of(labels)
        if (keeper := self._arrived(key)) and keeper.spare:
            if keeper.spare[-1].is_kept(self._api):
                return keeper
            with self._counting:
                keeper.spare.clear()
                done = keeper.is_done
            if done:
                self._remove(keeper)
        self._last[key] = at_once(lambda: self._started(labels, count))
        return self._last[key].result()

    def _arrived(self, key: tuple[str, ...]) -> Keeper | None:
        """Return the last keeper, waiting for its start; None if it could not be started."""
        last = self._last.get(key)
        return last.result() if last and not last.exception() else None

    def _started(self, labels: Mapping[str, str], count: int) -> Keeper:
        mounts = [self._mount_of(self._api, f"/{number}{RESULTS}", labels) for number in range(count)]
        host = self._api.create_host_config(**{**isolation(2**24), "tmpfs": {}, "init": False}, mounts=mounts)
        made = self._api.create_container(
            image(self._api),
            ["/keeper"],
            user=USER,
            host_config=host,
            labels={**KEEPS, **labels},
            stop_signal="SIGKILL",
        )
        keeper = Keeper(str(made["Id"]))
        try:
            self._api.start(keeper.container)
            made = self._api.inspect_container(keeper.container)
            facts = keeper.container, made["State"]["StartedAt"]
            keeper.folders = tuple(ResultsFolder(*facts, one["Name"], one["Destination"]) for one in made["Mounts"])
            keeper.spare = list(keeper.folders)
        except BaseException:
            self._remove(keeper)
            raise
        return keeper

    def _remove(self, keeper: Keeper) -> None:
        """Remove a keeper with its folders; what is left the next run removes."""
        with suppress(*UNREACHABLE):
            self._api.remove_container(keeper.container, v=True, force=True)
        for folder in keeper.folders:  # volumes with a name stay, and all if somebody else has removed the container
            with suppress(*UNREACHABLE):
                self._api.remove_volume(folder.volume, force=True)
