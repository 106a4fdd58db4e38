"""Cells → verdicts: which are ready, done or incompatible, and the content hash that names each result."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from orchestrator.cell.cell import Cell
from orchestrator.cell.parameters import dataset_of, parameters
from orchestrator.cell.scripts import script_of
from orchestrator.errors import GpuError, RosettaError, SelectionError
from orchestrator.images.architectures import Answer, Scan, Support, runs_on, support_of_list, worst
from orchestrator.images.definitions import library_index
from orchestrator.images.image import Image, image_for
from orchestrator.plan.keys import data_digest, key
from orchestrator.results.paths import ResultsFolder
from orchestrator.system import gpus
from orchestrator.system.gpus import Capability
from orchestrator.system.host import Host, machine_reason
from orchestrator.system.library_folders import remembered
from orchestrator.system.terminal import command_line
from orchestrator.system.words import counted

UNVERIFIED = "unverified: "
"""Prefix of the reason of a cell that is not run only because nobody has seen it work."""
UNSEEN_VARIANTS: Mapping[str, str] = {
    "pretrained": "written without access to the library's hub; tested only with a file of the same format",
}
"""Variants that nobody has seen work, and why."""

UNTOLD = "the driver does not report its compute capability: not checked"
"""The note about a card of which nobody knows what runs on it."""


class Place(Protocol):
    """Where cells would run, as far as a plan asks."""

    name: str

    def __hash__(self) -> int:
        """Reasons are remembered per place."""

    def machine(self) -> Host:
        """Return the GPUs and driver of the place."""

    def unavailable(self, image: Image) -> str | None:
        """Why an image can't be had there, or None."""

    def machine_code(self, image: Image) -> Scan | None:
        """Return the GPUs that the image has code for, if it is there and was scanned."""

    def built_on(self, image: Image) -> str:
        """The bases of the image, by digest or as what stands in for them; empty where there are none."""


class Verdict(StrEnum):
    """What is to be done with a cell."""

    READY = "ready"
    DONE = "done"
    INCOMPATIBLE = "incompatible"


@dataclass(frozen=True)
class Planned:
    """A cell with its verdict. ``key`` and ``image`` are set unless the cell is incompatible.

    ``note`` is a remark on one that is not; ``lacks_gpu`` says that only this machine's GPUs are in the way.
    ``base`` is what its image is built on, ``digest`` that of an image of somebody else's, with a script of its own.
    """

    cell: Cell
    verdict: Verdict
    reason: str = ""
    image: Image | None = None
    key: str = ""
    note: str = ""
    lacks_gpu: bool = False
    base: str = ""
    digest: str = ""

    @property
    def columns(self) -> dict[str, str | None]:
        """The columns of a row about the image."""
        assert self.image is not None
        return {**self.image.columns, "base": self.base or None}

    def as_json(self) -> dict[str, Any]:
        """The form of ``rosetta plan --json``."""
        return {
            "id": self.cell.id,
            "verdict": str(self.verdict),
            "reason": self.reason,
            "note": self.note,
            **vars(self.cell),
            "image": self.image.tag if self.image else None,
            "base": self.base or None,
            "key": self.key or None,
        }


def plan_cells(
    cells: Sequence[Cell], engine: Place, results: Path, host: Host | None = None, unverified: bool = False
) -> list[Planned]:
    """A verdict for every cell, in order; what nobody has seen work and needs no GPU is ready only if ``unverified``.

    A cell is done when ``results`` holds a file under its key, whatever the status in it.
    """
    if host is None:
        needs_gpu = any(cell.platform != "cpu" for cell in cells)
        host = engine.machine() if needs_gpu else Host()
    folder = ResultsFolder(results)
    there = {entry.name for entry in folder.cells.iterdir()} if folder.cells.is_dir() else set()
    return [verdict(cell, engine, folder, there, host, unverified) for cell in cells]


def images_of(cells: Sequence[Cell], engine: Place, unverified: bool = False) -> list[Image]:
    """The images that cells need, whatever GPUs this machine has: those that run them may be others.

    Raises SelectionError if there is none, with the reasons.
    """
    pairs = [(cell, image_for(cell.library, cell.platform)) for cell in cells]
    reasons = [lasting_reason(cell, image, engine, Host(), unverified) for cell, image in pairs]
    wanted = [image for (_, image), reason in zip(pairs, reasons, strict=True) if image and reason is None]
    if not wanted:
        raise hopeless(NO_IMAGE, filter(None, reasons))
    return list(dict.fromkeys(wanted))


