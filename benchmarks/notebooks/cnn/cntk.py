"""CNN in CNTK: a Trainer that is fed a dictionary per batch, with one-hot labels."""

import cntk as C
from cntk.layers import Convolution2D, Dense, Dropout, MaxPooling

from common import EPOCHS, Clock, arrays, minibatches, parameters

params = parameters("cnn")
few, many = params.filters
drop1, drop2, drop3 = params.dropout
x_train, y_train = arrays("cnn", one_hot=True)


def create_symbol(x):
    with C.layers.default_options(init=C.glorot_uniform(), activation=C.relu):
        x = Convolution2D(filter_shape=(3, 3), num_filters=few, pad=True)(x)
        x = Convolution2D(filter_shape=(3, 3), num_filters=few, pad=True)(x)
        x = MaxPooling(filter_shape=(2, 2), strides=(2, 2), pad=False)(x)
        x = Dropout(drop1)(x)
        x = Convolution2D(filter_shape=(3, 3), num_filters=many, pad=True)(x)
        x = Convolution2D(filter_shape=(3, 3), num_filters=many, pad=True)(x)
        x = MaxPooling(filter_shape=(2, 2), strides=(2, 2), pad=False)(x)
        x = Dropout(drop2)(x)
        x = Dense(params.hidden)(x)
        x = Dropout(drop3)(x)
        return Dense(params.n_classes, activation=None)(x)


features = C.input_variable((3, 32, 32))
labels = C.input_variable(params.n_classes)
model = create_symbol(features)
loss = C.cross_entropy_with_softmax(model, labels)
learner = C.momentum_sgd(model.parameters, lr=params.learning_rate, momentum=params.momentum, unit_gain=False)
trainer = C.Trainer(model, loss, [learner])

clock = Clock(C.__version__)
for _ in range(EPOCHS):
    for x, y in minibatches(x_train, y_train, params.batch_size):
        trainer.train_minibatch({features: x, labels: y})
    clock.lap()
