"""Cells as processes: a virtual environment per framework from the same pins as its image.

The embedded default where no container engine answers. It measures the same scripts on the same packages, but on the
machine's own Python and system libraries, and isolates nothing.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from orchestrator.cell import contract
from orchestrator.cell.contract import Outcome, Status
from orchestrator.engines import probe
from orchestrator.engines.output import Output, failure, success
from orchestrator.engines.protocol import OnEvent, OnThisHost, Task
from orchestrator.errors import BuildError, ResultError
from orchestrator.images.architectures import Scan
from orchestrator.images.bakefile import files_in
from orchestrator.images.image import Image
from orchestrator.images.sources import Sources
from orchestrator.system.addresses import without_secrets
from orchestrator.system.cache import cache_folder
from orchestrator.system.gpus import text
from orchestrator.system.host import Host, pretended_host
from orchestrator.system.terminal import Say

KEPT = ("PATH", "LANG", "LC_ALL", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH", "OPENBLAS_CORETYPE")
"""What a cell keeps of the caller's variables: enough to run, no credentials."""

CLAIM = re.compile(rb"(?:^|\0)ROSETTA_CLAIM=([^\0]+)")


class ProcessEngine(OnThisHost):
    """Runs cells on this machine without containers."""

    name = "process"

    def __init__(self) -> None:
        self.host = socket.gethostname()
        self._running: set[int] = set()
        self.stopping = False
        self._lock = threading.Lock()

    @property
    def version(self) -> str:
        """That there is none."""
        return "processes, without containers"

    @property
    def image_folder(self) -> Path | None:
        """Where the environments lie that stand for images."""
        folder = environments()
        return folder if folder.is_dir() else None

    @cached_property
    def _machine(self) -> Host:
        return probe.of_this_process()

    def machine(self) -> Host:
        """What this machine has, asked once."""
        return pretended_host() or self._machine

    def unavailable(self, image: Image) -> str | None:
        """An image that needs system packages or a Python that is not here can't be had without containers."""
        if image.needs_container:
            return f"without a container engine: {image.needs_container}"
        if python_of(image) is None:
            return f"without a container engine: no Python {image.python} on this machine"
        return None

    def machine_code(self, image: Image) -> Scan | None:
        """Environments are not looked into."""
        return None

    def built_on(self, image: Image) -> str:
        """Environments have no base."""
        return ""

    def prepare(self, wanted: Sequence[Image], say: Say) -> Mapping[str, str]:
        """Install the environments that are missing, one after the other."""
        for number, image in enumerate(wanted, 1):
            if not is_complete(environment_of(image)):
                say(f"[{number}/{len(wanted)}] installing {image.name}")
                install(image)
        return {image.tag: "" for image in wanted}

    def run(self, task: Task, on_event: OnEvent) -> Outcome:
        """Start the harness in a session of its own, follow it, read what it left."""
        started, clock = datetime.now(UTC), time.perf_counter()
        for process, claim in self.cells().items():
            if claim == task.claim:  # of an orchestrator that is dead: we hold the claim
                self.remove(process)
        with tempfile.TemporaryDirectory(prefix="rosetta-") as folder:
            outcome = self._follow(task, Path(folder), on_event)
        return replace(outcome, started=started, wall_seconds=time.perf_counter() - clock)

    def command(self, task: Task) -> list[str]:
        """What a person would type: the harness by the interpreter of the image's environment."""
        python = str(environment_of(task.image) / "bin" / "python")
        return [python, "-m", "harness", *contract.arguments(task.cell)]

    def variables(self, task: Task, folder: Path) -> dict[str, str]:
        """The environment variables of a cell, which may write to ``folder``."""
        return cell_variables(task, folder, text(self.machine().driver) if task.gpus else "")

    def cells(self) -> Mapping[str, str]:
        """The claims of all cells that run here as our user, by process: their variables tell it."""
        claims = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if marked := CLAIM.search((folder / "environ").read_bytes()):
                    claims[folder.name] = marked[1].decode()
        return claims

    def remove(self, handle: str) -> None:
        """Kill a process."""
        with suppress(ProcessLookupError, PermissionError):
            os.kill(int(handle), signal.SIGKILL)

    def stop(self) -> None:
        """Kill the cells that this process has started, with their children."""
        with self._lock:
            self.stopping = True
            running = list(self._running)
        for process in running:
            kill_session(process)

    def _follow(self, task: Task, folder: Path, on_event: OnEvent) -> Outcome:
        with self._lock:
            if self.stopping:
                return Outcome(Status.FAILED, "stopped before it began")
            pinned = ["taskset", "--cpu-list", ",".join(map(str, task.cores))] if task.cores else []
            process = subprocess.Popen(
                [*pinned, *self.command(task)],
                cwd=workloads_for(task.image, folder),
                env=self.variables(task, folder),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._running.add(process.pid)
        output, late = Output(on_event), threading.Event()
        deadline = threading.Timer(task.deadline, kill_late, (process.pid, late))
        deadline.daemon = True
        deadline.start()
        try:
            assert process.stdout is not None
            with process.stdout as stream:
                while chunk := stream.read1(2**16):  # type: ignore[attr-defined]
                    output.feed(chunk)
            exit_code = process.wait()
        finally:
            deadline.cancel()
            kill_session(process.pid)
            with self._lock:
                self._running.discard(process.pid)
        return judge(task, folder / "results", output.close(), exit_code, late.is_set())


def workloads_for(image: Image, folder: Path) -> Path:
    """The folder that stands for /workloads of the image: the program's, or a copy in ``folder`` with own scripts."""
    program, *own = image.workload_folders
    if not own:
        return program.workloads
    for source in (program, *own):
        for name, path in files_in(source.workloads):
            target = folder / "workloads" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return folder / "workloads"


def judge(task: Task, results: Path, log: str, exit_code: int, late: bool) -> Outcome:
    """The outcome from what the process left in its results folder."""
    if late:
        return Outcome(Status.TIMEOUT, f"not finished after {task.deadline:,.0f} s", log=log)
    documents = [path for path in results.glob("*.json") if path.is_file() and not path.is_symlink()]
    if len(documents) == 1:
        try:
            with documents[0].open("rb") as file:
                raw = file.read(contract.LARGEST_DOCUMENT + 1)
            return success(contract.parse(raw, f"the result of {task.cell.id}"), log)
        except ResultError as error:
            return Outcome(Status.FAILED, str(error), log=log)
    return failure(log, exit_code)


def cell_variables(task: Task, folder: Path, driver: str) -> dict[str, str]:
    """The environment variables of a cell: those of its image, folders of its own, nothing secret.

    On a GPU, also where to keep the kernels that are compiled for it, see ``kernel_cache.py``.
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


def kill_late(pid: int, late: threading.Event) -> None:
    """Kill a session because its time is over."""
    late.set()
    kill_session(pid)


def kill_session(pid: int) -> None:
    """Kill a process and everything in its session's group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def environments() -> Path:
    """The folder of all virtual environments."""
    return cache_folder() / "environments"


def environment_of(image: Image) -> Path:
    """The folder of an image's virtual environment, named after its pins."""
    return environments() / f"{image.name}-{image.recipe[:12]}"


def is_complete(environment: Path) -> bool:
    """Whether the environment was installed to its end."""
    return (environment / ".complete").is_file()


def python_of(image: Image) -> str | None:
    """The interpreter of the image's Python version on this machine."""
    return shutil.which(f"python{image.python}")


def install(image: Image) -> None:
    """Make the virtual environment of an image from its lock; raises BuildError with pip's last lines."""
    from filelock import FileLock

    environment = environment_of(image)
    environment.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{environment}.lock"):
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
    """What pip is told by variables: the same indexes and authorities as in a build of the image."""
    own = {"PIP_CERT": sources.ca, "PIP_CONFIG_FILE": sources.pip_conf}
    return {**sources.pip_variables(image), **{name: str(path) for name, path in own.items() if path}}
