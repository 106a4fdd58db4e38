"""Features of ResNet-50 in Lasagne, layers for Theano's graphs."""

import numpy as np
import theano
import theano.tensor as T
from theano.tensor.signal import pool

# Lasagne 0.1 of 2015 looks for pooling where Theano had it then. Its successor, which needs none of this, was never
# released: those who used it took it from its repository.
if not hasattr(T.signal, "downsample"):
    pool.max_pool_2d = pool.pool_2d
    T.signal.downsample = pool
import lasagne
from lasagne import layers

from harness import Cell, Weights

theano.config.floatX = "float32"  # the default is float64
cell = Cell(theano.__version__, packages={"lasagne": lasagne.__version__})
params = cell.params
on_gpu = theano.config.device.startswith("cuda")  # chosen by THEANO_FLAGS when Theano was imported
assert on_gpu == bool(cell.gpus), "Theano uses another kind of device: %s" % theano.config.device

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NCHW")


# --- Model ----------------------------------------------------------------------------------------------------------
epsilon = np.nextafter(np.float32(params.epsilon), np.float32(1))  # Theano refuses less than 1e-5, as its float32 is


class BatchNormLayer(layers.Layer):  # Lasagne had none before its repository's version; this one only predicts
    def __init__(self, incoming):
        super().__init__(incoming)
        self.values = [
            self.add_param(lasagne.init.Constant(value), self.input_shape[1:2], name)
            for name, value in (("scale", 1), ("shift", 0), ("mean", 0), ("variance", 1))
        ]

    def get_output_for(self, input, **kwargs):
        return T.nnet.bn.batch_normalization_test(input, *self.values, axes="spatial", epsilon=epsilon)


def unit(x, outputs, size, stride=1):
    # without a bias: the normalisation has one
    x = layers.Conv2DLayer(x, outputs, size, stride, pad=size // 2, b=None, nonlinearity=None)
    return BatchNormLayer(x)


def relu(x):
    return layers.NonlinearityLayer(x)  # a rectifier by default


def block(x, width, stride):
    y = relu(unit(x, width, 1))
    y = relu(unit(y, width, 3, stride))  # version 1.5: the stride lies on the 3×3 convolution
    y = unit(y, 4 * width, 1)
    shortcut = unit(x, 4 * width, 1, stride) if x.output_shape[1] != 4 * width else x
    return relu(layers.ElemwiseSumLayer([y, shortcut]))


def build(images):
    x = layers.InputLayer((None, 3, params.image_size, params.image_size), images)
    x = relu(unit(x, 64, 7, 2))
    x = layers.MaxPool2DLayer(x, 3, stride=2, pad=1)
    for stage, (count, width) in enumerate(zip(params.blocks, params.widths)):
        for number in range(count):
            x = block(x, width, stride=2 if stage and number == 0 else 1)
    return layers.GlobalPoolLayer(x)


images = T.tensor4("images")
network = build(images)

# --- Prediction -----------------------------------------------------------------------------------------------------
predict = theano.function([images], layers.get_output(network, deterministic=True))  # compiled here: phase "build"


# --- Weights --------------------------------------------------------------------------------------------------------
def flip(arrays):
    """Turn filters by 180°: Theano convolves as mathematicians do, all others correlate."""
    return [array[:, :, ::-1, ::-1] if array.ndim == 4 else array for array in arrays]


def set_weights(arrays):
    layers.set_all_param_values(network, flip(arrays))


def get_weights():
    return flip(layers.get_all_param_values(network))


weights = Weights(get_weights, set_weights)
cell.run(data, predict, weights=weights)
