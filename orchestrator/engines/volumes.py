"""Data sets in an engine's volumes, which no image has filled and which are verified from outside before use.

An engine copies an image's files at a mount point into an empty volume. So a volume is filled and read through a
container that never starts, of an empty image made here, and cells mount it read-only.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
from docker.errors import NotFound

from orchestrator.data import datasets
from orchestrator.data.files import File
from orchestrator.engines.client import UNREACHABLE, explain
from orchestrator.engines.copying import CHUNK, archive_from, put
from orchestrator.errors import DataError, EngineError
from orchestrator.system import file_locks
from orchestrator.system.streams import Limited
from orchestrator.system.terminal import Say, plain, quoted

PLACE = "/data"
LABELS = {"rosetta": "data"}
OF_VOLUME = "rosetta.volume"
"""Label of a container through which a volume is read or filled."""

TOO_MUCH = "holds more than its data set"


def mount(name: str) -> docker.types.Mount:
    """Return the read-only mount of the volume in a cell."""
    return docker.types.Mount(PLACE, name, type="volume", read_only=True, no_copy=True)


def name_of(folder: Path) -> str:
    """Return the name of the volume for a cached data set: its name and the checksum of its contents."""
    lines = sorted(f"{file.path} {file.sums[0]}\n" for file in datasets.contents(folder).values())
    return f"rosetta-data-{folder.name}-{hashlib.sha256(''.join(lines).encode()).hexdigest()[:16]}"


def filled(api: docker.APIClient, folder: Path, stopped: Callable[[], bool] = lambda: False) -> str:
    """Return the engine's volume with a cached data set: verified, and filled unless it holds exactly that.

    Somebody else may be filling it, which is waited for until ``stopped()``. Raises EngineError then, or if filling it
    fails; what the SDK raises if the engine does not answer.
    """
    name, wanted = name_of(folder), datasets.contents(folder)
    with file_locks.waited_for(file_locks.host_folder() / f"{name}.lock", stopped) as held:
        if not held or stopped():
            raise EngineError(f"The run was stopped before the volume {name} was ready.")
        if fault(api, name, wanted) is None:
            return name
        with suppress(NotFound):
            api.remove_volume(name, force=True)
        fill(api, name, folder, wanted)
        if (wrong := fault(api, name, wanted)) is not None:
            raise EngineError(
                f"The volume {name} {wrong}, though it was filled from {folder}.",
                remedy="Check the copy in the cache: 'rosetta data check'.",
            )
    return name


def fill(api: docker.APIClient, name: str, folder: Path, wanted: Iterable[str]) -> None:
    """Create a volume and copy a data set into it; raises EngineError if the cache can't be read."""
    api.create_volume(name, driver="local", labels=LABELS)
    with looking_into(api, name) as container:
        for path in sorted(wanted):
            try:
                put(api, container, PLACE, folder / path, Path(path))
            except UNREACHABLE:
                raise
            except OSError as error:
                raise EngineError(f"{folder / path} can't be read: {error.strerror}.") from None


def fault(api: docker.APIClient, name: str, wanted: Mapping[str, File]) -> str | None:
    """Return what is wrong with a volume; None if it is the engine's own folder with exactly these files."""
    try:
        found = api.inspect_volume(name)
    except NotFound:
        return "does not exist"
    if found["Driver"] != "local" or found["Options"]:
        return "is not the engine's own folder"  # which somebody may change under a cell
    with looking_into(api, name) as container, archive_from(api, container, PLACE) as chunks:
        return fault_in(chunks, wanted)