def images_that_exist(cells: Sequence[Cell]) -> list[Image]:
    """The images that are defined for cells, whether or not they can be built or run; raises SelectionError if none."""
    images = [image_for(cell.library, cell.platform) for cell in cells]
    if not any(images):
        raise hopeless(NO_IMAGE, filter(None, (library_reason(cell.library, cell.platform) for cell in cells)))
    return list(dict.fromkeys(filter(None, images)))


NO_IMAGE = "No selected cell has an image."


def hopeless(what: str, reasons: Iterable[str], kind: type[RosettaError] = SelectionError) -> RosettaError:
    """Return the error for a selection of which nothing is left, with its first few reasons."""
    distinct = sorted(set(reasons))
    shown = "; ".join(distinct[:3]) + ("; …" if len(distinct) > 3 else "")
    remedy = "Run 'rosetta plan --all' to see the reason for every cell."
    if any(reason.startswith(UNVERIFIED) for reason in distinct):
        remedy = "Use --unverified to include images and variants that nobody has verified yet. " + remedy
    if kind is GpuError:
        remedy = f"Run 'rosetta doctor' to see what is missing and how to fix it. {remedy}"
    return kind(what, f"Reasons: {shown}.", remedy)


def verdict(
    cell: Cell, engine: Place, folder: ResultsFolder, there: set[str], host: Host, unverified: bool = False
) -> Planned:
    """One cell's verdict; ``there`` are the keys that have a folder of their own."""
    image = image_for(cell.library, cell.platform)
    lasting = lasting_reason(cell, image, engine, host, unverified)
    lacking = None if lasting else host_reason(cell, host)
    reason = lasting or lacking or data_reason(cell)
    if reason is not None or image is None:
        return Planned(cell, Verdict.INCOMPATIBLE, reason or "", lacks_gpu=lacking is not None)
    base = built_on(engine, image)
    name = key(cell, image, engine.name, host.pretended and cell.gpu != "none", base)
    done = name in there and folder.result(name, cell.id).is_file()
    note = notes_of(cell, image, engine, host)
    return Planned(cell, Verdict.DONE if done else Verdict.READY, "", image, name, note, base=base)


def lasting_reason(cell: Cell, image: Image | None, engine: Place, host: Host, unverified: bool = False) -> str | None:
    """The most lasting reason why a cell can't run: hardware, library, not written yet, never seen to work, engine.

    None if it is up to this machine's GPUs alone.
    """
    return (
        axes_reason(cell.platform, cell.gpu, cell.precision)
        or library_reason(cell.library, cell.platform)
        or precision_reason(cell.library, cell.precision)
        or (card_reason(cell, image, engine, host) if image and cell.gpu != "none" else None)
        or (None if cell.n_gpus == 1 else parallel_reason(cell.workload))
        or length_reason(cell)
        or script_reason(cell.library, cell.workload, cell.variant)
        or (lock_reason(image) if image else None)
        or (unseen(cell, image) if cell.gpu == "none" and not unverified else None)
        or (engine_reason(engine, image) if image else None)
    )


axes_reason = remembered(gpus.axes_reason)


def card_reason(cell: Cell, image: Image, engine: Place, host: Host) -> str | None:
    """Why no card of the cell's model can run the image; None if one can, or if nobody knows such a card."""
    capability = host.capability_of(cell.gpu)
    if capability is None:
        return None
    answer = support(image, engine, capability)
    return gpus.precision_reason(cell.gpu, capability, cell.precision) or (
        answer.reason if answer.support is Support.MISSING else None
    )


@remembered
def support(image: Image, engine: Place, capability: Capability) -> Answer:
    """Return how an image supports a GPU: by what was found in it, and by what its YAML or CUDA version declares.

    What its YAML declares counts besides what was found: some compile their kernels while they run, and their compiler
    knows no newer card. CUDA's own libraries decide if nothing else is known.
    """
    scan, spec = engine.machine_code(image), image.spec
    name = f"{image.framework.framework} {spec.version}"
    found = runs_on(scan, capability) if scan else Answer(Support.UNKNOWN)
    if spec.architectures or spec.ptx:
        declared = support_of_list(name, spec.architectures, spec.ptx, capability)
        return declared if found.support is Support.UNKNOWN else worst(found, declared)
    if found.support is not Support.UNKNOWN:
        return found
    return support_of_cuda(image.platform, capability)


