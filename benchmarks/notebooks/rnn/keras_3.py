"""GRU in Keras 3, on any backend: a softmax at the end, one-hot labels, and fit."""

from common import EPOCHS, Clock, arrays, keras_backend, parameters

backend = keras_backend()
import keras
from keras import layers

params = parameters("rnn")
x_train, y_train = arrays("rnn", one_hot=True)

model = keras.Sequential()
model.add(keras.Input((params.length,), dtype="int32"))
model.add(layers.Embedding(params.vocabulary, params.embedding))
model.add(layers.GRU(params.hidden, return_sequences=False))
model.add(layers.Dense(params.n_classes, activation="softmax"))

optimizer = keras.optimizers.Adam(
    learning_rate=params.learning_rate, beta_1=params.beta_1, beta_2=params.beta_2, epsilon=params.epsilon
)
model.compile(loss="categorical_crossentropy", optimizer=optimizer)

clock = Clock(keras.__version__)
after_epoch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: clock.lap())
model.fit(x_train, y_train, batch_size=params.batch_size, epochs=EPOCHS, verbose=0, callbacks=[after_epoch])
