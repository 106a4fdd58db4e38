"""CNN in Keras 2, on any backend: one-hot labels, and fit."""

import importlib

from common import EPOCHS, Clock, arrays, keras_backend, parameters

backend = keras_backend()
import keras
from keras import layers

params = parameters("cnn")
few, many = params.filters
drop1, drop2, drop3 = params.dropout
channels_first = backend != "tensorflow"  # which has no such convolution on a CPU
x_train, y_train = arrays("cnn", channels_first, one_hot=True)
keras.backend.set_image_data_format("channels_first" if channels_first else "channels_last")

model = keras.models.Sequential()
model.add(layers.Conv2D(few, kernel_size=(3, 3), padding="same", activation="relu", input_shape=x_train.shape[1:]))
model.add(layers.Conv2D(few, kernel_size=(3, 3), padding="same", activation="relu"))
model.add(layers.MaxPooling2D(pool_size=(2, 2), strides=(2, 2)))
model.add(layers.Dropout(drop1))
model.add(layers.Conv2D(many, kernel_size=(3, 3), padding="same", activation="relu"))
model.add(layers.Conv2D(many, kernel_size=(3, 3), padding="same", activation="relu"))
model.add(layers.MaxPooling2D(pool_size=(2, 2), strides=(2, 2)))
model.add(layers.Dropout(drop2))
model.add(layers.Flatten())
model.add(layers.Dense(params.hidden, activation="relu"))
model.add(layers.Dropout(drop3))
model.add(layers.Dense(params.n_classes, activation="softmax"))

optimizer = keras.optimizers.SGD(lr=params.learning_rate, momentum=params.momentum, nesterov=False)
model.compile(loss="categorical_crossentropy", optimizer=optimizer)

framework = keras if backend == "tensorflow" else importlib.import_module(backend)
clock = Clock(framework.__version__)
after_epoch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: clock.lap())
model.fit(x_train, y_train, batch_size=params.batch_size, epochs=EPOCHS, verbose=0, callbacks=[after_epoch])
