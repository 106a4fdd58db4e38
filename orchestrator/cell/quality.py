"""Judge a result: whether it is what was requested, of the published length, and within the quality band."""

from collections.abc import Mapping
from typing import Any

from orchestrator.cell.cell import OWN, Cell
from orchestrator.cell.contract import OWN_WEIGHTS, Document, Status
from orchestrator.cell.parameters import parameters
from orchestrator.system.gpus import is_named, model_of
from orchestrator.system.words import counted

Length = tuple[int | None, int | None]
"""Epochs, and training samples in each; None if params.json doesn't give the workload's."""


def mismatch(cell: Cell, document: Document) -> str | None:
    """Return how the document differs from what the cell asked for; None if it does not."""
    epochs, samples = asked(cell)
    wanted = {
        "library": cell.library,
        "workload": cell.workload,
        "platform": cell.platform,
        "precision": cell.precision,
        "variant": cell.variant,
        "data": cell.data,
        "seed": cell.repeat,
        "n_gpus": cell.n_gpus if cell.gpu != "none" else 0,
        "workers": cell.n_gpus,
        "pretrained": OWN_WEIGHTS + cell.weights if cell.weights else None,
        "epochs": epochs,
        "samples": None if may_be_part(cell) and document.samples < (samples or 0) else samples,
    }
    wrong = [
        f"{key} {getattr(document, key)!r} instead of {value!r}"
        for key, value in wanted.items()
        if value is not None and getattr(document, key) != value
    ]
    seen = {model_of(gpu.name) for gpu in document.environment.gpus}
    if cell.gpu != "none" and not any(is_named(cell.gpu, gpu.name) for gpu in document.environment.gpus):
        wrong.append(f"gpu {', '.join(sorted(seen)) or 'none'} instead of {cell.gpu}")
    return ", ".join([*wrong, *contradictions(document)]) or None


def contradictions(document: Document) -> list[str]:
    """Return how a document contradicts itself: where it ran, on how many cards, and in which precision."""
    cards, wrong = document.n_gpus, []
    if document.effective_precision not in (None, document.precision):
        wrong.append(f"it was measured in {document.effective_precision}, not in {document.precision}")
    if document.platform != OWN and (document.platform == "cpu") != (cards == 0):
        wrong.append(f"the platform {document.platform} with {counted(cards, 'card')}")
    if cards and document.workers != cards:
        wrong.append(f"{counted(cards, 'card')}, but {counted(document.workers, 'worker')}")
    if document.contract > 1 and len(document.gpus or ()) < cards:
        wrong.append(f"it proves the use of {counted(len(document.gpus or ()), 'card')} instead of {cards}")
    return wrong


def may_be_part(cell: Cell) -> bool:
    """Return whether the cell uses as much of a set as is there: fewer samples are a shortened run, no mismatch."""
    return cell.data == "real" and not cell.parity and bool(parameters().get(cell.workload, {}).get("parallel"))


def judge(document: Document) -> tuple[Status, str]:
    """Return OK, or QUALITY and why: outside the band that params.json gives for runs of at least some length.

    Shorter runs are not judged. A comparison with the reference is, by the tolerances of params.json.
    """
    length = (document.epochs, document.samples)
    axes = (document.workload, document.data, document.workers)
    return judged(*axes, length, document.quality, document.metric, document.parity)


def judged(
    workload: str,
    data: str,
    workers: int,
    length: tuple[int, int],
    value: float,
    metric: str,
    parity: Mapping[str, float] | None,
) -> tuple[Status, str]:
    """Judge the values of a row like ``judge``: ``value`` is its quality, ``length`` its epochs and samples."""
    if parity is not None:
        return judge_parity(workload, parity)
    band = band_of(workload, data, workers)
    epochs, samples = length
    if not band or epochs < band["epochs"] or samples < band["samples"]:
        return Status.OK, ""
    low, high = band["low"], band["high"]
    if low <= value <= high:
        return Status.OK, ""
    had = share(value, ".5g")  # enough digits not to round to a value inside the band
    return Status.QUALITY, f"{metric} {had} lies outside {share(low, '.2f')}–{share(high, '.2f')}"


def judge_parity(workload: str, errors: Mapping[str, float]) -> tuple[Status, str]:
    """Return OK if every error is within its tolerance, else QUALITY and which are not."""
    tolerances = parameters().get(workload, {}).get("parity", {})
    wrong = [
        f"{name} differ by {errors[name]:.2g}, {tolerance:.0e} is allowed" if name in errors else f"{name} are missing"
        for name, tolerance in tolerances.items()
        if is_compared(name, errors) and not errors.get(name, 1) <= tolerance
    ]
    return (Status.QUALITY, "not the same model: " + "; ".join(wrong)) if wrong else (Status.OK, "")


def is_compared(name: str, errors: Mapping[str, float]) -> bool:
    """Return whether an entry of a workload's "parity" is a tolerance of this run: "workers" only if compared."""
    return name not in ("steps", "with") and (name != "workers" or name in errors)


def band_of(workload: str, data: str, n_gpus: int = 1) -> Mapping[str, Any]:
    """Return ``low``, ``high``, and the least ``epochs`` and ``samples`` for which they hold; empty without a band."""
    known = parameters().get(workload, {})
    band = known.get("quality", {}).get(data)
    return {**band, "samples": in_batches(band["samples"], known, n_gpus)} if band else {}


def published(workload: str, n_gpus: int = 1) -> Length:
    """Return the length of the published run: the least for which its band holds on real data."""
    return parameters().get(workload, {}).get("epochs"), band_of(workload, "real", n_gpus).get("samples")


def asked(cell: Cell) -> Length:
    """Return the length that a successful run of this cell reports."""
    known = parameters().get(cell.workload, {})
    if cell.parity:
        steps, batch = known.get("parity", {}).get("steps"), known.get("batch_size", 1)
        batch = known.get("parity", {}).get("with", {}).get("batch_size", batch)
        return 1, steps and steps * batch * cell.n_gpus
    epochs, samples = published(cell.workload, cell.n_gpus)
    if cell.samples is not None:
        shorter = in_batches(cell.samples, known, cell.n_gpus)
        endless = cell.data == "synthetic"  # a real set has no more samples than it has
        samples = shorter if endless or samples is None else min(shorter, samples)
    return cell.epochs or epochs, samples


def is_shorter(workload: str, length: Length, n_gpus: int = 1) -> bool:
    """Return whether this is shorter than the published run, judged here as a container's own claim may be wrong."""
    return any(
        had is not None and full is not None and had < full
        for had, full in zip(length, published(workload, n_gpus), strict=True)
    )


def in_batches(samples: int, parameters: Mapping[str, Any], n_gpus: int = 1) -> int:
    """Return the number of samples trained on: only complete batches of all GPUs, as published.

    A workload that several GPUs can share takes fewer samples than a batch as one smaller batch.
    """
    batch = int(parameters.get("batch_size", 1)) * n_gpus
    if parameters.get("parallel") and samples < batch:
        batch = samples // n_gpus * n_gpus or 1
    return samples // batch * batch


def share(value: float, form: str) -> str:
    """A share as the literature writes it: .857."""
    return f"{value:{form}}".removeprefix("0")
