"""DenseNet-121 and its gradients in NumPy. Each step returns what it makes, and the way back through it."""

import numpy as np

from reference.layers import binary_cross_entropy, convolve, convolve_gradients
from reference.optimisers import Adam as Optimiser
from reference.resnet50 import EPSILON

__all__ = ["Optimiser", "gradients", "scores"]


def scores(weights, images, form=None):
    """Logits of a batch, (batch, findings), normalised with the running statistics."""
    return forward(weights, images, {}, running=True)[0]


def gradients(weights, images, labels, form):
    """Loss of a batch, and the gradient of every weight, averaged over the workers that ``form`` counts.

    Each worker normalises with the statistics of its own images, as data-parallel libraries do.
    """
    losses, found = [], {}
    for x, y in zip(np.split(images, form.workers), np.split(labels, form.workers)):
        mine = {}
        logits, back = forward(weights, x, mine)
        loss, gradient = binary_cross_entropy(logits, y)
        back(gradient)
        losses.append(loss)
        for name, value in mine.items():
            found[name] = found.get(name, 0) + value / form.workers
    return np.mean(losses), found


def forward(weights, images, found, running=False):
    """Logits, and the way back, which puts the gradients into ``found``; ``images`` are (batch, 3, size, size)."""
    steps = [convolution(weights, "conv0", found, stride=2), normalisation(weights, "norm0", found, running), pool_3x3]
    block = 1
    while "block%d.1.conv1.weight" % block in weights:
        layer = 1
        while "block%d.%d.conv1.weight" % (block, layer) in weights:
            place = "block%d.%d." % (block, layer)
            inner = [normalisation(weights, place + "norm1", found, running)]
            inner += [convolution(weights, place + "conv1", found)]
            inner += [normalisation(weights, place + "norm2", found, running)]
            inner += [convolution(weights, place + "conv2", found)]
            steps.append(growth(inner))
            layer += 1
        if "transition%d.conv.weight" % block in weights:
            steps.append(normalisation(weights, "transition%d.norm" % block, found, running))
            steps += [convolution(weights, "transition%d.conv" % block, found), halved]
        block += 1
    steps += [normalisation(weights, "norm5", found, running), averaged, dense(weights, found)]
    return through(steps, images.transpose(1, 0, 2, 3))


def through(steps, x):
    """One step after the other, and the way back."""
    ways = []
    for step in steps:
        x, way = step(x)
        ways.append(way)

    def back(gradient):
        for way in reversed(ways):
            gradient = way(gradient)
        return gradient

    return x, back


def growth(inner):
    """What was there, and behind it what the inner steps make of it."""

    def step(x):
        more, back = through(inner, x)
        return np.concatenate([x, more]), lambda gradient: gradient[: len(x)] + back(gradient[len(x) :])

    return step


def convolution(weights, name, found, stride=1):
    """A convolution without a bias."""
    weight = weights[name + ".weight"]

    def step(x):
        def back(gradient):
            of_weight, _, of_input = convolve_gradients(x, weight, gradient, name != "conv0", stride)
            found[name + ".weight"] = of_weight
            return of_input

        return convolve(x, weight, stride), back

    return step


def normalisation(weights, name, found, running):
    """Batch normalisation, with the batch's statistics or the running ones, and ReLU."""
    kinds = ("scale", "shift", "mean", "variance")
    scale, shift, mean, variance = (weights["%s.%s" % (name, kind)][:, None, None, None] for kind in kinds)
    axes = (1, 2, 3)

    def step(x):
        mu = mean if running else x.mean(axis=axes, keepdims=True)
        root = np.sqrt((variance if running else x.var(axis=axes, keepdims=True)) + EPSILON)
        normal = (x - mu) / root
        y = np.maximum(normal * scale + shift, 0)

        def back(gradient):
            gradient = gradient * (y > 0)
            of_scale, of_shift = (gradient * normal).sum(axis=axes), gradient.sum(axis=axes)
            found[name + ".scale"], found[name + ".shift"] = of_scale, of_shift
            common = of_shift[:, None, None, None] + normal * of_scale[:, None, None, None]
            return scale / root * (gradient - common / x[0].size)

        return y, back

    return step


def pool_3x3(x):
    """Largest of each 3×3 square, stride 2, one row and column of padding on each side."""
    edges, (height, width) = ((0, 0), (0, 0), (1, 1), (1, 1)), x.shape[2:]
    padded = np.pad(x, edges, "constant")  # zeros: nothing behind a ReLU is smaller
    places = [(i, j) for i in range(3) for j in range(3)]
    squares = np.stack([padded[:, :, i : i + height : 2, j : j + width : 2] for i, j in places])
    largest = squares.argmax(axis=0)

    def back(gradient):
        wide = np.zeros_like(padded)
        for number, (i, j) in enumerate(places):
            wide[:, :, i : i + height : 2, j : j + width : 2] += gradient * (largest == number)
        return wide[:, :, 1:-1, 1:-1]

    return squares.max(axis=0), back


def halved(x):
    """Mean of each 2×2 square."""
    channels, batch, height, width = x.shape
    squares = x.reshape(channels, batch, height // 2, 2, width // 2, 2)
    return squares.mean(axis=(3, 5)), lambda gradient: gradient.repeat(2, axis=2).repeat(2, axis=3) / 4


def averaged(x):
    """Mean of each map, (batch, channels)."""
    return x.mean(axis=(2, 3)).T, lambda gradient: np.ones_like(x) * gradient.T[:, :, None, None] / x[0, 0].size


def dense(weights, found):
    """The dense layer at the end."""
    weight, bias = weights["dense.weight"], weights["dense.bias"]

    def step(x):
        def back(gradient):
            found["dense.weight"], found["dense.bias"] = gradient.T @ x, gradient.sum(axis=0)
            return gradient @ weight

        return x @ weight.T + bias, back

    return step
