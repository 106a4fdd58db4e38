"""What a result is worth: whether it ran the published length, and whether its quality lies where it must."""

from collections.abc import Mapping
from typing import Any

from orchestrator import plan
from orchestrator.contract import Document, Status
from orchestrator.matrix import Cell

Length = tuple[int | None, int | None]
"""Epochs, and training samples in each; None where params.json doesn't know the workload's."""


def judge(document: Document) -> tuple[Status, str]:
    """Ok, or of bad quality and why: outside the band that params.json gives for runs of at least some length.

    A shorter run is not judged.
    """
    band = band_of(document.workload, document.data)
    if not band or document.epochs < band["epochs"] or document.samples < band["samples"]:
        return Status.OK, ""
    low, high = band["low"], band["high"]
    if low <= document.quality <= high:
        return Status.OK, ""
    had = share(document.quality, ".5g")  # not rounded to what would lie inside
    return Status.QUALITY, f"{document.metric} {had} lies outside {share(low, '.2f')}–{share(high, '.2f')}"


def band_of(workload: str, data: str) -> Mapping[str, Any]:
    """``low``, ``high``, and from how many ``epochs`` and ``samples`` on they hold; empty without a band."""
    parameters = plan.parameters().get(workload, {})
    band = parameters.get("quality", {}).get(data)
    return {**band, "samples": in_batches(band["samples"], parameters)} if band else {}


def published(workload: str) -> Length:
    """The length of the published run: the one from which its band holds on real data."""
    return plan.parameters().get(workload, {}).get("epochs"), band_of(workload, "real").get("samples")


def asked(cell: Cell) -> Length:
    """The length that a run of this cell reports when it ends well."""
    epochs, samples = published(cell.workload)
    if cell.samples is not None:
        samples = in_batches(cell.samples, plan.parameters().get(cell.workload, {}))
    return cell.epochs or epochs, samples


def is_shorter(workload: str, length: Length) -> bool:
    """Whether this is less than the published run, seen from outside: a container's own word for it may be wrong."""
    return any(
        had is not None and full is not None and had < full
        for had, full in zip(length, published(workload), strict=True)
    )


def in_batches(samples: int, parameters: Mapping[str, Any]) -> int:
    """The samples that are trained on: complete batches only, as published."""
    batch = int(parameters.get("batch_size", 1))
    return samples // batch * batch


def share(value: float, form: str) -> str:
    """A share as the literature writes it: .857."""
    return f"{value:{form}}".removeprefix("0")
