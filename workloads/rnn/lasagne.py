"""GRU on IMDB in Lasagne, layers for Theano's graphs."""

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
lasagne.random.set_rng(np.random.RandomState(cell.seed))  # for initialisers
on_gpu = theano.config.device.startswith("cuda")  # chosen by THEANO_FLAGS when Theano was imported
assert on_gpu == bool(cell.gpus), "Theano uses another kind of device: %s" % theano.config.device

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()


# --- Model ----------------------------------------------------------------------------------------------------------
def build(tokens):
    x = layers.InputLayer((None, params.length), tokens)
    x = layers.EmbeddingLayer(x, params.vocabulary, params.embedding)  # N(0, 0.01); no mask, as published
    # N(0, 0.1); reset gate after the product as in cuDNN's GRU, but one bias. By default, the first state is learned.
    x = layers.GRULayer(x, params.hidden, learn_init=False)
    x = layers.SliceLayer(x, -1, axis=1)  # of all states the last, that after the padding
    return layers.DenseLayer(x, params.n_classes, nonlinearity=lasagne.nonlinearities.softmax)


tokens, labels = T.imatrix("tokens"), T.ivector("labels")
network = build(tokens)
cell.gru = "scan"

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
probabilities = layers.get_output(network)
loss = lasagne.objectives.categorical_crossentropy(probabilities, labels).mean()  # Theano sees the softmax, and fuses
updates = lasagne.updates.adam(
    loss,
    layers.get_all_params(network, trainable=True),
    params.learning_rate,
    params.beta_1,
    params.beta_2,
    params.epsilon,
)

# --- Training step --------------------------------------------------------------------------------------------------
# The graph becomes C++, which is compiled here: in 2018 before anything was timed, now within the clock, as for others.
with cell.compiling("Theano"):
    train_step = theano.function([tokens, labels], loss, updates=updates)

# --- Prediction -----------------------------------------------------------------------------------------------------
predict = theano.function([tokens], layers.get_output(network, deterministic=True))


# --- Weights --------------------------------------------------------------------------------------------------------
# Each gate has its own matrices and bias, in the order update, reset, new; and the update gate says how much of the
# state is new, not how much stays. One minus the others' gate: the logistic function of the opposite sum.
def set_weights(arrays):
    embedding, *gru, weight, bias = arrays
    update, reset, new = zip(*(np.split(array, 3, axis=-1) for array in gru))
    values = [embedding, *(-array for array in update), *reset, *new, weight, bias]
    layers.set_all_param_values(network, values, trainable=True)  # the first state is a parameter too


def get_weights():
    embedding, *gru, weight, bias = layers.get_all_param_values(network, trainable=True)
    update, reset, new = [-array for array in gru[:3]], gru[3:6], gru[6:]
    gates = [np.concatenate(arrays, axis=-1) for arrays in zip(update, reset, new)]
    return [embedding, *gates, weight, bias]


weights = Weights(
    get_weights, set_weights, dense="IO", gates="zrn", biases=1, epsilon="uncorrected", scores="probabilities"
)
cell.run(data, predict, train_step, weights=weights)
