"""Lower bounds of times: the operations of each workload, and the peak rates of GPUs.

A row that is faster than its card's arithmetic or memory allows is not a record, it is a mistake.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.compare import operations
from orchestrator.compare.operations import TRAINING_AT_LEAST

TERA = 1e12
GIGA = 1e9


@dataclass(frozen=True)
class Card:
    """One GPU: dense TFLOPS by precision, and GB/s of its memory."""

    teraflops: Mapping[str, float]
    bandwidth: float


def tensor(fp32: float, tf32: float, half: float, bandwidth: float) -> Card:
    """A card whose tensor cores know TF32 and both halves."""
    return Card({"fp32": fp32, "tf32": tf32, "amp-fp16": half, "amp-bf16": half}, bandwidth)


CARDS: Mapping[str, Card] = {
    # Tesla K80 board specification BD-07317-001: 8.74 TFLOPS and 480 GB/s for its two GPUs at their boost of 875 MHz
    "k80": Card({"fp32": 4.37}, 240),
    # Tesla P100 data sheet, NVLink form: 10.6 and 21.2 TFLOPS, 732 GB/s
    "p100": Card({"fp32": 10.6, "amp-fp16": 21.2}, 732),
    # Tesla V100 data sheet, SXM2: 15.7 and 125 TFLOPS, 900 GB/s. The SXM3 form has the same name here and 1,597 MHz:
    # 5,120 cores and 640 tensor cores make 16.4 and 131 of that, the 1,134 GB/s are the V100S's
    "v100": Card({"fp32": 16.4, "amp-fp16": 131}, 1134),
    # T4 data sheet: 8.1 and 65 TFLOPS, 320 GB/s
    "t4": Card({"fp32": 8.1, "amp-fp16": 65}, 320),
    # A100 data sheet, SXM with 80 GB: 19.5, 156 and 312 TFLOPS without sparsity, 2,039 GB/s
    "a100": tensor(19.5, 156, 312, 2039),
    # H100 data sheet, SXM: 67, 989 and 1,979 TFLOPS, the last two with sparsity and so halved; 3.35 TB/s
    "h100": tensor(67, 494.7, 989.5, 3350),
    # H200 data sheet, SXM: as the H100, 4.8 TB/s
    "h200": tensor(67, 494.7, 989.5, 4800),
}
"""The fastest form of each card, at the clock of the maker's data sheet; none holds that clock under full load.

The figures are the data sheets' as others quote them: only the K80's was read itself.
"""

CORE = 0.3
"""TFLOPS of a CPU's core: two units of 16 lanes for fused multiply-add at 4.7 GHz, more than any has."""


def least_seconds(row: Mapping[str, Any]) -> float | None:
    """Return the seconds that a row's samples take at its machine's peak rates; None if that is not known.

    Of a workload that only predicts, it is that of 1,000 images, as published. Nothing is taken to be computed that an
    algorithm or a cache can save.
    """
    each, rate = operations.at_least(row["workload"]), peak(row)
    if each is None or not rate:
        return None
    read = operations.read_at_least(row["workload"]) or 0.0
    card = CARDS.get(row["gpu"])
    speed = card.bandwidth * GIGA * max(1, row["n_gpus"] or 1) if card else float("inf")
    if row["workload"] == "resnet50":
        return 1000 * max(each / rate, read / speed)
    samples = (row["epochs"] or 0) * (row["samples"] or 0)
    return samples * max(each * TRAINING_AT_LEAST / rate, read / speed)


def peak(row: Mapping[str, Any]) -> float | None:
    """Return the peak operations per second of a row's machine; None for a GPU that is not in the table."""
    if row["gpu"] == "none":
        return (row["cores"] or 0) * CORE * TERA or None
    card = CARDS.get(row["gpu"])
    rate = card.teraflops.get(row["precision"]) if card else None
    return rate * TERA * int(max(1, row["n_gpus"] or 1)) if rate else None


def share_of_peak(row: Mapping[str, Any]) -> float | None:
    """Return a GPU row's operations as a share of what the GPU could do in that time; None for a CPU or unknown GPU.

    A convolution is counted in full, whatever algorithm computes it: with a fast one it can be more than one.
    """
    each, rate = operations.per_sample(row["workload"]), peak(row)
    if row["gpu"] == "none" or not each or not rate or not row["seconds"]:
        return None
    samples = 1000.0 if row["workload"] == "resnet50" else float((row["epochs"] or 0) * (row["samples"] or 0))
    return samples * each / float(row["seconds"]) / rate
