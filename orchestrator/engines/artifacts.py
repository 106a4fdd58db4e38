"""Read a cell's results folder, within size limits: one document, or the two files of a profile."""

import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from orchestrator.cell import contract, profile
from orchestrator.cell.contract import Outcome, Status
from orchestrator.engines.output import success
from orchestrator.engines.protocol import Task
from orchestrator.errors import ResultError
from orchestrator.system.regular_files import read_regular
from orchestrator.system.streams import Limited

TOO_MUCH = "The container's results folder holds more than a result may have."


def outcome_of(stream: Iterator[bytes], task: Task, log: str) -> Outcome | None:
    """Return the outcome of a cell from a tar stream of its /results; None if it left nothing. Raises ResultError."""
    if task.profile:
        return profiled(profile_of(stream), task, log)
    raw = document_of(stream)
    return None if raw is None else success(contract.parse(raw, f"the result of {task.cell.id}"), log)


def profiled(files: Mapping[str, bytes], task: Task, log: str) -> Outcome | None:
    """Return the outcome of a profiled cell from the files it left; it has no document, so it never becomes a row."""
    if not files:
        return None
    return Outcome(Status.OK, recording=profile.parse(files, task.cell, task.profile), log=log)


def document_of(stream: Iterator[bytes]) -> bytes | None:
    """Return the one JSON document in a tar stream of /results; None if there is none.

    Raises ResultError for links, special files, a second document, or more bytes than a result may have.
    """
    found: bytes | None = None
    for name, content in files_of(stream, contract.LARGEST_DOCUMENT, lambda name: name.endswith(".json")):
        if found is not None:
            raise odd(name)
        found = content
    return found


def profile_of(stream: Iterator[bytes]) -> Mapping[str, bytes]:
    """Return the files of a profile in a tar stream of /results; raises ResultError as ``document_of`` does."""
    return dict(files_of(stream, sum(profile.LARGEST.values()), profile.LARGEST.__contains__))


def profile_in(folder: Path) -> Mapping[str, bytes]:
    """Return the files of a profile in a folder: regular ones, each read to at most one byte over its limit."""
    files = {}
    for name, most in profile.LARGEST.items():
        with suppress(OSError):
            files[name] = read_regular(folder / name, most + 1)
    return files


def files_of(stream: Iterator[bytes], most: int, is_wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the wanted files in a tar stream of /results, up to ``most`` + 1 bytes of each.

    Raises ResultError for links and special files of such names, and if the stream is longer than ``most`` + 1 MiB.
    """
    reader = Limited(stream, most + 2**20, ResultError(TOO_MUCH))
    try:
        with tarfile.open(fileobj=reader, mode="r|") as archive:
            for member in archive:
                name = member.name.lstrip("/").removeprefix("results/")  # Podman leaves the folder out
                if member.isdir() or name.startswith(".") or not is_wanted(name):
                    continue
                if not member.isfile() or "/" in name:
                    raise odd(name)
                content = archive.extractfile(member)
                yield name, content.read(most + 1) if content else b""
    except tarfile.TarError as error:
        raise ResultError(f"The results of the container can't be read: {error}") from None


def odd(name: str) -> ResultError:
    """The error for a file that should not be there."""
    return ResultError(f"The results folder of the container holds {name!r}, which is not a single plain document.")
