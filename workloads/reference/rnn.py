"""The GRU network and its gradients in NumPy."""

import numpy as np

from reference.layers import cross_entropy
from reference.optimisers import Adam as Optimiser

__all__ = ["Optimiser", "gradients", "scores"]


def logistic(x):
    """1 / (1 + e^-x), and its slope from its value."""
    return 1 / (1 + np.exp(-x))


def hard(x):
    """Keras 2's piecewise linear stand-in for the logistic function."""
    return np.clip(0.2 * x + 0.5, 0, 1)


SIGMOIDS = {"logistic": (logistic, lambda s: s * (1 - s)), "hard": (hard, lambda s: 0.2 * ((s > 0) & (s < 1)))}


def forward(weights, tokens, gru):
    """Logits, (batch, 2), and each time-step; ``tokens`` are (batch, time), ``gru`` has ``reset`` and ``sigmoid``."""
    sigmoid = SIGMOIDS[gru.sigmoid][0]
    size = weights["gru.state.weight"].shape[1]
    (w_gates, w_new), u = np.split(weights["gru.input.weight"], [2 * size]), weights["gru.state.weight"]
    b, c = weights["gru.input.bias"], weights.get("gru.state.bias", np.zeros(3 * size))
    h, steps = np.zeros((len(tokens), size)), []
    for now in tokens.T:
        x = weights["embedding.weight"][now]
        gates = sigmoid(x @ w_gates.T + b[: 2 * size] + h @ u[: 2 * size].T + c[: 2 * size])
        r, z = gates[:, :size], gates[:, size:]
        product = (h if gru.reset == "after" else r * h) @ u[2 * size :].T + c[2 * size :]
        n = np.tanh(x @ w_new.T + b[2 * size :] + (r * product if gru.reset == "after" else product))
        steps.append((now, x, h, r, z, n, product))
        h = (1 - z) * n + z * h
    return h @ weights["dense.weight"].T + weights["dense.bias"], (h, steps)


def scores(weights, tokens, gru):
    """Logits of a batch."""
    return forward(weights, tokens, gru)[0]


def gradients(weights, tokens, labels, gru):
    """Loss of a batch, and the gradient of every weight."""
    slope = SIGMOIDS[gru.sigmoid][1]
    logits, (h, steps) = forward(weights, tokens, gru)
    loss, back = cross_entropy(logits, labels)
    found = {name: np.zeros_like(value) for name, value in weights.items()}
    found["dense.weight"], found["dense.bias"] = back.T @ h, back.sum(axis=0)
    dh = back @ weights["dense.weight"]
    size, u, w = h.shape[1], weights["gru.state.weight"], weights["gru.input.weight"]
    for now, x, h, r, z, n, product in reversed(steps):
        dn = dh * (1 - z) * (1 - n**2)  # before the tanh
        dz = dh * (h - n) * slope(z)
        if gru.reset == "after":
            dr, dproduct, seen = dn * product * slope(r), dn * r, h
            dh = dh * z + dproduct @ u[2 * size :]
        else:
            dproduct, seen = dn, r * h
            dseen = dn @ u[2 * size :]
            dr = dseen * h * slope(r)
            dh = dh * z + dseen * r
        dgates = np.concatenate([dr, dz], axis=1)
        dh = dh + dgates @ u[: 2 * size]
        dinput = np.concatenate([dgates, dn], axis=1)
        dstate = np.concatenate([dgates, dproduct], axis=1)
        found["gru.input.weight"] += dinput.T @ x
        found["gru.input.bias"] += dinput.sum(axis=0)
        found["gru.state.weight"][: 2 * size] += dgates.T @ h
        found["gru.state.weight"][2 * size :] += dproduct.T @ seen
        if "gru.state.bias" in found:
            found["gru.state.bias"] += dstate.sum(axis=0)
        np.add.at(found["embedding.weight"], now, dinput @ w)
    return loss, found
