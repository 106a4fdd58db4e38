"""The results folder of a cell: memory of a bounded size, so that no cell fills the engine's disk.

Such a folder is gone as soon as no container has it any more, and its document is fetched when the cell has ended. So
a second container of the cell's holds it: of an image made here with one program that does nothing.
"""

import hashlib
import io
import json
import struct
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import docker
from docker.errors import NotFound

from orchestrator.engines.client import UNREACHABLE
from orchestrator.engines.isolation import RESULTS, USER, isolation
from orchestrator.images import records

SIZE, MOST_FILES = 2**24, 256
"""Bytes and files and folders that a cell may leave: a document has up to four million bytes."""

REPOSITORY = "rosetta/keeper"

WAITS = b"\xb8\x22\x00\x00\x00\x0f\x05\xeb\xf7"
"""Machine code of x86-64: put the number of pause(2) into a register, call the kernel, and again."""


def program() -> bytes:
    """An executable file with that and nothing else: ELF's header, one segment, the code."""
    base, headers = 0x400000, 64 + 56
    end = headers + len(WAITS)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")  # 64 bits, little-endian
    header = struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, base + headers, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, end, end, 0x1000)  # to be loaded, read and executed
    return ident + header + segment + WAITS


def image(api: docker.APIClient) -> str:
    """The id of the keeper's image, made unless it is there and was made here."""
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
    """What lies in the image."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        folder, file = tarfile.TarInfo(RESULTS.lstrip("/")), tarfile.TarInfo("keeper")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        file.size, file.mode = len(program()), 0o755
        tar.addfile(folder)
        tar.addfile(file, io.BytesIO(program()))
    return content.getvalue()


@contextmanager
def held(api: docker.APIClient, labels: Mapping[str, str]) -> Iterator[str]:
    """A running container with an empty results folder, which a cell takes over by ``volumes_from``."""
    owner, group = USER.split(":")
    limits = f"size={SIZE},nr_inodes={MOST_FILES},uid={owner},gid={group},mode=755,nosuid,nodev,noexec"
    driver = docker.types.DriverConfig("local", {"type": "tmpfs", "device": "tmpfs", "o": limits})
    mount = docker.types.Mount(RESULTS, None, type="volume", no_copy=True, driver_config=driver)
    host = api.create_host_config(**{**isolation(2**24), "tmpfs": {}, "init": False}, mounts=[mount])
    made = api.create_container(image(api), ["/keeper"], user=USER, host_config=host, labels=dict(labels))
    keeper = str(made["Id"])
    try:
        api.start(keeper)
        yield keeper
    finally:
        with suppress(*UNREACHABLE):  # the next run removes what is left
            api.remove_container(keeper, v=True, force=True)
