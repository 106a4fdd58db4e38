"""Cells in containers: no network, read-only root, no capabilities, an unprivileged user; results out over the API."""

import re
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from docker.errors import APIError, NotFound
from docker.types import Mount

from orchestrator.cell import contract
from orchestrator.cell.contract import Outcome, Status
from orchestrator.engines import code_scan, kernel_cache, probe, results_volume, volumes
from orchestrator.engines.client import UNREACHABLE, Connection, explain
from orchestrator.engines.copying import archive_from, put
from orchestrator.engines.isolation import RESULTS, USER, gpu_request, isolation, odd_volumes
from orchestrator.engines.output import Output, failure, success
from orchestrator.engines.protocol import OnEvent, OnThisHost, Task
from orchestrator.errors import BuildError, EngineError, ResultError
from orchestrator.images.architectures import Scan
from orchestrator.images.building import build_images, built_on
from orchestrator.images.image import Image, every_image
from orchestrator.system.host import Host, pretended_host
from orchestrator.system.streams import Limited
from orchestrator.system.terminal import Say

CLAIM, GPU = "rosetta.claim", "rosetta.gpu."
"""Labels of a cell's container: what it runs for, and one for each GPU that it was given."""

GRACE = 60.0
"""Seconds after its deadline in which the engine must have ended a cell; one that hangs is given up as lost."""

KILLED = {137: "SIGKILL", 143: "SIGTERM"}
"""Exit codes of a cell that somebody may have ended, who is neither its deadline nor the kernel short of memory."""

LOST = re.compile("containerd|transport|context canceled|shutting down|connection refused|timeout|i/o error", re.I)
"""What an engine says that is about to end or has just been started again; all else that it says, it means."""


Supply = Callable[[Connection, Sequence[Image], Say], Mapping[str, str]]
"""Gets images onto an engine, and gives the id of each by its tag; what fails is a RosettaError."""


def built(connection: Connection, wanted: Sequence[Image], say: Say) -> Mapping[str, str]:
    """Build the images that are missing or out of date, and look what GPUs those for CUDA have code for."""
    ids = build_images(wanted, progress=say, variables=connection.variables)
    return ids | code_scan.look_into(connection, wanted, say)


