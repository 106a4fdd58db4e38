"""Run cells in containers: no network, read-only root, no capabilities, unprivileged user; results over the API."""

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from docker.errors import APIError, NotFound
from docker.types import Mount

from orchestrator.cell import contract
from orchestrator.cell.contract import Outcome, Status
from orchestrator.engines import artifacts, code_scan, kernel_cache, probe, volumes
from orchestrator.engines.client import UNREACHABLE, Connection, explain
from orchestrator.engines.copying import archive_from, put
from orchestrator.engines.isolation import RESULTS, USER, gpu_request, isolation, odd_volumes
from orchestrator.engines.output import STDERR, Output, failure, too_late
from orchestrator.engines.pretended_host import pretended_host
from orchestrator.engines.protocol import OnEvent, OnThisHost, Task
from orchestrator.engines.results_volume import KEPT, Later, ResultsFolder, ResultsFolders, at_once
from orchestrator.errors import BuildError, EngineError, ResultError
from orchestrator.images.architectures import Scan
from orchestrator.images.building import build_images, built_on
from orchestrator.images.image import Image, every_image
from orchestrator.system.host import Host, is_here
from orchestrator.system.slots import own_cores
from orchestrator.system.terminal import Say

CLAIM, GPU = "rosetta.claim", "rosetta.gpu."
"""Labels of a cell's container: its claim, and one for each of its GPUs."""

GRACE = 60.0
"""Seconds after a cell's deadline until a hanging engine is given up and the cell counts as lost."""

BESIDE = 8
"""Containers that are started or removed at a time beside the cells of a run."""

KILLED = {137: "SIGKILL", 143: "SIGTERM"}
"""Exit codes of a cell that may have been killed from outside, not at its deadline and not for lack of memory."""

LOST = re.compile("containerd|transport|context canceled|shutting down|connection refused|timeout|i/o error", re.I)
"""Errors of an engine that is shutting down or has just restarted; any other error is a real refusal."""


Supply = Callable[[Connection, Sequence[Image], Say], Mapping[str, str]]
"""Gets images onto an engine and returns their ids by tag; raises a RosettaError."""


def built(connection: Connection, wanted: Sequence[Image], say: Say) -> Mapping[str, str]:
    """Build images that are missing or out of date, and scan those for CUDA for the GPUs they have code for."""
    ids = build_images(wanted, progress=say, variables=connection.variables)
    return ids | code_scan.look_into(connection, wanted, say)