def fault_in(chunks: Iterable[bytes], wanted: Mapping[str, File]) -> str | None:
    """Return what is wrong with the archive of a volume, or None; reading stops at the first fault."""
    lacking = dict(wanted)
    folders = {str(parent) for path in wanted for parent in Path(path).parents}
    most = sum(file.largest for file in wanted.values()) + len(wanted) * tarfile.RECORDSIZE + 2**20
    try:
        with tarfile.open(fileobj=Limited(chunks, most, DataError(TOO_MUCH)), mode="r|", bufsize=CHUNK) as archive:
            for member in archive:
                path = member.name.removeprefix("data").lstrip("/") or "."
                if member.isdir() and path in folders and member.mode & 0o555 == 0o555:
                    continue
                file = lacking.pop(path, None)
                if file is None or member.type != tarfile.REGTYPE:
                    return f"holds {plain(path)[:100]!r}, which is not a file of the data set"
                if member.mode & 0o444 != 0o444 or not holds(archive, member, file):
                    return f"holds another {path}"
    except (tarfile.TarError, DataError):
        return TOO_MUCH
    return f"lacks {min(lacking)}" if lacking else None


def holds(archive: tarfile.TarFile, member: tarfile.TarInfo, file: File) -> bool:
    """Return whether an archive member is exactly this file, by its checksum."""
    content = archive.extractfile(member)
    if content is None or member.size > file.largest:
        return False
    digest = hashlib.new(file.algorithm)
    while chunk := content.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest() in file.sums


@contextmanager
def looking_into(api: docker.APIClient, name: str) -> Iterator[str]:
    """Yield a container, never started, that has a volume at /data; the caller holds the volume's lock."""
    for left in api.containers(all=True, filters={"label": f"{OF_VOLUME}={name}"}):  # left by a process that was killed
        remove(api, left["Id"])
    with empty_image(api) as image:
        at = docker.types.Mount(PLACE, name, type="volume", no_copy=True)
        host = api.create_host_config(mounts=[at], network_mode="none")
        labels = {**LABELS, OF_VOLUME: name}
        container = str(api.create_container(image, ["-"], host_config=host, labels=labels)["Id"])
        try:
            yield container
        finally:
            remove(api, container)


def remove(api: docker.APIClient, container: str) -> None:
    """Remove a container and leave its volumes."""
    with suppress(NotFound):
        api.remove_container(container, v=False, force=True)


@contextmanager
def empty_image(api: docker.APIClient) -> Iterator[str]:
    """Yield a temporary image with only an empty /data; it is untagged, so nobody can replace it."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        folder = tarfile.TarInfo(PLACE.lstrip("/"))
        folder.type, folder.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(folder)
    untyped: Any = api
    image = str(
        json.loads(untyped.import_image_from_data(content.getvalue(), changes=["LABEL rosetta=data"]))["status"]
    )
    try:
        yield image
    finally:
        with suppress(*UNREACHABLE):  # an image that stays takes no room
            api.remove_image(image, force=True)


def report_check(api: docker.APIClient, names: Iterable[str], say: Say) -> None:
    """Verify the volumes of the named data sets, and say a line for each; raises DataError if one is wrong."""
    wrong = []
    try:
        there = {found["Name"] for found in api.volumes(filters={"label": "rosetta=data"})["Volumes"] or []}
        known = {name_of(folder): folder for folder in datasets.mounted(names) if is_known(folder)}
        for name in sorted(there & known.keys()):
            with file_locks.waited_for(file_locks.host_folder() / f"{name}.lock"):
                found = fault(api, name, datasets.contents(known[name]))
            say(f"{'wrong' if found else 'ok':<8}volume {name}{f': it {found}' if found else ''}")
            wrong += [name] if found else []
        every = {name_of(folder) for folder in datasets.mounted() if is_known(folder)}
        for name in sorted(there - every):
            say(f"unused  volume {plain(name)}: no cell reads it; remove it with 'docker volume rm'")
    except UNREACHABLE as error:
        raise EngineError("The volumes with data sets could not be checked.", explain(error)) from None
    if wrong:
        hold = "holds" if len(wrong) == 1 else "hold"
        raise DataError(
            f"{len(wrong):,} of the engine's volumes {hold} something other than a data set's files.",
            remedy=f"The next run refills them; to remove them now: {quoted('docker', 'volume', 'rm', *wrong)}.",
        )


def is_known(folder: Path) -> bool:
    """Return whether a data set's contents are known: for one converted with an index, once that is there."""
    return datasets.is_declared(folder.name) or (folder / "index.json").is_file()
