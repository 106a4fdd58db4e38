"""What no machine can undercut: the operations of each workload, and the peak rates of cards.

A row that is faster than its card's arithmetic allows is not a record, it is a mistake.
"""

from collections.abc import Mapping
from typing import Any

from orchestrator.cell.parameters import parameters

TERA = 1e12

PEAKS: Mapping[str, Mapping[str, float]] = {
    "k80": {"fp32": 4.4},
    "p100": {"fp32": 10.6, "amp-fp16": 21.2},
    "v100": {"fp32": 16.4, "amp-fp16": 131},
    "t4": {"fp32": 8.1, "amp-fp16": 65},
    "a100": {"fp32": 19.5, "tf32": 156, "amp-fp16": 312, "amp-bf16": 312},
    "h100": {"fp32": 67, "tf32": 495, "amp-fp16": 990, "amp-bf16": 990},
    "h200": {"fp32": 67, "tf32": 495, "amp-fp16": 990, "amp-bf16": 990},
}
"""Dense TFLOPS of one GPU, by the maker's data sheets, of its fastest form (SXM); a K80 has two GPUs."""

CORE = 0.3
"""TFLOPS of a CPU's core: two units of 16 lanes for fused multiply-add at 4.7 GHz, more than any has."""

WINOGRAD = 4.0
"""By how much fast algorithms can cut the multiplications of a 3×3 convolution: Lavin and Gray, 2015, F(4×4, 3×3)."""

TRAINING = 2.0
"""Operations of a training step over those of its forward pass, at least: the gradients of the weights are as many."""


def operations(workload: str) -> float | None:
    """Floating-point operations for one sample's forward pass that nothing can save; None for a workload not known."""
    known = parameters().get(workload)
    counts = {"cnn": of_cnn, "rnn": of_rnn, "resnet50": of_resnet50}
    return 2 * counts[workload](known) if known and workload in counts else None


def of_cnn(params: Mapping[str, Any]) -> float:
    """Multiplications of four 3×3 convolutions, two on 32×32 and two on 16×16 pixels, and two dense layers."""
    few, many = params["filters"]
    convolutions = 9 * (32 * 32 * (3 * few + few * few) + 16 * 16 * (few * many + many * many))
    dense = many * 8 * 8 * params["hidden"] + params["hidden"] * params["n_classes"]
    return float(convolutions / WINOGRAD + dense)


def of_rnn(params: Mapping[str, Any]) -> float:
    """Those of a GRU's three gates for each word."""
    gates = 3 * params["hidden"] * (params["embedding"] + params["hidden"])
    return float(params["length"] * gates + params["hidden"] * params["n_classes"])


def of_resnet50(params: Mapping[str, Any]) -> float:
    """Those of its bottlenecks: 1×1, 3×3 and 1×1 convolutions, and a shortcut where a stage begins."""
    size, inputs = params["image_size"] // 4, params["widths"][0]
    total = (params["image_size"] // 2) ** 2 * 49 * 3 * inputs
    for stage, (count, width) in enumerate(zip(params["blocks"], params["widths"], strict=True)):
        size //= 2 if stage else 1
        for block in range(count):
            shortcut = inputs * 4 * width if block == 0 else 0
            total += size**2 * (inputs * width + 9 * width * width / WINOGRAD + 4 * width * width + shortcut)
            inputs = 4 * width
    return float(total)


def least_seconds(row: Mapping[str, Any]) -> float | None:
    """The time that a row's samples take at its machine's peak rate, in seconds; None where that is not known.

    Of a workload that only predicts, it is that of 1,000 images, as published.
    """
    each, rate = operations(row["workload"]), peak(row)
    if each is None or not rate:
        return None
    if row["workload"] == "resnet50":
        return 1000 * each / rate
    return (row["epochs"] or 0) * (row["samples"] or 0) * each * TRAINING / rate


def peak(row: Mapping[str, Any]) -> float | None:
    """Operations per second of a row's machine at most; None for a card that the table does not have."""
    if row["gpu"] == "none":
        return (row["cores"] or 0) * CORE * TERA or None
    rate = PEAKS.get(row["gpu"], {}).get(row["precision"])
    return rate and rate * TERA * max(1, row["n_gpus"] or 1)
