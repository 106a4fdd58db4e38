"""Ways to start a cell within a job: as a plain process, or in a container that needs no daemon."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from orchestrator.cell import contract
from orchestrator.engines.apptainer_command import PROGRAM, Folders, invocation
from orchestrator.engines.process import ProcessEngine, cell_variables, workloads_for
from orchestrator.engines.protocol import Task
from orchestrator.engines.sif_files import SifFiles
from orchestrator.engines.slurm.script import SCRATCH, Inside
from orchestrator.errors import EngineError
from orchestrator.images.architectures import Scan
from orchestrator.images.image import Image
from orchestrator.system.terminal import Say

OF_THE_NODE = (
    *("PATH", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "ROSETTA_CLAIM"),
    *("XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "APPTAINER_TMPDIR"),
)
"""Variables that are set by the node, not by the machine that submits the job."""


OF_THE_JOB = {name: name for name in ("CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")}
"""The job's variables that a process gets: its GPUs, and what modules have set."""


class Images(Protocol):
    """Images, or their stand-ins, that all nodes see at the same path."""

    name: str

    in_containers: bool
    """Whether cells run in containers."""

    @property
    def version(self) -> str:
        """The name and version, for display."""

    @property
    def image_folder(self) -> Path | None:
        """The folder of the images."""

    def unavailable(self, image: Image) -> str | None:
        """Return why it can't serve an image, or None."""

    def machine_code(self, image: Image) -> Scan | None:
        """Return the GPUs that an image has code for."""

    def built_on(self, image: Image) -> str:
        """Return the bases of an image."""

    def prepare(self, images: Sequence[Image], say: Say) -> Mapping[str, str]:
        """Build missing images; returns their digests by tag."""


class Way(Protocol):
    """One way to start cells."""

    @property
    def images(self) -> Images:
        """The source of its images."""

    def inside(self, task: Task, folder: Path) -> Inside:
        """Return the command of a cell whose files are in ``folder``; makes the folder ``results`` there."""

    def digest(self, image: Image) -> str:
        """Return the digest of the image that a cell is started with now; empty if it has none."""


class AsProcess:
    """A plain process in a virtual environment in the cache folder, which the nodes must see too."""

    def __init__(self) -> None:
        self.images = ProcessEngine()

    def inside(self, task: Task, folder: Path) -> Inside:
        """Return the command that runs the harness with the environment's interpreter."""
        variables = cell_variables(task, folder, "")
        given = {name: value for name, value in variables.items() if name not in OF_THE_NODE}
        return Inside(self.images.command(task), given, workloads_for(task.image, folder), OF_THE_JOB)

    def digest(self, image: Image) -> str:
        """Environments have none."""
        return ""


class SifFilesOfNodes(SifFiles):
    """SIF files in the cache folder, which the nodes must see too."""

    name = "apptainer"
    version = "Apptainer of the nodes"


class AsApptainer:
    """An Apptainer container, run as an ordinary user."""

    def __init__(self) -> None:
        self.images = SifFilesOfNodes()

    def inside(self, task: Task, folder: Path) -> Inside:
        """Return the Apptainer command; /tmp is on the node. Raises BuildError if the SIF file is gone."""
        sif = self.images.sif(task.image)
        (folder / "results").mkdir()
        weights = folder / contract.weights_name(task.cell) if task.weights else None
        if task.weights and weights:
            shutil.copyfile(task.weights, weights)
        places = Folders(folder / "results", tmp=Path(SCRATCH), data=task.data, weights=weights)
        on_gpu = task.cell.gpu != "none"
        told = invocation(sif.path, task, places, nv=on_gpu)
        given = {name: value for name, value in told.variables.items() if name not in OF_THE_NODE}
        kept = {"APPTAINERENV_CUDA_VISIBLE_DEVICES": "CUDA_VISIBLE_DEVICES"}
        return Inside(told.argv, given, kept=kept, needs=[PROGRAM])

    def digest(self, image: Image) -> str:
        """The image's id. Raises BuildError if the SIF file is gone."""
        return self.images.sif(image).id


WAYS: Mapping[str, Callable[[], Way]] = {"apptainer": AsApptainer, "process": AsProcess}


def way(name: str | None) -> Way:
    """Return the way to start cells that the named engine uses on a single machine. Raises EngineError."""
    made = WAYS.get(name or "apptainer")
    if made is None:
        remedy = f"With --on slurm use one of these engines: {', '.join(WAYS)}."
        raise EngineError(f"Slurm jobs can't run cells with the engine {name}.", remedy=remedy)
    return made()
