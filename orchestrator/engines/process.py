"""Run cells as plain processes, with a virtual environment per framework from the same pins as its image.

The default where no container engine answers. It measures the same scripts on the same packages, but on the machine's
own Python and system libraries, and isolates nothing.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from orchestrator.cell import contract
from orchestrator.cell.contract import Outcome, Status
from orchestrator.engines import artifacts, probe
from orchestrator.engines.child_processes import ChildProcesses, Ended
from orchestrator.engines.output import failure, stopped, success, too_late
from orchestrator.engines.pretended_host import pretended_host
from orchestrator.engines.protocol import OnEvent, Task
from orchestrator.errors import BuildError, ResultError
from orchestrator.images.architectures import Scan
from orchestrator.images.bakefile import files_in
from orchestrator.images.image import Image
from orchestrator.images.sources import Sources
from orchestrator.system import file_locks
from orchestrator.system.addresses import without_secrets
from orchestrator.system.cache import cache_folder
from orchestrator.system.gpus import text
from orchestrator.system.host import Host
from orchestrator.system.scratch import scratch_folder
from orchestrator.system.terminal import Say

KEPT = ("PATH", "LANG", "LC_ALL", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "OPENBLAS_CORETYPE")
"""The caller's variables that a cell keeps: enough to run, no credentials."""


