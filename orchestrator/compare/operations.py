"""What a workload computes and moves, layer by layer, out of params.json.

Counted are the layers that multiply matrices: convolutions, dense layers, the gates of a GRU. What is left out, such as
activations, normalisation and the optimiser's steps, is a few hundredths of it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.cell.parameters import parameters
from orchestrator.cell.workloads import trains
from orchestrator.system.library_folders import remembered

Params = Mapping[str, Any]

WINOGRAD = 4.0
"""By how much fast algorithms can cut the multiplications of a 3×3 convolution: Lavin and Gray, 2015, F(4×4, 3×3)."""

TRAINING = 3.0
"""Operations of a training step over those of its forward pass: the gradients of weights and of inputs are as many."""

TRAINING_AT_LEAST = 2.0
"""The least that it can be: a first layer needs no gradient of its inputs, and frozen parts have none."""

WORD = 4
"""Bytes of a number in single precision."""


@dataclass(frozen=True)
class Layer:
    """One layer, for one sample: multiplications, weights (biases left out), numbers that go in and that come out.

    ``fast`` is the factor by which a fast algorithm can cut the multiplications.
    """

    multiplications: float
    weights: float
    inputs: float
    outputs: float
    fast: float = 1.0


def convolution(before: int, after: int, size: int, kernel: int, stride: int = 1) -> Layer:
    """One of ``kernel`` × ``kernel`` on ``size`` × ``size`` pixels, padded; ``before`` and ``after`` are channels."""
    out = size // stride
    weights = kernel * kernel * before * after
    fast = WINOGRAD if (kernel, stride) == (3, 1) else 1.0
    return Layer(weights * out * out, weights, before * size * size, after * out * out, fast)


def dense(before: int, after: int) -> Layer:
    """A dense layer: one matrix."""
    return Layer(before * after, before * after, before, after)


def of_cnn(params: Params) -> Iterator[Layer]:
    """Two convolutions, pooling, two more, pooling, two dense layers."""
    few, many = params["filters"]
    yield convolution(3, few, 32, 3)
    yield convolution(few, few, 32, 3)
    yield convolution(few, many, 16, 3)
    yield convolution(many, many, 16, 3)
    yield dense(many * 8 * 8, params["hidden"])
    yield dense(params["hidden"], params["n_classes"])


def of_rnn(params: Params) -> Iterator[Layer]:
    """A row of a table for each word, a GRU's three gates for each word, a dense layer for the last."""
    length, embedding, hidden = params["length"], params["embedding"], params["hidden"]
    yield Layer(0, params["vocabulary"] * embedding, length, length * embedding)
    weights = 3 * hidden * (embedding + hidden)
    yield Layer(length * weights, weights, length * embedding, length * hidden)
    yield dense(hidden, params["n_classes"])


def of_resnet50(params: Params) -> Iterator[Layer]:
    """Bottlenecks of version 1.5, whose stride lies on the 3×3 convolution, and shortcuts where a stage begins."""
    size, inputs = params["image_size"], params["widths"][0]
    yield convolution(3, inputs, size, 7, 2)
    size //= 4
    for stage, (count, width) in enumerate(zip(params["blocks"], params["widths"], strict=True)):
        for block in range(count):
            stride = 2 if stage and block == 0 else 1
            yield convolution(inputs, width, size, 1)
            yield convolution(width, width, size, 3, stride)
            if block == 0:
                yield convolution(inputs, 4 * width, size, 1, stride)
            size //= stride
            yield convolution(width, 4 * width, size, 1)
            inputs = 4 * width


def of_densenet121(params: Params) -> Iterator[Layer]:
    """Dense blocks of 1×1 and 3×3 convolutions, each on all that came before, and transitions between them."""
    growth, size = params["growth"], params["image_size"]
    width = 2 * growth
    yield convolution(3, width, size, 7, 2)
    size //= 4
    for block, count in enumerate(params["blocks"], start=1):
        for _ in range(count):
            yield convolution(width, 4 * growth, size, 1)
            yield convolution(4 * growth, growth, size, 3)
            width += growth
        if block < len(params["blocks"]):
            yield convolution(width, width // 2, size, 1)
            width, size = width // 2, size // 2
    yield dense(width, len(params["findings"]))


NETWORKS: Mapping[str, Callable[[Params], Iterator[Layer]]] = {
    "cnn": of_cnn,
    "rnn": of_rnn,
    "resnet50": of_resnet50,
    "densenet121": of_densenet121,
}
"""The layers of each workload's network."""


@remembered
def layers(workload: str) -> tuple[Layer, ...]:
    """The layers of a workload; none for one that is not known."""
    known = parameters().get(workload)
    return tuple(NETWORKS[workload](known)) if known and workload in NETWORKS else ()


def forward(workload: str) -> float | None:
    """Floating-point operations of one sample's forward pass, as published: two for each multiplication."""
    return 2 * sum(layer.multiplications for layer in layers(workload)) or None


def at_least(workload: str) -> float | None:
    """Floating-point operations of one sample's forward pass that no algorithm can save."""
    return 2 * sum(layer.multiplications / layer.fast for layer in layers(workload)) or None


def per_sample(workload: str) -> float | None:
    """Floating-point operations for each sample of a run: of training where it trains, else of the forward pass."""
    once = forward(workload)
    return once and once * (TRAINING if trains(workload) else 1)


def moved(workload: str, batch: int) -> float | None:
    """Bytes of memory for each sample, if every layer reads and writes once what it works on, in single precision.

    The weights are read once for a batch. Caches and fused kernels need less, so it is no limit.
    """
    once = sum(layer.inputs + layer.outputs + layer.weights / batch for layer in layers(workload)) * WORD
    return once * (TRAINING if trains(workload) else 1) or None


def read_at_least(workload: str) -> float | None:
    """Bytes for each sample that no cache can save: the sample itself, a byte for each of its numbers."""
    return layers(workload)[0].inputs if layers(workload) else None