class DockerEngine(OnThisHost):
    """A Docker engine, local or the one that ``DOCKER_HOST`` names; its images come by ``supply``."""

    name = "docker"

    def __init__(self, supply: Supply = built) -> None:
        self.connection = Connection()
        self.api = self.connection.api
        self._supply = supply
        self.host = str(self.api.info()["Name"])
        self._running: set[str] = set()
        self.stopping = False
        self._lock, self._filling = threading.Lock(), threading.Lock()
        self._volumes: dict[Path, str] = {}
        self._kernels: dict[str, str] = {}
        self._digests: dict[str, str] = {}
        self._cdi = False

    @property
    def version(self) -> str:
        """Of the engine and of its interface."""
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
        return host

    @cached_property
    def _built_on(self) -> Mapping[str, str]:
        """Of all images at once: a question for each would take longer than a plan."""
        return built_on(every_image(), self.connection.variables)

    def machine(self) -> Host:
        """What the engine's machine has, asked once."""
        return pretended_host() or self._machine

    def unavailable(self, image: Image) -> str | None:
        """Every image can be built where Docker is."""
        return None

    def machine_code(self, image: Image) -> Scan | None:
        """What was found when the image was built; None if it is not here."""
        return code_scan.found_in(image, self.connection.variables)

    def built_on(self, image: Image) -> str:
        """Its bases as this engine has them."""
        return self._built_on.get(image.tag, "")

    def prepare(self, wanted: Sequence[Image], say: Say) -> Mapping[str, str]:
        """Get the images that are missing or out of date."""
        self.use(self._supply(self.connection, wanted, say))
        return self._digests

    def use(self, digests: Mapping[str, str]) -> None:
        """Run these images from now on: an id for each tag."""
        self._digests |= digests

    def run(self, task: Task, on_event: OnEvent) -> Outcome:
        """Create, start, follow, read the result, remove."""
        started, clock = datetime.now(UTC), time.perf_counter()
        try:
            self.connection.restore()
            with self._container(task) as container:
                outcome = self._follow(container, task, on_event)
        except ResultError as error:
            outcome = Outcome(Status.FAILED, str(error))
        except (EngineError, BuildError) as error:
            outcome = Outcome(Status.HOST_LOST, str(error))
        except UNREACHABLE as error:
            outcome = refused(error)
        return replace(
            outcome,
            image_digest=self._digests.get(task.image.tag, ""),
            started=started,
            wall_seconds=time.perf_counter() - clock,
        )

    def cells(self) -> Mapping[str, str]:
        """The claims of all cells' containers, also of those that are only made or have ended, by container."""
        try:
            found = self.api.containers(all=True, filters={"label": CLAIM})
        except UNREACHABLE as error:
            raise EngineError("The Docker engine does not answer.", explain(error), "Start it again.") from None
        return {container["Id"]: container["Labels"][CLAIM] for container in found}

    def remove(self, handle: str) -> None:
        """Remove a container whatever it does; one that is gone, or that the engine removes already, is no error."""
        with suppress(*UNREACHABLE):
            self.api.remove_container(handle, v=True, force=True)

    def stop(self) -> None:
        """Kill the containers that this process has started."""
        with self._lock:
            self.stopping = True
            running = list(self._running)
        for container in running:
            self._kill(container)

    def _kill(self, container: str) -> None:
        """End a container; one that does not run is left as it is."""
        with suppress(*UNREACHABLE):
            self.api.kill(container)

    def _id(self, image: Image) -> str:
        """What was prepared, not what has its tag by now: somebody may build another meanwhile."""
        return self._digests.get(image.tag, image.tag)

    @contextmanager
    def _container(self, task: Task) -> Iterator[str]:
        """A created container, removed at the end whatever happens, with its results folder."""
        self._remove_orphans(task)
        if reason := odd_volumes(self.api.inspect_image(self._id(task.image))["Config"]):
            raise ResultError(f"The image {reason}.")
        owned = {"rosetta.run": task.run, CLAIM: task.claim}
        with results_volume.held(self.api, {"rosetta": "keeper", **owned}) as keeper:
            container = self._created(task, keeper, {"rosetta": "cell", **owned})
            with self._lock:
                self._running.add(container)
            try:
                if task.weights:
                    put(self.api, container, "/weights", task.weights, Path(contract.weights_name(task.cell)))
                yield container
            finally:
                with self._lock:
                    self._running.discard(container)
                self.remove(container)

    def _created(self, task: Task, keeper: str, labels: Mapping[str, str]) -> str:
        """The container of a cell, with the results folder that the keeper holds."""
        host = self.api.create_host_config(
            **isolation(task.memory, task.cell.n_gpus),
            volumes_from=[keeper],
            **(gpu_request(task.gpus, self._cdi) if task.gpus else {}),
            cpuset_cpus=",".join(map(str, task.cores)) or None,
            mounts=self._mounts(task),
        )
        made = self.api.create_container(
            self._id(task.image),
            **self._invocation(task),
            user=USER,
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
        """What a cell sees beside its image: its data set and, on a GPU, the kernels that were compiled for it."""
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
        """How a container of ours is told what to run."""
        kernels = kernel_cache.VARIABLES if task.gpus else {}
        return {"command": contract.arguments(task.cell), "environment": dict(kernels)}

    def _remove_orphans(self, task: Task) -> None:
        """Remove what an orchestrator that is dead has left of this cell, or on its GPUs: we hold the locks of both."""
        if not task.claim:
            return
        gpus = {f"{GPU}{gpu}" for gpu in task.gpus}
        for container in self.api.containers(all=True, filters={"label": CLAIM}):
            if container["Labels"][CLAIM] == task.claim or gpus & container["Labels"].keys():
                self.remove(container["Id"])

    def _follow(self, container: str, task: Task, on_event: OnEvent) -> Outcome:
        """Start the container, hand on its events until it ends or its deadline has passed, judge what it left."""
        output = Output(on_event)
        stream: Any = self.api.attach(container, stdout=True, stderr=True, stream=True)
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
            for chunk in stream:
                output.feed(chunk)
            # Its output has ended, so this takes no time; without a timeout of ours it would have none at all.
            exit_code = int(self.api.wait(container, timeout=self.api.timeout)["StatusCode"])
        finally:
            deadline.cancel()
            silence.cancel()
            stream._response.close()  # the SDK has no name for it, and leaves it to the garbage collector
        log = output.close()
        if late.is_set():
            return Outcome(Status.TIMEOUT, f"not finished after {task.deadline:,.0f} s", log=log)
        try:
            raw = self._result(container)
            if raw is not None:
                return success(contract.parse(raw, f"the result of {task.cell.id}"), log)
        except ResultError as error:
            return Outcome(Status.FAILED, str(error), log=log)
        if exit_code != 0 and self.api.inspect_container(container)["State"].get("OOMKilled"):
            return Outcome(Status.OOM, "killed by the kernel: out of memory", log=log)
        if exit_code in KILLED and self._was_killed(container):
            return Outcome(Status.HOST_LOST, f"ended from outside by {KILLED[exit_code]}", log=log)
        return failure(log, exit_code)

    def _kill_late(self, container: str, late: threading.Event) -> None:
        late.set()
        self._kill(container)

    def _was_killed(self, container: str) -> bool:
        """Whether the engine was asked to send a signal: a program can also end itself with such an exit code."""
        untyped: Any = self.api
        state = untyped.inspect_container(container)["State"]
        begin, end = (datetime.fromisoformat(state[name]).timestamp() for name in ("StartedAt", "FinishedAt"))
        told = {"container": container, "event": "kill"}
        kills = untyped.events(since=int(begin), until=int(end) + 1, filters=told, decode=True)  # a second at most
        return next(iter(kills), None) is not None

    def _result(self, container: str) -> bytes | None:
        """The one JSON document in /results, or None if there is none."""
        with archive_from(self.api, container, RESULTS) as chunks:
            return document_of(chunks)

    def _volume(self, data: Path) -> str:
        """The volume with a data set, looked at once: cells on any host of the engine find the data in it."""
        with self._filling:
            if data not in self._volumes:
                self._volumes[data] = volumes.filled(self.api, data)
            return self._volumes[data]


def give_up(stream: Any) -> None:
    """Close the stream of a container, so that nobody waits any longer for what an engine says; from any thread."""
    with suppress(OSError, *UNREACHABLE):
        stream.close()


def refused(error: Exception) -> Outcome:
    """The outcome of a cell for which the engine did not do what it was asked to: lost with its host, or failed."""
    if isinstance(error, NotFound):
        return Outcome(Status.HOST_LOST, f"removed from outside: {explain(error)}")
    if isinstance(error, APIError) and not LOST.search(explain(error)):
        return Outcome(Status.FAILED, f"the engine refused: {explain(error)}")
    return Outcome(Status.HOST_LOST, f"the engine stopped answering: {explain(error)}")


def document_of(stream: Iterator[bytes]) -> bytes | None:
    """The one JSON document in a tar stream of /results, read with limits; None if there is none.

    Raises ResultError for links, special files, a second document, or more bytes than a result may have.
    """
    found: bytes | None = None
    refusal = ResultError("The container left more in its results folder than a result may have.")
    reader = Limited(stream, contract.LARGEST_DOCUMENT + 2**20, refusal)
    try:
        with tarfile.open(fileobj=reader, mode="r|") as archive:
            for member in archive:
                name = member.name.removeprefix("results/")
                if member.isdir() or name.startswith(".") or not name.endswith(".json"):
                    continue
                if not member.isfile() or "/" in name or found is not None:
                    raise ResultError(
                        f"The results folder of the container holds {member.name!r}, which is no plain single document."
                    )
                content = archive.extractfile(member)
                found = content.read(contract.LARGEST_DOCUMENT + 1) if content else None
    except tarfile.TarError as error:
        raise ResultError(f"The results of the container can't be read: {error}") from None
    return found