class ProcessEngine(ChildProcesses):
    """Runs cells on this machine without containers."""

    name = "process"
    in_containers = False

    @property
    def version(self) -> str:
        """A description, as there is no engine with a version."""
        return "processes, without containers"

    @property
    def image_folder(self) -> Path | None:
        """The folder of the virtual environments that stand in for images."""
        folder = environments()
        return folder if folder.is_dir() else None

    @cached_property
    def _machine(self) -> Host:
        return probe.of_this_process()

    def machine(self) -> Host:
        """The hardware of this machine, probed once."""
        return pretended_host() or self._machine

    def unavailable(self, image: Image) -> str | None:
        """Return why an image needs containers: system packages, or a Python that is not here; None if it does not."""
        if image.needs_container:
            return f"without a container engine: {image.needs_container}"
        if python_of(image) is None:
            return f"without a container engine: no Python {image.python} on this machine"
        return None

    def machine_code(self, image: Image) -> Scan | None:
        """None: environments are not scanned."""
        return None

    def built_on(self, image: Image) -> str:
        """Empty: environments have no base."""
        return ""

    def prepare(self, wanted: Sequence[Image], say: Say) -> Mapping[str, str]:
        """Install missing environments, one after the other."""
        for number, image in enumerate(wanted, 1):
            if not is_complete(environment_of(image)):
                say(f"[{number}/{len(wanted)}] installing {image.name}")
                install(image, lambda: self.stopping)
        return {image.tag: "" for image in wanted}

    def run(self, task: Task, on_event: OnEvent) -> Outcome:
        """Start the harness in a session of its own, follow it and read its results."""
        started, clock = datetime.now(UTC), time.perf_counter()
        self._remove_orphans(task.claim)
        with scratch_folder() as folder:
            ended = self._followed(lambda: self._started(task, folder), task, on_event)
            outcome = judge(task, folder / "results", ended)
        return replace(outcome, started=started, wall_seconds=time.perf_counter() - clock)

    def command(self, task: Task) -> list[str]:
        """Return the command that runs the harness with the environment's interpreter, as a person would type it."""
        python = str(environment_of(task.image) / "bin" / "python")
        return [python, "-m", "harness", *task.arguments]

    def variables(self, task: Task, folder: Path) -> dict[str, str]:
        """Return the environment variables of a cell, which may write to ``folder``."""
        return cell_variables(task, folder, text(self.machine().driver) if task.gpus else "")

    def _started(self, task: Task, folder: Path) -> "subprocess.Popen[bytes]":
        pinned = ["taskset", "--cpu-list", ",".join(map(str, task.cores))] if task.cores else []
        return subprocess.Popen(
            [*pinned, *self.command(task)],
            cwd=workloads_for(task.image, folder),
            env=self.variables(task, folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def workloads_for(image: Image, folder: Path) -> Path:
    """Return the folder used as the image's /workloads: the program's, or a copy in ``folder`` with own scripts."""
    program, *own = image.workload_folders
    if not own:
        return program.workloads
    for source in (program, *own):
        for name, path in files_in(source.workloads):
            target = folder / "workloads" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return folder / "workloads"


def judge(task: Task, results: Path, ended: Ended | None) -> Outcome:
    """Return the outcome of a cell from its results folder."""
    if ended is None:
        return stopped()
    if ended.late:
        return too_late(task.deadline, ended.log)
    if task.profile:
        try:
            return artifacts.profiled(artifacts.profile_in(results), task, ended.log) or failure(
                ended.log, ended.exit_code
            )
        except ResultError as error:
            return Outcome(Status.FAILED, str(error), log=ended.log)
    documents = [path for path in results.glob("*.json") if path.is_file() and not path.is_symlink()]
    if len(documents) == 1:
        try:
            with documents[0].open("rb") as file:
                raw = file.read(contract.LARGEST_DOCUMENT + 1)
            return success(contract.parse(raw, f"the result of {task.cell.id}"), ended.log)
        except ResultError as error:
            return Outcome(Status.FAILED, str(error), log=ended.log)
    return failure(ended.log, ended.exit_code)


def cell_variables(task: Task, folder: Path, driver: str) -> dict[str, str]:
    """Return the environment variables of a cell: its image's, its own folders, nothing secret; makes the folders.

    On a GPU they also name the cache of compiled kernels, see ``kernel_cache.py``.
    """
    (folder / "results").mkdir()
    (folder / "home").mkdir()
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    own = {
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder),
        "ROSETTA_RESULTS": str(folder / "results"),
        "ROSETTA_PLATFORM": task.image.platform,
        "ROSETTA_CLAIM": task.claim,
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if task.data:
        own["ROSETTA_DATA"] = str(task.data)
    if task.weights:
        shutil.copyfile(task.weights, folder / contract.weights_name(task.cell))
        own["ROSETTA_WEIGHTS"] = str(folder)
    if task.gpus:
        own["CUDA_VISIBLE_DEVICES"] = ",".join(task.gpus)
        name = f"{environment_of(task.image).name}-{task.cell.gpu}-{driver or 'unknown'}"
        kernels = cache_folder() / "kernels" / name
        kernels.mkdir(parents=True, exist_ok=True)
        own["CUDA_CACHE_PATH"] = str(kernels)
    return {**kept, **task.image.environment, **own}


def environments() -> Path:
    """The folder of all virtual environments."""
    return cache_folder() / "environments"


def environment_of(image: Image) -> Path:
    """The folder of an image's virtual environment, named after its pins."""
    return environments() / f"{image.name}-{image.recipe[:12]}"


def is_complete(environment: Path) -> bool:
    """Return whether the environment was installed completely."""
    return (environment / ".complete").is_file()


def python_of(image: Image) -> str | None:
    """Return this machine's interpreter of the image's Python version; None if there is none."""
    return shutil.which(f"python{image.python}")


def install(image: Image, stopped: Callable[[], bool] | None = None) -> None:
    """Make the virtual environment of an image from its lock, waiting for whoever makes it now until ``stopped()``.

    Raises BuildError with pip's last lines.
    """
    environment = environment_of(image)
    environment.parent.mkdir(parents=True, exist_ok=True)
    with file_locks.waited_for(Path(f"{environment}.lock"), stopped) as held:
        if not held:
            raise BuildError(f"Stopped while another program installed the environment of {image.name}.")
        if is_complete(environment):
            return
        shutil.rmtree(environment, ignore_errors=True)
        sources = Sources.from_environment()
        pip = [str(environment / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        commands = [[str(python_of(image)), "-m", "venv", str(environment)]]
        commands += [[*pip, *arguments] for arguments in image.pip_installs(wheels=sources.wheels)]
        for command in commands:
            variables = {**os.environ, **pip_variables(image, sources)}
            done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                shutil.rmtree(environment, ignore_errors=True)
                tail = without_secrets("\n".join((done.stderr or done.stdout).splitlines()[-12:]))
                raise BuildError(f"The environment of {image.name} could not be installed.", tail)
        (environment / ".complete").touch()


def pip_variables(image: Image, sources: Sources) -> dict[str, str]:
    """Return pip's variables: the same indexes and certificate authorities as in a build of the image."""
    own = {"PIP_CERT": sources.ca, "PIP_CONFIG_FILE": sources.pip_conf}
    return {**sources.pip_variables(image), **{name: str(path) for name, path in own.items() if path}}
