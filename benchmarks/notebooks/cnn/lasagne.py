"""CNN in Lasagne: one compiled function, called with arrays per batch."""

import theano
import theano.tensor as T
from theano.tensor.signal import pool

pool.max_pool_2d = pool.pool_2d  # Lasagne 0.1 looks for it under its name of 2015
T.signal.downsample = pool
import lasagne
import lasagne.layers as L

from common import EPOCHS, Clock, arrays, minibatches, parameters

theano.config.floatX = "float32"
params = parameters("cnn")
few, many = params.filters
drop1, drop2, drop3 = params.dropout
x_train, y_train = arrays("cnn")


def create_symbol(x):
    network = L.InputLayer(shape=(None, 3, 32, 32), input_var=x)
    network = L.Conv2DLayer(network, num_filters=few, filter_size=3, pad=1)
    network = L.Conv2DLayer(network, num_filters=few, filter_size=3, pad=1)
    network = L.DropoutLayer(L.MaxPool2DLayer(network, pool_size=2, stride=2), p=drop1)
    network = L.Conv2DLayer(network, num_filters=many, filter_size=3, pad=1)
    network = L.Conv2DLayer(network, num_filters=many, filter_size=3, pad=1)
    network = L.DropoutLayer(L.MaxPool2DLayer(network, pool_size=2, stride=2), p=drop2)
    network = L.DropoutLayer(L.DenseLayer(network, num_units=params.hidden), p=drop3)
    return L.DenseLayer(network, num_units=params.n_classes, nonlinearity=lasagne.nonlinearities.softmax)


features, labels = T.tensor4("features"), T.ivector("labels")
network = create_symbol(features)
loss = lasagne.objectives.categorical_crossentropy(L.get_output(network), labels).mean()
weights = L.get_all_params(network, trainable=True)
updates = lasagne.updates.momentum(loss, weights, learning_rate=params.learning_rate, momentum=params.momentum)
train = theano.function([features, labels], loss, updates=updates)

clock = Clock(theano.__version__)
for _ in range(EPOCHS):
    for x, y in minibatches(x_train, y_train, params.batch_size):
        train(x, y)
    clock.lap()
