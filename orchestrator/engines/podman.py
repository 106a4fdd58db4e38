"""Podman, also rootless, over Docker's API at a socket given or of our service; builds use its own command."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from docker.errors import NotFound

from orchestrator.engines import podman_images, probe
from orchestrator.engines.client import UNREACHABLE, Connection, explain, refuse_malformed
from orchestrator.engines.docker import CLAIM, DockerEngine
from orchestrator.engines.isolation import USER, VENDOR
from orchestrator.engines.podman_service import PodmanService, of_this_machine
from orchestrator.engines.protocol import Task
from orchestrator.engines.results_volume import NAMES, ResultsFolders, named
from orchestrator.errors import EngineError
from orchestrator.images.architectures import Scan, scan_in
from orchestrator.images.image import Image
from orchestrator.system.addresses import printable
from orchestrator.system.gpus import version_of
from orchestrator.system.host import Host

CONTROLLERS: Mapping[str, tuple[str, ...]] = {
    "memory": ("mem_limit", "memswap_limit"),
    "pids": ("pids_limit",),
    "cpuset": ("cpuset_cpus",),
}
"""The options of ``isolation`` that need each cgroup controller; a rootless user has only those delegated to him."""

CELLS_USER = int(USER.partition(":")[0])
"""The user of cells: a container must have more users than his number."""

DEVICE_LISTS = (Path("/etc/cdi"), Path("/var/run/cdi"))
"""Folders in which engines look for device lists (CDI)."""

PASSES_CARDS = (5, 4)
"""The oldest version seen to give a container cards that are asked for over Docker's API; 4.9 and 5.0 pass over it."""

OPENED = ("/run", "/var/tmp")
"""Paths that Podman makes writable without a limit in a container with a read-only root, unless mounted over."""

MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Errors of parsing an answer of another form than expected."""


class PodmanEngine(DockerEngine):
    """A Podman engine: that of the ``service``, or the one that ``CONTAINER_HOST`` names."""

    name = "podman"
    built_by_docker = False
    told_within = 5  # it reports a kill only when that is over

    def __init__(self, service: PodmanService | None) -> None:
        super().__init__(podman_images.supplied, Connection(engine_variables(service)))
        self._cdi = True
        self._folders = ResultsFolders(self.api, named)
        if self._about.rootless and self._about.ids <= CELLS_USER:
            remedy = "Ask for a range of 65,536 in /etc/subuid and /etc/subgid, then 'podman system migrate'."
            raise EngineError("Podman has too few subordinate ids of yours to run a cell.", remedy=remedy)

    def _host_name(self) -> str:
        return self._about.host

    @property
    def version(self) -> str:
        """The engine's version, and whether it is rootless."""
        return f"Podman {self._about.version}{', rootless' if self._about.rootless else ''}"

    @cached_property
    def _about(self) -> "About":
        """What Podman says of itself: asked once, in its own API, as Docker's lacks part of it."""
        untyped: Any = self.api
        named = os.environ.get("CONTAINER_HOST")
        where = printable(named or self.connection.variables["DOCKER_HOST"])
        remedy = "Set CONTAINER_HOST to Podman's address, or unset it." if named else "Try 'podman info'."
        try:
            url = f"{untyped.base_url}/v4.0.0/libpod/info"
            response = untyped.get(url, timeout=untyped.timeout, allow_redirects=False)
        except (ValueError, *UNREACHABLE) as error:  # a ValueError: an address that nobody can have
            raise EngineError(f"No Podman engine answers at {where}.", explain(error), "Start it again.") from None
        try:
            untyped._raise_for_status(response)  # as the SDK does, so that a refusal has its reason
            return about(response.json())
        except (NotFound, *MALFORMED) as error:
            why = "" if isinstance(error, NotFound) else "Its answer has another form than Podman's."
            raise EngineError(f"What answers at {where} is not Podman.", why, remedy) from None
        except UNREACHABLE as error:
            raise EngineError(f"Podman at {where} reports an error.", explain(error), "Try 'podman info'.") from None

    @cached_property
    def _lacking(self) -> tuple[str, ...]:
        """The cgroup controllers that are not delegated to this user."""
        there = self._about.controllers if self._about.rootless else CONTROLLERS
        return tuple(name for name in CONTROLLERS if name not in there)

    @property
    def limits(self) -> str:  # type: ignore[override]
        """How the cell's resource limits are enforced, as recorded in rows."""
        ours = "not held" if os.environ.get("CONTAINER_HOST") else ""
        instead = {"cpuset": "not held", "memory": ours or "that of the machine", "pids": ours or "limit of the user"}
        names = {"cpuset": "cores", "memory": "memory", "pids": "processes"}
        held = {names[one]: instead[one] if one in self._lacking else "control group" for one in names}
        return "; ".join(f"{what}: {how}" for what, how in held.items())

    @cached_property
    def _machine(self) -> Host:
        if not self.connection.is_local:
            return Host(lacks="only a Podman of this machine can be asked for GPUs")
        if version_of(self._about.version) < PASSES_CARDS:
            return Host(lacks=f"Podman {self._about.version} ignores requests for GPUs; it takes 5.4 or newer")
        host = probe.of_this_process()
        unnamed = [device.uuid for device in host.devices if f"{VENDOR}{device.uuid}" not in listed_devices()]
        return Host(lacks="the engine's device list (CDI) does not name its GPUs by UUID") if unnamed else host

    def built_on(self, image: Image) -> str:
        """Return the bases of an image as this engine has them; one query for each, which Podman answers in 2 ms."""
        return podman_images.built_on(self.api, image)

    def machine_code(self, image: Image) -> Scan | None:
        """Return the scan in the label of a loaded archive; images that Podman builds are not scanned."""
        there = podman_images.inspected(self.api, [image.tag]).get(image.tag)
        return scan_in(there) if there else None

    def cells(self) -> Mapping[str, str]:
        """Return the claims of containers as with Docker, and of the results volumes, which have names with Podman."""
        return {**super().cells(), **self._results_volumes()}

    def _results_volumes(self) -> dict[str, str]:
        try:
            found = self.api.volumes(filters={"label": CLAIM})["Volumes"] or []
        except UNREACHABLE as error:
            raise EngineError("The Podman engine does not answer.", explain(error), "Start it again.") from None
        return {volume["Name"]: volume["Labels"][CLAIM] for volume in found}

    def remove(self, handle: str) -> None:
        """Remove a container as with Docker, or a results volume."""
        if not handle.startswith(NAMES):
            return super().remove(handle)
        with suppress(*UNREACHABLE):
            self.api.remove_volume(handle, force=True)

    def _denied(self, task: Task) -> dict[str, Any]:
        """Drop the options whose controllers are not delegated; our service's ulimits apply instead."""
        lacking = {option for controller in self._lacking for option in CONTROLLERS[controller]}
        denied = {name: value for name, value in super()._denied(task).items() if name not in lacking}
        return {**denied, "tmpfs": {**denied["tmpfs"], **dict.fromkeys(OPENED, "size=1m,mode=755,notmpcopyup")}}

    def _remove_orphans(self, task: Task) -> None:
        """Remove orphaned containers as with Docker, then the cell's own results volumes: a run's are that run's."""
        super()._remove_orphans(task)
        if not task.claim or task.owner:
            return
        for volume, claim in self._results_volumes().items():
            if claim == task.claim:
                self.remove(volume)


