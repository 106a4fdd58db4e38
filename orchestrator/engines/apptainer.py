"""Run cells under Apptainer, without root or a daemon, as on clusters.

Each cell runs in namespaces of its own: it can write only to size-limited tmpfs mounts that no other process sees, and
all its processes end with the first of them.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import IO

from orchestrator.cell.contract import Outcome, Status
from orchestrator.engines import artifacts, probe
from orchestrator.engines.apptainer_command import PROGRAM, Folders, Limits, invocation
from orchestrator.engines.child_processes import ChildProcesses, Ended
from orchestrator.engines.copying import CHUNK
from orchestrator.engines.isolation import BATCHES, SHARED_MEMORY, TMP
from orchestrator.engines.output import failure, stopped, too_late
from orchestrator.engines.pretended_host import pretended_host
from orchestrator.engines.protocol import OnEvent, Task
from orchestrator.engines.results_volume import MOST_FILES, SIZE
from orchestrator.engines.sif_files import Sif, SifFiles
from orchestrator.errors import BuildError, EngineError, ResultError
from orchestrator.system.cache import cache_folder
from orchestrator.system.gpus import text
from orchestrator.system.host import Host

NEEDED = ("unshare", "mount", "prlimit", "taskset", "setpriv", "tar", "head")
"""Programs that start a cell; some distributions have them in packages of their own."""

NAMESPACES: Sequence[str] = (
    *("unshare", "--user", "--map-current-user", "--keep-caps", "--mount"),
    *("--pid", "--fork", "--kill-child", "--mount-proc"),
)
"""The command that makes a cell's namespaces; when it is killed, everything in them is killed too."""

SCRIPT = """
set -e
folder=$1 most=$2 results=$3 tmp=$4 shared=$5
shift 5
mount -t tmpfs -o "$results" results "$folder/results"
mount -t tmpfs -o "$tmp" tmp "$folder/tmp"
mount -t tmpfs -o "$shared" shared "$folder/shared"
set +e
setpriv --ambient-caps=-all --inh-caps=-all "$@" >&2 </dev/null
code=$?
tar -C "$folder" -cf - results 2>/dev/null | head -c "$most"
exit $code
"""
"""The first process: it passes the cell's output to its standard error, and writes the results as a tar archive.

The archive is cut off at a limit, since sparse files take their full size in it.
"""


