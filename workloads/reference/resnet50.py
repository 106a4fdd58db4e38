"""ResNet-50 up to its average pool in NumPy, version 1.5: a block's stride lies on its 3×3 convolution."""

import numpy as np

from reference.layers import convolve

__all__ = ["scores"]

EPSILON = 1e-5  # of batch normalisation: PyTorch's, for all


def scores(weights, images, gru=None):
    """Features, (batch, 2048), of ``images`` (batch, 3, 224, 224)."""

    def unit(x, conv, norm, stride=1):
        x = convolve(x, weights[conv + ".weight"], stride)
        scale, shift, mean, variance = (
            weights["%s.%s" % (norm, name)][:, None, None, None] for name in ("scale", "shift", "mean", "variance")
        )
        return (x - mean) / np.sqrt(variance + EPSILON) * scale + shift

    x = np.maximum(unit(images.transpose(1, 0, 2, 3), "conv1", "norm1", 2), 0)
    x = pool_3x3(x)
    for stage in (1, 2, 3, 4):
        block = 0
        while "stage%d.%d.conv1.weight" % (stage, block) in weights:
            place = "stage%d.%d." % (stage, block)
            stride = 2 if stage > 1 and block == 0 else 1
            y = np.maximum(unit(x, place + "conv1", place + "norm1"), 0)
            y = np.maximum(unit(y, place + "conv2", place + "norm2", stride), 0)
            y = unit(y, place + "conv3", place + "norm3")
            shortcut = unit(x, place + "conv_shortcut", place + "norm_shortcut", stride) if block == 0 else x
            x = np.maximum(y + shortcut, 0)
            block += 1
    return x.mean(axis=(2, 3)).T


def pool_3x3(x):
    """Largest of each 3×3 square, stride 2, one row and column of padding on each side."""
    edges = ((0, 0), (0, 0), (1, 1), (1, 1))
    padded = np.pad(x, edges, "constant")  # zeros: nothing behind a ReLU is smaller
    height, width = x.shape[2:]
    squares = [padded[:, :, i : i + height : 2, j : j + width : 2] for i in range(3) for j in range(3)]
    return np.max(squares, axis=0)
