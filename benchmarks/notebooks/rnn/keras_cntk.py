"""GRU in Keras 2 on CNTK: one-hot labels, and fit."""

import os

os.environ["KERAS_BACKEND"] = "cntk"
import cntk
import keras
from keras import layers

from common import EPOCHS, Clock, arrays, parameters

params = parameters("rnn")
x_train, y_train = arrays("rnn", one_hot=True)

model = keras.models.Sequential()
model.add(layers.Embedding(params.vocabulary, params.embedding, input_length=params.length))
model.add(layers.GRU(params.hidden, recurrent_activation="hard_sigmoid", return_sequences=False))
model.add(layers.Dense(params.n_classes, activation="softmax"))

optimizer = keras.optimizers.Adam(
    lr=params.learning_rate, beta_1=params.beta_1, beta_2=params.beta_2, epsilon=params.epsilon
)
model.compile(loss="categorical_crossentropy", optimizer=optimizer)

clock = Clock(cntk.__version__)
after_epoch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: clock.lap())
model.fit(x_train, y_train, batch_size=params.batch_size, epochs=EPOCHS, verbose=0, callbacks=[after_epoch])
