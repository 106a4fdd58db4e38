"""GRU in Keras 2, on any backend: one-hot labels, and fit."""

import importlib

from common import EPOCHS, Clock, arrays, keras_backend, parameters

backend = keras_backend()
import keras
from keras import layers

params = parameters("rnn")
x_train, y_train = arrays("rnn", one_hot=True)

model = keras.models.Sequential()
model.add(layers.Embedding(params.vocabulary, params.embedding, input_length=params.length))
if backend == "tensorflow":  # cuDNN's GRU, which the notebook of 2018 had, as a CPU has it
    form = {"recurrent_activation": "sigmoid", "reset_after": True}
else:
    form = {"recurrent_activation": "hard_sigmoid"}
model.add(layers.GRU(params.hidden, return_sequences=False, **form))
model.add(layers.Dense(params.n_classes, activation="softmax"))

optimizer = keras.optimizers.Adam(
    lr=params.learning_rate, beta_1=params.beta_1, beta_2=params.beta_2, epsilon=params.epsilon
)
model.compile(loss="categorical_crossentropy", optimizer=optimizer)

framework = keras if backend == "tensorflow" else importlib.import_module(backend)
clock = Clock(framework.__version__)
after_epoch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: clock.lap())
model.fit(x_train, y_train, batch_size=params.batch_size, epochs=EPOCHS, verbose=0, callbacks=[after_epoch])