class DockerEngine(OnThisHost):
    """A Docker engine, local or the one that ``DOCKER_HOST`` names; ``supply`` gets its images."""

    name = "docker"
    built_by_docker = True
    told_within = 1
    """Seconds after a container's end to wait for the engine's event that tells what killed it."""

    limits = ""
    """How the cell's resource limits are enforced, if not by the engine's cgroups."""

    def __init__(self, supply: Supply = built, connection: Connection | None = None) -> None:
        self.connection = connection or Connection()
        self.api = self.connection.api
        self._supply = supply
        self.host = self._host_name()
        self._running: set[str] = set()
        self._beside: Later | None = None
        self.stopping = False
        self._lock, self._filling = threading.Lock(), threading.Lock()
        self._volumes: dict[Path, str] = {}
        self._kernels: dict[str, str] = {}
        self._digests: dict[str, str] = {}
        self._sound: set[str] = set()
        self._cdi = False
        self._folders = ResultsFolders(self.api)

    def _host_name(self) -> str:
        return str(self.api.info().get("Name") or "unknown")

    @property
    def version(self) -> str:
        """The versions of the engine and its API."""
        told = self.api.version()
        return f"Docker {told['Version']}, API {told['ApiVersion']}"

    @property
    def image_folder(self) -> Path | None:
        """Docker's own folder, if the engine is this machine's and the folder can be seen."""
        folder = Path(str(self.api.info()["DockerRootDir"]))
        return folder if self.connection.is_local and folder.is_dir() else None

    @cached_property
    def _machine(self) -> Host:
        host, self._cdi = probe.of_engine(self.connection)
        return replace(host, architecture=str(self.api.info()["Architecture"]))  # the probe's own may be emulated

    @cached_property
    def _built_on(self) -> Mapping[str, str]:
        """The bases of all images, queried at once: one query for each would take longer than a plan."""
        return built_on(every_image(), self.connection.variables)

    def machine(self) -> Host:
        """The hardware of the engine's machine, probed once."""
        return pretended_host() or self._machine

    def unavailable(self, image: Image) -> str | None:
        """None: with Docker, every image can be built."""
        return None

    def machine_code(self, image: Image) -> Scan | None:
        """Return the scan made when the image was built; None if it is not here."""
        return code_scan.found_in(image, self.connection.variables)

    def built_on(self, image: Image) -> str:
        """Return the bases of an image as this engine has them."""
        return self._built_on.get(image.tag, "")

    def prepare(self, wanted: Sequence[Image], say: Say) -> Mapping[str, str]:
        """Get the images that are missing or out of date."""
        self.use(self._supply(self.connection, wanted, say))
        return self._digests

    def use(self, digests: Mapping[str, str]) -> None:
        """Run these images from now on: ids by tag."""
        self._digests |= digests

    def run(self, task: Task, on_event: OnEvent) -> Outcome:
        """Create the cell's container, start and follow it, read the result and remove it."""
        started, clock = datetime.now(UTC), time.perf_counter()
        try:
            self.connection.restore()
            with self._container(task) as (container, folder):
                outcome = self._follow(container, folder, task, on_event)
        except ResultError as error:
            outcome = Outcome(Status.FAILED, str(error))
        except (EngineError, BuildError) as error:
            outcome = Outcome(Status.HOST_LOST, str(error))
        except UNREACHABLE as error:
            outcome = refused(error)
        return replace(
            outcome,
            image_digest=self._digests.get(task.image.tag, ""),
            limits=self.limits,
            started=started,
            wall_seconds=time.perf_counter() - clock,
        )

    def cells(self) -> Mapping[str, str]:
        """Return the claims of all cells' containers by id, also of those only created or already ended."""
        try:
            found = self.api.containers(all=True, filters={"label": CLAIM})
        except UNREACHABLE as error:
            raise EngineError("The Docker engine does not answer.", explain(error), "Start it again.") from None
        return {container["Id"]: container["Labels"][CLAIM] for container in found}

    def remove(self, handle: str) -> None:
        """Remove a container even if running; one that is gone or being removed is no error."""
        with suppress(*UNREACHABLE):
            self.api.remove_container(handle, v=True, force=True)

    def stop(self) -> None:
        """Kill the containers that this process started."""
        with self._lock:
            self.stopping = True
            running = list(self._running)
        for container in running:
            self._kill(container)

    @contextmanager
    def working_beside(self) -> Iterator[None]:
        """Meanwhile remove what has ended, and start what the next cells need, in threads; wait for them at the end.

        Once much waits for that, cells do it themselves, so that a slow engine is not given ever more to do.
        """
        room = threading.BoundedSemaphore(2 * BESIDE)

        def later(work: Callable[[], Any]) -> "Future[Any]":
            if not room.acquire(blocking=False):
                return at_once(work)
            try:
                future = pool.submit(work)
            except RuntimeError:  # no more threads can be started
                room.release()
                return at_once(work)
            future.add_done_callback(lambda _: room.release())
            return future

        with ThreadPoolExecutor(BESIDE, thread_name_prefix="beside") as pool:
            self._beside = later
            try:
                yield
            finally:
                self._beside = None

    def _kill(self, container: str) -> None:
        """Kill a container; one that is not running is left as it is."""
        with suppress(*UNREACHABLE):
            self.api.kill(container)

    def _id(self, image: Image) -> str:
        """Return the id of the prepared image, not the tag's current one: somebody may have rebuilt it meanwhile."""
        return self._digests.get(image.tag, image.tag)

    @contextmanager
    def _container(self, task: Task) -> Iterator[tuple[str, ResultsFolder]]:
        """Create a container with its results folder, and remove both whatever happens: later, if it has ended."""
        self._remove_orphans(task)
        self._refuse_odd(self._id(task.image))
        owned = {"rosetta.run": task.run, CLAIM: task.claim}
        with ExitStack() as stack:
            folder = stack.enter_context(self._results_folder(task, owned))
            container = self._created(task, folder.volume, {"rosetta": "cell", **owned})
            stack.callback(self.remove, container)
            with self._lock:
                self._running.add(container)
            try:
                if task.weights:
                    put(self.api, container, "/weights", task.weights, Path(contract.weights_name(task.cell)))
                yield container, folder
            finally:
                with self._lock:
                    self._running.discard(container)
            if self._beside:
                self._beside(stack.pop_all().close)

    def _refuse_odd(self, image: str) -> None:
        """Raise ResultError for an image in which cells can't be isolated; asked once, as that takes Podman long."""
        if image not in self._sound and (reason := odd_volumes(self.api.inspect_image(image)["Config"])):
            raise ResultError(f"The image {reason}.")
        if image in self._digests.values():  # an id: what is in a tag may change
            self._sound.add(image)

    def _results_folder(self, task: Task, owned: Mapping[str, str]) -> AbstractContextManager[ResultsFolder]:
        """Return a context manager of an empty results folder: one of several that the run has, or the cell's own."""
        if task.owner:
            return self._folders.one({CLAIM: task.owner}, KEPT, self._beside)
        return self._folders.one(owned)

    def _denied(self, task: Task) -> dict[str, Any]:
        """Return the host options that isolate a cell, and its cores."""
        own = own_cores() if is_here(self.host) else ()
        cores = ",".join(map(str, task.cores or own)) or None
        return {**isolation(task.memory, task.cell.n_gpus), "cpuset_cpus": cores}

    def _created(self, task: Task, results: str, labels: Mapping[str, str]) -> str:
        """Create the container of a cell, with a volume as its results folder, and return its id."""
        host = self.api.create_host_config(
            **self._denied(task),
            **(gpu_request(task.gpus, self._cdi) if task.gpus else {}),
            mounts=[*self._mounts(task), Mount(RESULTS, results, type="volume", no_copy=True)],
        )
        made = self.api.create_container(
            self._id(task.image),
            **self._invocation(task),
            user=USER,
            stop_signal="SIGKILL",  # Podman stops what it removes, and would wait for ten seconds
            host_config=host,
            volumes=["/weights"] if task.weights else None,
            labels={
                **labels,
                "rosetta.cell": task.cell.id,
                "rosetta.key": task.key,
                **{f"{GPU}{gpu}": "held" for gpu in task.gpus},
            },
        )
        return str(made["Id"])

    def _mounts(self, task: Task) -> list[Mount]:
        """Return a cell's mounts: its data set and, on a GPU, the cache of kernels compiled for it."""
        mounts = [volumes.mount(self._volume(task.data))] if task.data else []
        if not task.gpus:
            return mounts
        image, card, driver = self._id(task.image), task.cell.gpu, self.machine().driver
        name = kernel_cache.name_of(image, card, driver)
        with self._filling:
            if name not in self._kernels:
                self._kernels[name] = kernel_cache.prepare(self.api, image, task.image.tag, card, driver)
        return [*mounts, kernel_cache.mount(name)]

    def _invocation(self, task: Task) -> dict[str, Any]:
        """Return the command and environment of a cell's container."""
        kernels = kernel_cache.VARIABLES if task.gpus else {}
        return {"command": task.arguments, "environment": dict(kernels)}

    def _remove_orphans(self, task: Task) -> None:
        """Remove what a dead orchestrator left of this cell or on its GPUs: we hold the locks of both."""
        if not task.claim:
            return
        gpus = {f"{GPU}{gpu}" for gpu in task.gpus}
        for container in self.api.containers(all=True, filters={"label": CLAIM}):
            if container["Labels"][CLAIM] == task.claim or gpus & container["Labels"].keys():
                self.remove(container["Id"])

    def _follow(self, container: str, folder: ResultsFolder, task: Task, on_event: OnEvent) -> Outcome:
        """Start the container, forward its events until it ends or its deadline passes, and judge what it left."""
        output = Output(on_event)
        stream: Any = self.api.attach(container, stdout=True, stderr=True, stream=True, demux=True)
        late = threading.Event()
        deadline = threading.Timer(task.deadline, self._kill_late, (container, late))
        silence = threading.Timer(task.deadline + GRACE, give_up, (stream,))
        deadline.daemon = silence.daemon = True
        try:
            self.api.start(container)
            if self.stopping:  # stop() may have come before the start, and found nothing to kill
                self._kill(container)
            deadline.start()
            silence.start()
            for said, complained in stream:
                output.feed(said or b"")
                output.feed(complained or b"", STDERR)
            # Its output has ended, so this returns at once; the SDK sets no timeout here by default.
            exit_code = int(self.api.wait(container, timeout=self.api.timeout)["StatusCode"])
        finally:
            deadline.cancel()
            silence.cancel()
            stream._response.close()  # the SDK has no public way, and leaves it to the garbage collector
        log = output.close()
        if late.is_set():
            return too_late(task.deadline, log)
        try:
            with suppress(NotFound), archive_from(self.api, folder.keeper, folder.path) as chunks:
                if (outcome := artifacts.outcome_of(chunks, task, log)) is not None:
                    return outcome
        except ResultError as error:
            return Outcome(Status.FAILED, str(error), log=log)
        if exit_code != 0 and self.api.inspect_container(container)["State"].get("OOMKilled"):
            return Outcome(Status.OOM, "killed by the kernel: out of memory", log=log)
        if exit_code in KILLED and self._was_killed(container):
            return Outcome(Status.HOST_LOST, f"ended from outside by {KILLED[exit_code]}", log=log)
        if not folder.is_kept(self.api):
            return Outcome(Status.HOST_LOST, "its results folder was removed from outside", log=log)
        return failure(log, exit_code, output.errors)

    def _kill_late(self, container: str, late: threading.Event) -> None:
        late.set()
        self._kill(container)

    def _was_killed(self, container: str) -> bool:
        """Return whether the engine was asked to kill it: a program can also exit with such a code by itself."""
        untyped: Any = self.api
        state = untyped.inspect_container(container)["State"]
        begin, end = (datetime.fromisoformat(state[name]).timestamp() for name in ("StartedAt", "FinishedAt"))
        told = {"container": container, "event": "kill"}
        kills = untyped.events(since=int(begin), until=int(end) + self.told_within, filters=told, decode=True)
        return next(iter(kills), None) is not None

    def _volume(self, data: Path) -> str:
        """Return the volume with a data set, verified once: cells find the data in it on any host of the engine."""
        with self._filling:
            if data not in self._volumes:
                self._volumes[data] = volumes.filled(self.api, data, lambda: self.stopping)
            return self._volumes[data]


def give_up(stream: Any) -> None:
    """Close a container's stream, so that nobody waits for it any longer; may be called from any thread."""
    with suppress(OSError, *UNREACHABLE):
        stream.close()


def refused(error: Exception) -> Outcome:
    """Return the outcome of a cell after an engine error: lost with its host, or failed."""
    if isinstance(error, NotFound):
        return Outcome(Status.HOST_LOST, f"removed from outside: {explain(error)}")
    if isinstance(error, APIError) and not LOST.search(explain(error)):
        return Outcome(Status.FAILED, f"the engine refused: {explain(error)}")
    return Outcome(Status.HOST_LOST, f"the engine stopped answering: {explain(error)}")
