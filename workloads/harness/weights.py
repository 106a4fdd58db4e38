"""Given weights: one set of numbers per workload, handed to each library in the layouts that it wants.

Canonical are the order and layouts that PyTorch gives its parameters: convolutions (out, in, height, width), dense
layers (out, in), images flattened channel by channel, GRU gates reset-update-new with a bias each for the input and
for the state; batch normalisation as scale, shift, mean, variance.
"""

import hashlib
import os
from collections import namedtuple

import numpy as np

Array = namedtuple("Array", "name kind shape")

LAYOUT = {"conv": "OIHW", "dense": "OI", "flat": "CHW", "gates": "rzn", "biases": 2}


class Weights:
    """How a script's parameters are read and replaced, and how the library lays them out.

    ``get()`` returns and ``set(arrays)`` takes a list of float32 arrays in the order of the network. ``layout`` says
    what is not canonical: ``conv`` ("HWIO", …), ``dense`` ("IO"), ``flat``, the order in which feature maps are
    flattened ("HWC"), ``gates`` of the GRU ("zrn"), ``biases`` per gate (1 or 2); in each, a dense layer's weights
    also stand for those of the GRU. ``reset`` "before" or "after" the recurrent product and ``sigmoid`` "logistic" or
    "hard" tell which GRU it is. ``epsilon`` tells to the root of which second moment Adam adds it, "corrected" or
    "uncorrected", and ``head_start`` how many steps Adam believes to be done before the first. ``scores`` tells
    whether predict returns "logits" or "probabilities", ``pretrained`` the file of weights of its library's hub that
    the script has loaded, and which stay; ``torchvision`` torchvision's, with which the harness begins where a library
    has no hub. ``replicas()``, for libraries that train several workers in one process,
    returns for each of them what ``get`` would.
    """

    workers = 1  # how many shares of a batch are normalised by themselves

    def __init__(
        self,
        get,
        set=None,
        reset="after",
        sigmoid="logistic",
        epsilon="corrected",
        head_start=0,
        scores="logits",
        pretrained=None,
        torchvision=None,
        replicas=None,
        **layout,
    ):
        self._get, self._set = get, set
        self.replicas = replicas or (lambda: [[np.array(value) for value in get()]])
        self.reset, self.sigmoid, self.epsilon = reset, sigmoid, epsilon
        self.head_start, self.scores = head_start, scores
        self.pretrained, self.torchvision = pretrained, torchvision
        self.layout = dict(LAYOUT, **layout)

    def give(self, given):
        """Replace the library's parameters by the canonical values of ``given``, pairs of an Array and its value."""
        self._set([np.ascontiguousarray(self._to_library(array, value)) for array, value in self.mine(given)])

    def take(self, given):
        """The library's parameters as canonical arrays, by name; a wrong number or shape ends the run."""
        declared, values = [array for array, _ in self.mine(given)], [np.asarray(value) for value in self._get()]
        if len(values) != len(declared):
            raise SystemExit("the script has %d parameters, the workload %d" % (len(values), len(declared)))
        return {array.name: self._to_canonical(array, value) for array, value in zip(declared, values)}

    def copy(self):
        """The library's parameters as it has them, in arrays of our own."""
        return [np.array(value) for value in self._get()]

    def put(self, values):
        """Replace the library's parameters by what ``copy`` gave."""
        self._set(values)

    def mine(self, given):
        """The pairs of an Array and its value that this library has parameters for."""
        return [(array, value) for array, value in given if array.kind != "state bias" or self.layout["biases"] == 2]

    def _order(self, array):
        """The letters of an array's axes, canonical and as the library has them."""
        kind = "conv" if array.kind == "conv" else "dense"
        return (LAYOUT[kind], self.layout[kind]) if len(array.shape) > 1 and array.kind != "table" else ("", "")

    def _to_library(self, array, value):
        if array.kind == "flat":
            value = reflatten(value, "CHW", self.layout["flat"], array.shape)
        value = value.reshape(array.shape[:1] + (-1,)) if array.kind == "flat" else value
        if array.kind in ("gate", "input bias", "state bias"):
            value = regate(value, "rzn", self.layout["gates"])
        ours, theirs = self._order(array)
        return value.transpose([ours.index(axis) for axis in theirs]) if theirs else value

    def _to_canonical(self, array, value):
        ours, theirs = self._order(array)
        value = value.transpose([theirs.index(axis) for axis in ours]) if theirs else value
        wanted = array.shape if array.kind != "flat" else (array.shape[0], int(np.prod(array.shape[1:])))
        if value.shape != wanted:
            raise SystemExit("%s has the shape %s instead of %s" % (array.name, value.shape, wanted))
        if array.kind in ("gate", "input bias", "state bias"):
            value = regate(value, self.layout["gates"], "rzn")
        if array.kind == "flat":
            value = reflatten(value, self.layout["flat"], "CHW", array.shape)
        return value


