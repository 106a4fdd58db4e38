"""Run cells in somebody else's image: harness and scripts are mounted read-only, with the isolation of any cell."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from docker.errors import APIError, NotFound
from docker.types import Mount

from orchestrator.engines.client import UNREACHABLE, explain
from orchestrator.engines.copying import put
from orchestrator.engines.docker import DockerEngine
from orchestrator.engines.isolation import RESULTS, gpu_request
from orchestrator.engines.own import PATIENCE, own_arguments, own_variables
from orchestrator.engines.protocol import Task
from orchestrator.engines.scripts import run_script
from orchestrator.errors import BuildError, InstallationError
from orchestrator.images import installation
from orchestrator.images.building import build_probe
from orchestrator.images.image import Image
from orchestrator.images.installation import Facts, Installed
from orchestrator.system import library_folders
from orchestrator.system.terminal import Say, one_line, quoted

PLACE = "/workloads"
PYTHONS = ("python", "python3")
MEMORY = 8 * 2**30
"""Bytes of memory for the probe that imports a module."""

SHARED_FILES = (".py", ".json", ".R", ".jl")


class OwnImage(DockerEngine):
    """Runs cells in one image that is not ours and that the user has pulled."""

    def __init__(self, image: str) -> None:
        super().__init__()
        self.source = image
        try:
            self.digest = str(self.api.inspect_image(image)["Id"])
        except NotFound:
            remedy = f"Get it with {quoted('docker', 'pull', image)}."
            raise InstallationError(f"There is no image {image} on this engine.", remedy=remedy) from None
        except UNREACHABLE as error:
            raise InstallationError(f"{image} could not be inspected.", explain(error)) from None

    def unavailable(self, image: Image) -> str | None:
        """None: the image is there already."""
        return None

    def prepare(self, wanted: Sequence[Image], say: Say) -> Mapping[str, str]:
        """Use the one image, whatever the installation in it is called."""
        self.use({image.tag: self.digest for image in wanted})
        return {image.tag: self.digest for image in wanted}

    def installed(self) -> Installed:
        """The interpreter and what it can find; raises InstallationError."""
        return installation.read_installed(self._said(self._python), self.source)

    def facts(self, module: str) -> Facts:
        """Import a module in a container isolated like a cell, and return what it reports about itself."""
        try:
            said = self._said(self._python, module)
        except InstallationError as error:
            return Facts(module=module, error=one_line(error.why)[:300])
        return installation.read_facts(said, module, self.source)

    @cached_property
    def _python(self) -> str:
        """The name of the image's interpreter; raises InstallationError if it has none."""
        last = ""
        for name in PYTHONS:
            try:
                if self._said(name):
                    return name
            except InstallationError as error:
                last = one_line(error.why)
        why = f"Neither {' nor '.join(PYTHONS)} on its PATH runs. {last}".rstrip()
        raise InstallationError(f"{self.source} has no Python.", why)

    def _said(self, python: str, *words: str) -> bytes:
        gpus = gpu_request(None, self._cdi) if self.machine().devices and not self.machine().imagined else None
        try:
            return run_script(self.api, self.digest, installation.SCRIPT, words, python, MEMORY, gpus, PATIENCE)
        except BuildError as error:
            raise InstallationError(f"{self.source} did not report what is installed.", error.why) from None

    def _mounts(self, task: Task) -> list[Mount]:
        return [*super()._mounts(task), Mount(PLACE, self._workloads, type="volume", read_only=True, no_copy=True)]

    def _invocation(self, task: Task) -> dict[str, Any]:
        return {
            "entrypoint": [self._python],
            "command": ["-m", "harness", *own_arguments(task)],
            "working_dir": PLACE,
            "environment": {
                **super()._invocation(task)["environment"],
                **own_variables(),
                "ROSETTA_RESULTS": RESULTS,
            },
        }

    @cached_property
    def _workloads(self) -> str:
        """The named volume with harness and scripts, named by their checksum and filled here."""
        folder = library_folders.PROGRAM.workloads
        files = [path for path in sorted(folder.rglob("*")) if path.suffix in SHARED_FILES and path.is_file()]
        digest = hashlib.sha256()
        for path in files:
            digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
        name = f"rosetta-workloads-{digest.hexdigest()[:12]}"
        self.api.create_volume(name, labels={"rosetta": "workloads"})
        helper = build_probe(self.connection.variables)  # an image of ours in which nothing runs
        host = self.api.create_host_config(mounts=[Mount(PLACE, name, type="volume", no_copy=True)])
        made = self.api.create_container(helper, ["-"], host_config=host, labels={"rosetta": "workloads"})["Id"]
        try:
            for path in files:
                put(self.api, made, PLACE, path, path.relative_to(folder))
        except APIError as error:
            raise InstallationError("The scripts could not be copied to the engine.", explain(error)) from None
        finally:
            self.api.remove_container(made, v=False, force=True)
        return name
