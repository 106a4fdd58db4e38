"""The results folder of a cell: a tmpfs of bounded size, so that no cell fills the engine's disk.

Such a folder is gone as soon as no container uses it, but its document is fetched after the cell has ended. So a
second container keeps it: its image is made here and has one program, which only waits.
"""

import hashlib
import io
import json
import struct
import tarfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import docker
from docker.errors import NotFound

from orchestrator.engines.client import UNREACHABLE
from orchestrator.engines.isolation import RESULTS, USER, isolation
from orchestrator.images import records

SIZE, MOST_FILES = 2**24, 256
"""Most bytes, and most files and folders, that a cell may leave: a document has up to four million bytes."""

REPOSITORY = "rosetta/keeper"

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
        folder, file = tarfile.TarInfo(RESULTS.lstrip("/")), tarfile.TarInfo("keeper")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        file.size, file.mode = len(program()), 0o755
        tar.addfile(folder)
        tar.addfile(file, io.BytesIO(program()))
    return content.getvalue()


def options() -> dict[str, str]:
    """Return the volume driver's options for a results folder."""
    owner, group = USER.split(":")
    limits = f"size={SIZE},nr_inodes={MOST_FILES},uid={owner},gid={group},mode=755,nosuid,nodev,noexec"
    return {"type": "tmpfs", "device": "tmpfs", "o": limits}


def unnamed() -> docker.types.Mount:
    """Return an anonymous results volume, which is removed with the last container that uses it."""
    driver = docker.types.DriverConfig("local", options())
    return docker.types.Mount(RESULTS, None, type="volume", no_copy=True, driver_config=driver)


@contextmanager
def named(api: docker.APIClient, labels: Mapping[str, str]) -> Iterator[docker.types.Mount]:
    """Yield a named results volume, removed at the end, for engines like Podman that allow options only on those."""
    name = f"rosetta-results-{uuid.uuid4().hex}"
    api.create_volume(name, driver="local", driver_opts=options(), labels=dict(labels))
    try:
        yield docker.types.Mount(RESULTS, name, type="volume", no_copy=True)
    finally:
        with suppress(*UNREACHABLE):  # the next run removes what is left
            api.remove_volume(name, force=True)


@contextmanager
def held(api: docker.APIClient, labels: Mapping[str, str], mount: docker.types.Mount | None = None) -> Iterator[str]:
    """Yield a running container with an empty results folder, which a cell shares by ``volumes_from``."""
    host = api.create_host_config(**{**isolation(2**24), "tmpfs": {}, "init": False}, mounts=[mount or unnamed()])
    made = api.create_container(
        image(api), ["/keeper"], user=USER, host_config=host, labels=dict(labels), stop_signal="SIGKILL"
    )
    keeper = str(made["Id"])
    try:
        api.start(keeper)
        yield keeper
    finally:
        with suppress(*UNREACHABLE):  # the next run removes what is left
            api.remove_container(keeper, v=True, force=True)