@dataclass(frozen=True)
class About:
    """A Podman: its ``host``, the cgroup ``controllers`` that it may use, and how many ``ids`` a container can have."""

    host: str
    version: str
    rootless: bool
    controllers: tuple[str, ...]
    ids: int


def about(told: Mapping[str, Any]) -> About:
    """Parse Podman's information; raises one of MALFORMED if it is something else."""
    host = told["host"]
    maps = (host.get("idMappings") or {}).values()
    ids = min((sum(int(part["size"]) for part in ranges or ()) for ranges in maps), default=CELLS_USER + 1)
    controllers = tuple(map(str, host["cgroupControllers"] or ()))
    names = str(host["hostname"] or "unknown"), str(told["version"]["Version"])
    return About(*names, rootless=bool(host["security"]["rootless"]), controllers=controllers, ids=ids)


def engine_variables(service: PodmanService | None) -> dict[str, str]:
    """Return this process's environment with DOCKER_HOST set to the Podman to use; raises EngineError.

    That is our ``service``, else the one that ``CONTAINER_HOST`` names.
    """
    rest = {name: value for name, value in os.environ.items() if not name.startswith("DOCKER_")}
    if service:
        return {**of_this_machine(rest), "DOCKER_HOST": f"unix://{service.opened()}"}
    host = os.environ["CONTAINER_HOST"]
    refuse_malformed(host, "CONTAINER_HOST")
    return {**rest, "DOCKER_HOST": host}


def listed_devices() -> set[str]:
    """Return the full names of all devices in this machine's CDI lists; unreadable files count as empty."""
    names = set()
    for path in (path for folder in DEVICE_LISTS for path in sorted(folder.glob("*.[jy][sa]*"))):
        with suppress(OSError, yaml.YAMLError, TypeError, KeyError, AttributeError):
            told = yaml.safe_load(path.read_text(encoding="utf-8"))
            names |= {f"{told['kind']}={device['name']}" for device in told["devices"]}
    return names
