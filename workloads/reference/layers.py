"""Layers and their gradients in plain NumPy. Feature maps are (channels, batch, height, width)."""

import numpy as np


def convolve(x, weight, stride=1):
    """Convolution with the padding that keeps the size, as one matrix product for each element of the window."""
    size, padded = weight.shape[-1], pad(x, weight)
    out = None
    for i in range(size):
        for j in range(size):
            product = np.tensordot(weight[:, :, i, j], window(padded, i, j, x, stride), axes=(1, 0))
            out = product if out is None else out + product
    return out


def convolve_gradients(x, weight, gradient, input_too=True, stride=1):
    """Gradients of a convolution with respect to its weight, its bias and, if asked for, its input."""
    size, padded = weight.shape[-1], pad(x, weight)
    to_weight, to_padded = np.empty_like(weight), np.zeros_like(padded)
    for i in range(size):
        for j in range(size):
            seen = window(padded, i, j, x, stride)
            to_weight[:, :, i, j] = np.tensordot(gradient, seen, axes=([1, 2, 3], [1, 2, 3]))
            if input_too:
                window(to_padded, i, j, x, stride)[...] += np.tensordot(weight[:, :, i, j], gradient, axes=(0, 0))
    edge = size // 2
    return to_weight, gradient.sum(axis=(1, 2, 3)), to_padded[:, :, edge : edge + x.shape[2], edge : edge + x.shape[3]]


def pad(x, weight):
    """Zeros around the maps, as many as half a window."""
    edge = weight.shape[-1] // 2
    return np.pad(x, ((0, 0), (0, 0), (edge, edge), (edge, edge)), "constant")


def window(padded, i, j, x, stride):
    """What element (i, j) of the window sees."""
    return padded[:, :, i : i + x.shape[2] : stride, j : j + x.shape[3] : stride]


def pool(x):
    """Largest of each 2×2 square, and where it lies."""
    squares = x.reshape(x.shape[0], x.shape[1], x.shape[2] // 2, 2, x.shape[3] // 2, 2)
    squares = squares.transpose(0, 1, 2, 4, 3, 5).reshape(x.shape[:2] + (x.shape[2] // 2, x.shape[3] // 2, 4))
    return squares.max(axis=-1), squares.argmax(axis=-1)


def pool_gradient(places, gradient):
    """The gradient goes to the largest of each square alone."""
    squares = (np.arange(4) == places[..., None]) * gradient[..., None]
    channels, batch, height, width = gradient.shape
    squares = squares.reshape(channels, batch, height, width, 2, 2).transpose(0, 1, 2, 4, 3, 5)
    return squares.reshape(channels, batch, 2 * height, 2 * width)


def cross_entropy(logits, labels):
    """Mean loss over the batch, and its gradient."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    rows = np.arange(len(labels))
    gradient = np.exp(log_probabilities)
    gradient[rows, labels] -= 1
    return -log_probabilities[rows, labels].mean(), gradient / len(labels)


def binary_cross_entropy(logits, labels):
    """Mean loss over the batch and its labels, 0 or 1 each, and its gradient."""
    losses = np.maximum(logits, 0) - logits * labels + np.log1p(np.exp(-np.abs(logits)))
    return losses.mean(), (1 / (1 + np.exp(-logits)) - labels) / logits.size


def softmax(logits):
    """Probabilities of each row."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