def regate(value, have, want):
    """Reorder the three gates, which lie one after the other along the first axis."""
    gates = dict(zip(have, np.split(value, 3)))
    return np.concatenate([gates[name] for name in want])


def cudnn_block(arrays):
    """The vector in which cuDNN keeps all that a GRU of one layer and direction learns, for MXNet, TensorFlow 1, CNTK.

    ``arrays`` are the canonical four, (3·hidden, inputs), (3·hidden, hidden) and twice (3·hidden,). cuDNN's functions
    for the parts of its block name a matrix and a bias for each gate, reset, update, new, first of the input, then of
    the state; its matrices, (hidden, inputs), lie row by row, all before the first bias.
    """
    return np.concatenate([np.ravel(array) for array in arrays])


def from_cudnn_block(vector, inputs, hidden):
    """The canonical four arrays of such a vector."""
    shapes = [(3 * hidden, inputs), (3 * hidden, hidden), (3 * hidden,), (3 * hidden,)]
    parts = np.split(np.ravel(vector), np.cumsum([int(np.prod(shape)) for shape in shapes[:-1]]))
    return [part.reshape(shape) for part, shape in zip(parts, shapes)]


def reflatten(value, have, want, shape):
    """Reorder the inputs of the dense layer behind the feature maps: (out, C, H, W), in whatever order flattened."""
    sizes = dict(zip("CHW", shape[1:]))
    value = value.reshape([shape[0]] + [sizes[axis] for axis in have])
    value = value.transpose([0] + [1 + have.index(axis) for axis in want])
    return value.reshape(shape[0], -1)


# --- What the networks are made of ------------------------------------------------------------------------------------
def cnn(params):
    """The arrays of the CNN."""
    few, many = params.filters
    layers = [("conv1", 3, few), ("conv2", few, few), ("conv3", few, many), ("conv4", many, many)]
    for name, inputs, outputs in layers:
        yield Array(name + ".weight", "conv", (outputs, inputs, 3, 3))
        yield Array(name + ".bias", "vector", (outputs,))
    yield Array("dense1.weight", "flat", (params.hidden, many, 8, 8))
    yield Array("dense1.bias", "vector", (params.hidden,))
    yield Array("dense2.weight", "dense", (params.n_classes, params.hidden))
    yield Array("dense2.bias", "vector", (params.n_classes,))


def rnn(params):
    """The arrays of the GRU."""
    gates = 3 * params.hidden
    yield Array("embedding.weight", "table", (params.vocabulary, params.embedding))
    yield Array("gru.input.weight", "gate", (gates, params.embedding))
    yield Array("gru.state.weight", "gate", (gates, params.hidden))
    yield Array("gru.input.bias", "input bias", (gates,))
    yield Array("gru.state.bias", "state bias", (gates,))
    yield Array("dense.weight", "dense", (params.n_classes, params.hidden))
    yield Array("dense.bias", "vector", (params.n_classes,))


def resnet50(params):
    """The arrays of ResNet-50 up to its average pool: each convolution with its batch normalisation, shortcuts last."""

    def unit(conv, norm, inputs, outputs, size):
        yield Array(conv + ".weight", "conv", (outputs, inputs, size, size))
        for name in ("scale", "shift", "mean", "variance"):
            yield Array("%s.%s" % (norm, name), name, (outputs,))

    for array in unit("conv1", "norm1", 3, 64, 7):
        yield array
    inputs = 64
    for stage, (blocks, width) in enumerate(zip(params.blocks, params.widths), 1):
        for block in range(blocks):
            place = "stage%d.%d." % (stage, block)
            units = [("1", inputs, width, 1), ("2", width, width, 3), ("3", width, 4 * width, 1)]
            if block == 0:
                units.append(("_shortcut", inputs, 4 * width, 1))
            for name, *sizes in units:
                for array in unit(place + "conv" + name, place + "norm" + name, *sizes):
                    yield array
            inputs = 4 * width


