"""Run cells with the user's own interpreter: no container, nothing installed into it, its variables unchanged."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from orchestrator.cell.cell import OWN
from orchestrator.engines.child_processes import kill_session
from orchestrator.engines.process import ProcessEngine
from orchestrator.engines.protocol import Engine, Task
from orchestrator.errors import InstallationError
from orchestrator.images import installation
from orchestrator.images.image import Image
from orchestrator.images.installation import Facts, Installed
from orchestrator.images.installation_probe import LONGEST, VARIABLES
from orchestrator.system.scratch import scratch_folder
from orchestrator.system.terminal import Say, one_line

PATIENCE = 300.0
"""Timeout in seconds for an answer; TensorFlow's first import from a cold network disk takes a minute or two."""

LARGEST_ANSWER = 2**20
"""Bytes; five hundred packages take 20,000."""

KEPT = ("PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX")
"""Variables by which an installation finds its parts, besides those that every cell keeps."""


class OwnEngine(Engine, Protocol):
    """An engine whose only image is an installation that it can ask about itself."""

    source: str
    """What the user named: a path, or an image."""

    def installed(self) -> Installed:
        """The interpreter and what it can find; raises InstallationError."""

    def facts(self, module: str) -> Facts:
        """Import a module there and return what it reports about itself."""


class OwnPython(ProcessEngine):
    """Runs cells on this machine with one interpreter and whatever is installed in it."""

    def __init__(self, python: Path) -> None:
        super().__init__()
        # not resolved: a virtual environment's interpreter is a link, and finds its environment by the link's location
        self.python = Path(os.path.abspath(shutil.which(python.expanduser()) or python))
        self.source = str(python)
        if not (self.python.is_file() and os.access(self.python, os.X_OK)):
            remedy = "Give the path of an interpreter, such as /opt/venv/bin/python."
            raise InstallationError(f"{python} is not an interpreter.", "There is no such program.", remedy)

    @property
    def version(self) -> str:
        """The interpreter's path."""
        return f"{self.python}, without containers"

    def unavailable(self, image: Image) -> str | None:
        """None: the installation is there already."""
        return None

    def prepare(self, wanted: Sequence[Image], say: Say) -> Mapping[str, str]:
        """Do nothing: nothing is ever installed into it."""
        return {image.tag: "" for image in wanted}

    def command(self, task: Task) -> list[str]:
        """Return the command that runs the harness with this interpreter."""
        return [str(self.python), "-m", "harness", *own_arguments(task)]

    def variables(self, task: Task, folder: Path) -> dict[str, str]:
        """Return a cell's variables and the user's settings for the libraries: they are part of what is judged."""
        return {**kept_variables(), **super().variables(task, folder)}

    def installed(self) -> Installed:
        """The interpreter and what it can find; raises InstallationError."""
        return installation.read_installed(self._said(), self.source)

    def facts(self, module: str) -> Facts:
        """Import a module there, with the variables of a cell, and return what it reports about itself."""
        try:
            said = self._said(module)
        except InstallationError as error:
            return Facts(module=module, error=one_line(error.why)[:LONGEST])
        return installation.read_facts(said, module, self.source)

    def _said(self, *words: str) -> bytes:
        """Return the probe's answer; raises InstallationError on a timeout, if it can't be run, or if there is none."""
        temporary = tempfile.TemporaryFile
        with scratch_folder() as folder, temporary() as answer, temporary() as complaint:
            self._ask(words, folder, answer, complaint)
            answer.seek(0)
            said, last = answer.read(LARGEST_ANSWER), last_line(complaint)
        if last and not said.strip():
            why = f"It ended without any output but this complaint: {last}"
            raise InstallationError(f"{self.source} did not report what is installed.", why)
        return said

    def _ask(self, words: Sequence[str], folder: Path, answer: IO[bytes], complaint: IO[bytes]) -> None:
        """Run the probe in a folder, and end it with all that it has started."""
        variables = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        try:
            process = subprocess.Popen(
                [str(self.python), "-B", "-c", installation.SCRIPT.read_text(encoding="utf-8"), *words],
                cwd=folder,
                env={**variables, **kept_variables(), "HOME": str(folder), "TMPDIR": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=answer,
                stderr=complaint,
                start_new_session=True,
            )
        except OSError as error:
            remedy = "Give the path of an interpreter, such as /opt/venv/bin/python."
            raise InstallationError(f"{self.source} can't be run.", f"{error.strerror}.", remedy) from None
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            why = f"It did not answer within {PATIENCE:,.0f} s."
            raise InstallationError(f"{self.source} did not report what is installed.", why) from None
        finally:
            kill_session(process.pid)
            process.wait()


def last_line(file: IO[bytes]) -> str:
    """Return the last line that was written into a file, of bounded length; empty if there is none."""
    file.seek(max(0, file.seek(0, os.SEEK_END) - LONGEST))
    lines = file.read(LONGEST).decode(errors="replace").split("\n")
    return next((one_line(line) for line in reversed(lines) if line.strip()), "")


def kept_variables() -> dict[str, str]:
    """Return the caller's variables that locate an installation, or make it faster or slower."""
    return {name: value for name, value in os.environ.items() if name in KEPT or VARIABLES.match(name)}


def own_arguments(task: Task) -> list[str]:
    """Return a cell's arguments; the platform ``own`` does not imply GPUs or none, so ``--gpus 0`` says none."""
    without = ["--gpus", "0"] if task.cell.gpu == "none" else []
    return [*task.arguments, *without]


def own_variables() -> dict[str, str]:
    """Return the variables of a cell in somebody else's image."""
    return {"ROSETTA_PLATFORM": OWN, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/tmp"}
