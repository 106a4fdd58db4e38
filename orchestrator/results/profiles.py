"""Profiles in a results folder, the newest of each cell: no merge reads them, and no cell is done by them."""

from contextlib import suppress
from pathlib import Path

from orchestrator.cell import profile
from orchestrator.cell.profile import LARGEST, SUMMARY, TRACE, Profile, Recording
from orchestrator.errors import ResultError
from orchestrator.results.paths import ResultsFolder, trace_path
from orchestrator.system.regular_files import read_regular, write_beside
from orchestrator.system.text_files import disk_errors


def write_profile(recording: Recording, results: Path, cell: str) -> Path:
    """Write what was recorded of a cell, named by its id; returns the path of its trace. Raises DiskError."""
    path = ResultsFolder(results).profile(cell)
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_beside(trace_path(path), recording.trace)
        write_beside(path, recording.profile.model_dump_json(indent=1).encode())
    return trace_path(path)


def read_profile(results: Path, cell: str) -> Profile | None:
    """The summary of a cell's profile; None if there is none, or if it is not as declared.

    The id may come from a row of somebody else's: one that leads out of the folder has none.
    """
    path = ResultsFolder(results).profile(cell)
    if cell.startswith("/") or ".." in cell.split("/"):
        return None
    with suppress(OSError, ValueError, ResultError):
        return profile.read(read_regular(path, LARGEST[SUMMARY] + 1), str(path))
    return None


def read_trace(results: Path, cell: str) -> bytes:
    """The trace of a cell that has a profile, of bounded size; empty where it is gone."""
    with suppress(OSError):
        return read_regular(trace_path(ResultsFolder(results).profile(cell)), LARGEST[TRACE])
    return b""