def densenet121(params):
    """The arrays of DenseNet-121, in the order of its layers; a normalisation stands before its convolution."""

    def norm(name, width):
        return [Array("%s.%s" % (name, kind), kind, (width,)) for kind in ("scale", "shift", "mean", "variance")]

    width = 2 * params.growth
    arrays = [Array("conv0.weight", "conv", (width, 3, 7, 7))] + norm("norm0", width)
    for block, layers in enumerate(params.blocks, 1):
        for layer in range(1, layers + 1):
            place, narrow = "block%d.%d." % (block, layer), 4 * params.growth
            arrays += norm(place + "norm1", width)
            arrays.append(Array(place + "conv1.weight", "conv", (narrow, width, 1, 1)))
            arrays += norm(place + "norm2", narrow)
            arrays.append(Array(place + "conv2.weight", "conv", (params.growth, narrow, 3, 3)))
            width += params.growth
        if block < len(params.blocks):
            arrays += norm("transition%d.norm" % block, width)
            arrays.append(Array("transition%d.conv.weight" % block, "conv", (width // 2, width, 1, 1)))
            width //= 2
    findings = len(params.findings)
    return (
        arrays
        + norm("norm5", width)
        + [
            Array("dense.weight", "dense", (findings, width)),
            Array("dense.bias", "vector", (findings,)),
        ]
    )


ARRAYS = {"cnn": cnn, "rnn": rnn, "resnet50": resnet50, "densenet121": densenet121}


# --- Their values -----------------------------------------------------------------------------------------------------
def given(workload, params):
    """Pairs of each Array of a workload and its value, the same for every NumPy since 1.11; or those of one's own file.

    Whatever could hide a mistake is avoided: no bias is zero, no normalisation the identity. Raises SystemExit if the
    SHA-256 of all values is not the one in params.json.
    """
    declared = list(ARRAYS[workload](params))
    if getattr(params, "weights_file", None):
        return read(params.weights_file, declared)
    random = np.random.RandomState(0)
    values = [draw(random, array) for array in declared]
    digest = hashlib.sha256(b"".join(value.tobytes() for value in values)).hexdigest()
    if digest != params.weights_sha256:
        raise SystemExit("the given weights of %s have the SHA-256 %s, not that of params.json" % (workload, digest))
    return list(zip(declared, values))


def read(path, declared):
    """Pairs of each declared Array and its value in an .npz, by name; SystemExit says what does not fit."""
    with np.load(path, allow_pickle=False) as file:
        lacking = [array.name for array in declared if array.name not in file.files]
        if lacking:
            raise SystemExit("%s lacks %s" % (os.path.basename(path), ", ".join(lacking)))
        values = [np.asarray(file[array.name], np.float32) for array in declared]
    for array, value in zip(declared, values):
        if value.shape != array.shape or not np.isfinite(value).all():
            what = "%s instead of %s" % (value.shape, array.shape) if value.shape != array.shape else "no finite number"
            raise SystemExit("%s in %s: %s" % (array.name, os.path.basename(path), what))
    return list(zip(declared, values))


def digest_of(path):
    """The SHA-256 of a file of weights, by which it is called in the document."""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def draw(random, array):
    """One array: exact in float32, as only differences and products of two floats are taken."""
    uniform = (random.random_sample(array.shape) - 0.5).astype(np.float32)
    if array.kind == "scale":  # shrinks what a block adds to its input, else 16 blocks multiply it by thousands
        return uniform * np.float32(0.5) + np.float32(0.25 if "norm3" in array.name else 1)
    if array.kind == "variance":
        return uniform + np.float32(1)
    if len(array.shape) == 1:
        return uniform * np.float32(0.2)
    fan_in = 1 if array.kind == "table" else int(np.prod(array.shape[1:]))
    return uniform * np.float32(2 * (6 / fan_in) ** 0.5 if array.kind == "conv" else 2 / fan_in**0.5)
