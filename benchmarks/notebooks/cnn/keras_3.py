"""CNN in Keras 3, on any backend: a softmax at the end, one-hot labels, and fit."""

from common import EPOCHS, Clock, arrays, keras_backend, parameters

backend = keras_backend()
import keras
from keras import layers

params = parameters("cnn")
few, many = params.filters
drop1, drop2, drop3 = params.dropout
x_train, y_train = arrays("cnn", channels_first=False, one_hot=True)

model = keras.Sequential()
model.add(keras.Input((32, 32, 3)))
model.add(layers.Conv2D(few, 3, padding="same", activation="relu"))
model.add(layers.Conv2D(few, 3, padding="same", activation="relu"))
model.add(layers.MaxPooling2D(2, 2))
model.add(layers.Dropout(drop1))
model.add(layers.Conv2D(many, 3, padding="same", activation="relu"))
model.add(layers.Conv2D(many, 3, padding="same", activation="relu"))
model.add(layers.MaxPooling2D(2, 2))
model.add(layers.Dropout(drop2))
model.add(layers.Flatten())
model.add(layers.Dense(params.hidden, activation="relu"))
model.add(layers.Dropout(drop3))
model.add(layers.Dense(params.n_classes, activation="softmax"))

optimizer = keras.optimizers.SGD(learning_rate=params.learning_rate, momentum=params.momentum)
model.compile(loss="categorical_crossentropy", optimizer=optimizer)

clock = Clock(keras.__version__)
after_epoch = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: clock.lap())
model.fit(x_train, y_train, batch_size=params.batch_size, epochs=EPOCHS, verbose=0, callbacks=[after_epoch])
