"""The CNN and its gradients in NumPy, without dropout."""

import numpy as np

from reference.layers import convolve, convolve_gradients, cross_entropy, pool, pool_gradient
from reference.optimisers import Momentum as Optimiser

__all__ = ["Optimiser", "gradients", "scores"]


def forward(weights, images):
    """Logits, (batch, classes), and what the way back needs; ``images`` are (batch, 3, 32, 32)."""
    x = images.transpose(1, 0, 2, 3)
    kept = {}
    for number in (1, 2, 3, 4):
        name = "conv%d" % number
        kept[name] = x
        x = convolve(x, weights[name + ".weight"]) + weights[name + ".bias"][:, None, None, None]
        x = kept[name + ".out"] = np.maximum(x, 0)
        if number in (2, 4):
            x, kept[name + ".places"] = pool(x)
    kept["maps"] = x.shape
    kept["dense1"] = x.transpose(1, 0, 2, 3).reshape(len(images), -1)
    kept["dense2"] = np.maximum(kept["dense1"] @ weights["dense1.weight"].T + weights["dense1.bias"], 0)
    return kept["dense2"] @ weights["dense2.weight"].T + weights["dense2.bias"], kept


def scores(weights, images, gru=None):
    """Logits of a batch."""
    return forward(weights, images)[0]


def gradients(weights, images, labels, gru=None):
    """Loss of a batch, and the gradient of every weight."""
    logits, kept = forward(weights, images)
    loss, back = cross_entropy(logits, labels)
    found = {}
    for name in ("dense2", "dense1"):
        found[name + ".weight"], found[name + ".bias"] = back.T @ kept[name], back.sum(axis=0)
        back = back @ weights[name + ".weight"]
        back = back * (kept[name] > 0) if name == "dense2" else back
    channels, batch, height, width = kept["maps"]
    back = back.reshape(batch, channels, height, width).transpose(1, 0, 2, 3)
    for number in (4, 3, 2, 1):
        name = "conv%d" % number
        if number in (2, 4):
            back = pool_gradient(kept[name + ".places"], back)
        back = back * (kept[name + ".out"] > 0)
        found[name + ".weight"], found[name + ".bias"], back = convolve_gradients(
            kept[name], weights[name + ".weight"], back, input_too=number > 1
        )
    return loss, found
