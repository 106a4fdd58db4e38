"""Cells → verdicts: which are ready, done or incompatible, and the content hash that names each result."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from orchestrator.cell.cell import Cell
from orchestrator.cell.parameters import dataset_of, parameters
from orchestrator.cell.scripts import script_of
from orchestrator.errors import RosettaError, SelectionError
from orchestrator.images.definitions import library_index
from orchestrator.images.image import Image, image_for
from orchestrator.plan.keys import data_digest, key
from orchestrator.results.paths import result_path
from orchestrator.system import gpus
from orchestrator.system.host import Host, machine_reason
from orchestrator.system.library_folders import remembered

UNVERIFIED = "unverified: "
"""How the reason begins of a cell that is not run only because nobody has seen it work."""
UNSEEN_VARIANTS: Mapping[str, str] = {
    "pretrained": "the library's hub was out of reach when it was written; seen to load a file of the same format",
}
"""Variants that nobody has seen work, and why."""


class Place(Protocol):
    """Where cells would run, as far as a plan asks."""

    name: str

    def __hash__(self) -> int:
        """Reasons are remembered per place."""

    def machine(self) -> Host:
        """What GPUs and driver are there."""

    def unavailable(self, image: Image) -> str | None:
        """Why an image can't be had there, or None."""


class Verdict(StrEnum):
    """What is to be done with a cell."""

    READY = "ready"
    DONE = "done"
    INCOMPATIBLE = "incompatible"


@dataclass(frozen=True)
class Planned:
    """A cell with its verdict. ``key`` and ``image`` are set unless the cell is incompatible."""

    cell: Cell
    verdict: Verdict
    reason: str = ""
    image: Image | None = None
    key: str = ""

    def as_json(self) -> dict[str, Any]:
        """The form of ``rosetta plan --json``."""
        return {
            "id": self.cell.id,
            "verdict": str(self.verdict),
            "reason": self.reason,
            **vars(self.cell),
            "image": self.image.tag if self.image else None,
            "key": self.key or None,
        }


def plan_cells(
    cells: Sequence[Cell], engine: Place, results: Path, host: Host | None = None, unverified: bool = False
) -> list[Planned]:
    """A verdict for every cell, in their order; those that nobody has seen work are ready only if ``unverified``.

    A cell is done when ``results`` holds a file under its key, whatever the status in it.
    """
    if host is None:
        needs_gpu = any(cell.platform != "cpu" for cell in cells)
        host = engine.machine() if needs_gpu else Host()
    folder = results / "cells"
    there = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    return [verdict(cell, engine, folder, there, host, unverified) for cell in cells]


def images_of(cells: Sequence[Cell], engine: Place, unverified: bool = False) -> list[Image]:
    """The images that cells need, whatever GPUs this machine has: those that run them may be others.

    Raises SelectionError if there is none, with the reasons.
    """
    pairs = [(cell, image_for(cell.library, cell.platform)) for cell in cells]
    reasons = [lasting_reason(cell, image, engine, unverified) for cell, image in pairs]
    wanted = [image for (_, image), reason in zip(pairs, reasons, strict=True) if image and reason is None]
    if not wanted:
        raise hopeless(f"None of the {len(cells)} selected cells has an image.", filter(None, reasons))
    return list(dict.fromkeys(wanted))


def hopeless(what: str, reasons: Iterable[str], kind: type[RosettaError] = SelectionError) -> RosettaError:
    """The error for a selection of which nothing is left, with the first few of its reasons."""
    distinct = sorted(set(reasons))
    shown = "; ".join(distinct[:3]) + ("; …" if len(distinct) > 3 else "")
    remedy = "'rosetta plan' prints every cell with its reason."
    if any(reason.startswith(UNVERIFIED) for reason in distinct):
        remedy = "--unverified takes also what nobody has seen work. " + remedy
    return kind(what, f"Reasons: {shown}.", remedy)


def verdict(cell: Cell, engine: Place, folder: Path, there: set[str], host: Host, unverified: bool = False) -> Planned:
    """One cell's verdict; ``there`` are the keys that have a folder of their own in ``folder``."""
    image = image_for(cell.library, cell.platform)
    reason = lasting_reason(cell, image, engine, unverified) or host_reason(cell, host) or data_reason(cell)
    if reason is not None or image is None:
        return Planned(cell, Verdict.INCOMPATIBLE, reason or "")
    name = key(cell, image, engine.name, host.pretended and cell.gpu != "none")
    done = name in there and result_path(folder, name, cell.id).is_file()
    return Planned(cell, Verdict.DONE if done else Verdict.READY, "", image, name)


def lasting_reason(cell: Cell, image: Image | None, engine: Place, unverified: bool = False) -> str | None:
    """The most lasting reason why a cell can't run: hardware, library, not written yet, never seen to work, engine.

    None if it is up to this machine's GPUs alone.
    """
    return (
        hardware_reason(cell.platform, cell.gpu, cell.precision)
        or library_reason(cell.library, cell.platform)
        or precision_reason(cell.library, cell.precision)
        or (image.spec.unavailable_gpus.get(cell.gpu) if image else None)
        or (None if cell.n_gpus == 1 else parallel_reason(cell.workload))
        or script_reason(cell.library, cell.workload, cell.variant)
        or (lock_reason(image) if image else None)
        or (UNVERIFIED + image.spec.unverified if image and image.spec.unverified and not unverified else None)
        or (UNVERIFIED + UNSEEN_VARIANTS[cell.variant] if cell.variant in UNSEEN_VARIANTS and not unverified else None)
        or (engine_reason(engine, image) if image else None)
    )


hardware_reason = remembered(gpus.hardware_reason)


def host_reason(cell: Cell, host: Host) -> str | None:
    """Why this machine can't run it; the host decides only after everything else fits."""
    return machine_reason(cell.platform, cell.gpu, host, cell.n_gpus)


def data_reason(cell: Cell) -> str | None:
    """Why the data of a cell is not to be had by itself: sets of many gigabytes are fetched only when asked for."""
    dataset = dataset_of(cell)
    absent = dataset is not None and not cell.parity and not data_digest(dataset)
    return f"its data is not here: 'rosetta data fetch {dataset}' brings it" if absent else None


def parallel_reason(workload: str) -> str | None:
    """Why several GPUs can't share a workload."""
    return None if parameters().get(workload, {}).get("parallel") else f"{workload} is measured on one GPU"


@remembered
def engine_reason(engine: Place, image: Image) -> str | None:
    """Why the engine can't serve an image."""
    return engine.unavailable(image)


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
        return f"{missing} is missing: rosetta lock {name} --with {folder}"
    return f"images/locks/{missing.name} is missing: rosetta lock {name}"
