"""CNN on CIFAR-10 in Lasagne, layers for Theano's graphs."""

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
lasagne.random.set_rng(np.random.RandomState(cell.seed))  # for initialisers and the seeds of dropout
on_gpu = theano.config.device.startswith("cuda")  # chosen by THEANO_FLAGS when Theano was imported
assert on_gpu == bool(cell.gpus), "Theano uses another kind of device: %s" % theano.config.device

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NCHW")


# --- Model ----------------------------------------------------------------------------------------------------------
def build(images):
    few, many = params.filters
    drop1, drop2, drop3 = params.dropout
    # Rectifiers, Glorot uniform, biases zero: the default. Padding by number: "same" is a full convolution, cropped.
    x = layers.InputLayer((None, 3, 32, 32), images)
    x = layers.Conv2DLayer(x, few, 3, pad=1)
    x = layers.Conv2DLayer(x, few, 3, pad=1)
    x = layers.DropoutLayer(layers.MaxPool2DLayer(x, 2), drop1)
    x = layers.Conv2DLayer(x, many, 3, pad=1)
    x = layers.Conv2DLayer(x, many, 3, pad=1)
    x = layers.DropoutLayer(layers.MaxPool2DLayer(x, 2), drop2)
    x = layers.DenseLayer(x, params.hidden)  # flattens by itself
    x = layers.DropoutLayer(x, drop3)
    return layers.DenseLayer(x, params.n_classes, nonlinearity=lasagne.nonlinearities.softmax)


images, labels = T.tensor4("images"), T.ivector("labels")
network = build(images)

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
probabilities = layers.get_output(network)
loss = lasagne.objectives.categorical_crossentropy(probabilities, labels).mean()  # Theano sees the softmax, and fuses
updates = lasagne.updates.momentum(  # descends by velocity = momentum * velocity - rate * gradient
    loss, layers.get_all_params(network, trainable=True), params.learning_rate, params.momentum
)

# --- Training step --------------------------------------------------------------------------------------------------
# The graph becomes C++, which is compiled here: in 2018 before anything was timed, now within the clock, as for others.
with cell.compiling("Theano"):
    train_step = theano.function([images, labels], loss, updates=updates)

# --- Prediction -----------------------------------------------------------------------------------------------------
predict = theano.function([images], layers.get_output(network, deterministic=True))  # dropout off


# --- Weights --------------------------------------------------------------------------------------------------------
def flip(arrays):
    """Turn filters by 180°: Theano convolves as mathematicians do, all others correlate."""
    return [array[:, :, ::-1, ::-1] if array.ndim == 4 else array for array in arrays]


def set_weights(arrays):
    layers.set_all_param_values(network, flip(arrays))


def get_weights():
    return flip(layers.get_all_param_values(network))


weights = Weights(get_weights, set_weights, dense="IO", scores="probabilities")
cell.run(data, predict, train_step, weights=weights)
