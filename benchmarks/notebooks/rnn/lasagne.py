"""GRU in Lasagne: one compiled function, called with arrays per batch."""

import theano
import theano.tensor as T
from theano.tensor.signal import pool

pool.max_pool_2d = pool.pool_2d  # Lasagne 0.1 looks for it under its name of 2015
T.signal.downsample = pool
import lasagne
import lasagne.layers as L

from common import EPOCHS, Clock, arrays, minibatches, parameters

theano.config.floatX = "float32"
params = parameters("rnn")
x_train, y_train = arrays("rnn")


def create_symbol(x):
    network = L.InputLayer(shape=(None, params.length), input_var=x)
    network = L.EmbeddingLayer(network, input_size=params.vocabulary, output_size=params.embedding)
    network = L.GRULayer(network, num_units=params.hidden)
    network = L.SliceLayer(network, indices=-1, axis=1)
    return L.DenseLayer(network, num_units=params.n_classes, nonlinearity=lasagne.nonlinearities.softmax)


features, labels = T.imatrix("features"), T.ivector("labels")
network = create_symbol(features)
loss = lasagne.objectives.categorical_crossentropy(L.get_output(network), labels).mean()
weights = L.get_all_params(network, trainable=True)
updates = lasagne.updates.adam(
    loss, weights, params.learning_rate, beta1=params.beta_1, beta2=params.beta_2, epsilon=params.epsilon
)
train = theano.function([features, labels], loss, updates=updates)

clock = Clock(theano.__version__)
for _ in range(EPOCHS):
    for x, y in minibatches(x_train, y_train, params.batch_size):
        train(x, y)
    clock.lap()