def support_of_cuda(platform: str, capability: Capability) -> Answer:
    """Return how the libraries of a platform's CUDA version support a GPU."""
    toolkit = gpus.CUDA[platform]
    return support_of_list(f"CUDA {gpus.text(toolkit.version)}", toolkit.architectures, (), capability)


def unseen(cell: Cell, image: Image | None) -> str | None:
    """Return why a cell's image or variant counts as unverified; None if somebody has seen it work."""
    image_unseen = image.spec.unverified if image else ""
    said = image_unseen or UNSEEN_VARIANTS.get(cell.variant, "")
    return UNVERIFIED + said if said else None


def notes_of(cell: Cell, image: Image, engine: Place, host: Host) -> str:
    """Return what to know about a ready cell: that it is unverified or unchecked, or compiles before it runs."""
    capability = host.capability_of(cell.gpu) if cell.gpu != "none" else None
    answer = support(image, engine, capability) if capability else None
    compiling = answer.reason if answer and answer.support is not Support.NATIVE else ""
    unchecked = UNTOLD if capability is None and cell.gpu != "none" else ""
    return "; ".join(filter(None, [unseen(cell, image), compiling, unchecked]))


def host_reason(cell: Cell, host: Host) -> str | None:
    """Why this machine can't run it; the host decides only after everything else fits."""
    return machine_reason(cell.platform, cell.gpu, host, cell.n_gpus)


def data_reason(cell: Cell) -> str | None:
    """Why a cell's data is not fetched automatically: sets of many gigabytes are fetched only on request."""
    dataset = dataset_of(cell)
    absent = dataset is not None and not cell.parity and not data_digest(dataset)
    return f"its data is missing: run 'rosetta data fetch {dataset}'" if absent else None


def parallel_reason(workload: str) -> str | None:
    """Why several GPUs can't share a workload."""
    return None if parameters().get(workload, {}).get("parallel") else f"{workload} is measured on one GPU"


def length_reason(cell: Cell) -> str | None:
    """Why a cell has too few samples: less than a batch, or where the set is shared less than one for each worker."""
    known = parameters().get(cell.workload, {})
    least = cell.n_gpus if known.get("parallel") else known.get("batch_size", 0)
    if cell.samples is None or cell.samples >= least:
        return None
    return f"{counted(cell.samples, 'sample')}: {cell.workload} takes at least {least:,}"


@remembered
def engine_reason(engine: Place, image: Image) -> str | None:
    """Why the engine can't serve an image."""
    return engine.unavailable(image)


@remembered
def built_on(engine: Place, image: Image) -> str:
    """The bases of an image where the engine builds it."""
    return engine.built_on(image)


@remembered
def library_reason(library: str, platform: str) -> str | None:
    """Why a library has no image for a platform."""
    framework = library_index().get(library)
    if framework is None:
        return f"not implemented yet: no image for {library}"
    if platform in framework.unavailable:
        return framework.unavailable[platform]
    if platform not in framework.platforms:
        return f"not built for {platform}: images/{framework.framework}.yaml does not mention it"
    return None


@remembered
def precision_reason(library: str, precision: str) -> str | None:
    """Why the scripts of a library can't run in a precision."""
    known = library_index()[library].libraries[library].precisions
    return None if precision in known else f"{library} runs in {', '.join(known)} only"


@remembered
def script_reason(library: str, workload: str, variant: str) -> str | None:
    """Why a library has no script for a workload."""
    path = script_of(library, workload, variant)
    return None if path.is_file() else f"not implemented yet: no workloads/{workload}/{path.name}"


def lock_reason(image: Image) -> str | None:
    """Why an image can't be built yet: one of its locks was never made."""
    missing = next((path for path in image.locks if not path.is_file()), None)
    if missing is None:
        return None
    name, folder = image.framework.framework, image.framework.folder.path
    if image.framework.is_own:
        return f"{missing} is missing: {command_line('rosetta', 'lock', name, '--with', folder)}"
    return f"images/locks/{missing.name} is missing: {command_line('rosetta', 'lock', name)}"