class ApptainerEngine(SifFiles, ChildProcesses):
    """Runs cells on this machine with the program ``apptainer``, as the current user."""

    name = "apptainer"

    def __init__(self) -> None:
        ChildProcesses.__init__(self)
        SifFiles.__init__(self)
        self._version = asked([PROGRAM, "--version"])
        if self._version is None:
            raise EngineError("The command 'apptainer' is missing.", remedy="Install Apptainer 1.1 or newer.")
        if missing := [name for name in NEEDED if shutil.which(name) is None]:
            raise EngineError(
                f"Programs are missing: {', '.join(missing)}.", remedy="Install util-linux 2.38 or newer."
            )
        if asked([*NAMESPACES, "true"]) is None:
            remedy = (
                "Ask its administrator for user namespaces (user.max_user_namespaces) and util-linux 2.38 or newer."
            )
            raise EngineError("This machine does not allow user namespaces.", f"{NAMESPACES[0]} fails.", remedy)
        self._network = asked(["unshare", "--user", "--map-current-user", "--net", "true"]) is None
        self._by_groups = are_delegated({"memory", "pids"})

    @property
    def version(self) -> str:
        """The version of the program."""
        return str(self._version).replace("apptainer version", "Apptainer")

    @property
    def limits(self) -> str:
        """How the cell's resource limits are enforced, as recorded in rows."""
        memory, processes = (
            ("control group",) * 2 if self._by_groups else ("limit of each process", "limit of the user")
        )
        network = "; network: not denied" if self._network else ""
        return f"cores: affinity; memory: {memory}; processes: {processes}{network}"

    @cached_property
    def _machine(self) -> Host:
        return probe.of_this_process()

    def machine(self) -> Host:
        """The hardware of this machine, probed once."""
        return pretended_host() or self._machine

    def run(self, task: Task, on_event: OnEvent) -> Outcome:
        """Start the cell in its namespaces, follow it and read its results."""
        started, clock = datetime.now(UTC), time.perf_counter()
        self._remove_orphans(task.claim)
        try:
            sif = self.sif(task.image)
            with (
                tempfile.TemporaryDirectory(prefix="rosetta-", dir=temporary_folder()) as folder,
                tempfile.TemporaryFile() as left,
            ):
                ended = self._followed(lambda: self._started(task, sif, Path(folder), left), task, on_event)
                left.seek(0)
                outcome = judge(task, left, ended)
            if outcome.status is Status.FAILED and not sif.path.is_file():
                outcome = replace(outcome, status=Status.HOST_LOST, reason=f"{sif.path} was removed from outside")
            outcome = replace(outcome, image_digest=sif.id)
        except (BuildError, EngineError) as error:
            outcome = Outcome(Status.HOST_LOST, str(error))
        return replace(outcome, limits=self.limits, started=started, wall_seconds=time.perf_counter() - clock)

    def _started(self, task: Task, sif: Sif, folder: Path, left: IO[bytes]) -> "subprocess.Popen[bytes]":
        """Start the first process of a cell; its standard error is the cell's output, its results go to ``left``."""
        for name in ("results", "tmp", "shared"):
            (folder / name).mkdir()
        folders = Folders(
            folder / "results",
            tmp=folder / "tmp",
            shared_memory=folder / "shared",
            data=task.data.absolute() if task.data else None,
            weights=task.weights.absolute() if task.weights else None,
            kernels=self._kernels(task, sif) if task.gpus else None,
        )
        limits = Limits(task.cores, task.memory, self._by_groups)
        command = invocation(sif.path, task, folders, limits, task.gpus, network=self._network)
        options = [
            f"size={SIZE},nr_inodes={MOST_FILES},mode=700,nosuid,nodev,noexec",
            f"size={TMP},mode=700,nosuid,nodev",
            f"size={SHARED_MEMORY + task.cell.n_gpus * BATCHES},mode=700,nosuid,nodev,noexec",
        ]
        return subprocess.Popen(
            [*NAMESPACES, "sh", "-c", SCRIPT, "sh", str(folder), str(2 * SIZE), *options, *command.argv],
            cwd="/",
            env={**command.variables, "ROSETTA_CLAIM": task.claim},
            stdin=subprocess.DEVNULL,
            stdout=left,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def _kernels(self, task: Task, sif: Sif) -> Path:
        """Return the folder that caches the kernels compiled for an image and GPU model, see ``kernel_cache.py``."""
        driver = text(self.machine().driver) or "unknown"
        folder = cache_folder() / "kernels" / f"{sif.path.stem[:12]}-{task.cell.gpu}-{driver}"
        (folder / "cache").mkdir(parents=True, exist_ok=True)
        return folder


def judge(task: Task, archive: IO[bytes], ended: Ended | None) -> Outcome:
    """Return the outcome of a cell from the archive of its results."""
    if ended is None:
        return stopped()
    if ended.late:
        return too_late(task.deadline, ended.log)
    try:
        chunks = list(iter(lambda: archive.read(CHUNK), b""))
        if chunks and (outcome := artifacts.outcome_of(iter(chunks), task, ended.log)) is not None:
            return outcome
    except ResultError as error:
        return Outcome(Status.FAILED, str(error), log=ended.log)
    if ended.exit_code < 0:  # the exit code of the namespace command, which a cell can't see
        killer = signal.Signals(-ended.exit_code).name
        return Outcome(Status.HOST_LOST, f"ended from outside by {killer}", log=ended.log)
    return failure(ended.log, ended.exit_code)


def temporary_folder() -> str:
    """Return the folder for temporary ones of cells: Apptainer takes no home with a colon in its path."""
    return "/tmp" if ":" in tempfile.gettempdir() else tempfile.gettempdir()


def asked(command: Sequence[str]) -> str | None:
    """Return what a command prints; None if it can't be run or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def are_delegated(controllers: set[str]) -> bool:
    """Return whether systemd delegates these cgroup controllers to this user."""
    user = os.getuid()
    groups = Path(f"/sys/fs/cgroup/user.slice/user-{user}.slice/user@{user}.service/cgroup.controllers")
    bus = Path(os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{user}"), "bus")
    with suppress(OSError):
        return bus.is_socket() and controllers <= set(groups.read_text(encoding="ascii").split())
    return False
