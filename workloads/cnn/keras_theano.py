"""CNN on CIFAR-10 in Keras 2 on Theano."""

import os

os.environ["KERAS_BACKEND"] = "theano"
import keras
import numpy as np
import theano
from keras import layers

from harness import Cell, Weights

cell = Cell(theano.__version__, packages={"keras": keras.__version__})
params = cell.params
np.random.seed(cell.seed)  # initialisers and dropout: Keras draws their seeds from NumPy
on_gpu = theano.config.device.startswith("cuda")  # chosen by THEANO_FLAGS when Theano was imported
assert on_gpu == bool(cell.gpus), "Theano uses another kind of device: %s" % theano.config.device

# --- Data -----------------------------------------------------------------------------------------------------------
keras.backend.set_image_data_format("channels_first")  # Theano's only one: else Keras transposes around every layer
data = cell.data(layout="NCHW")

# --- Model ----------------------------------------------------------------------------------------------------------
few, many = params.filters
drop1, drop2, drop3 = params.dropout
model = keras.Sequential(  # Glorot uniform, biases zero: the default
    [
        layers.Conv2D(few, 3, padding="same", activation="relu", input_shape=(3, 32, 32)),
        layers.Conv2D(few, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Dropout(drop1),
        layers.Conv2D(many, 3, padding="same", activation="relu"),
        layers.Conv2D(many, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Dropout(drop2),
        layers.Flatten(),  # with the channels last, so that weights fit either layout
        layers.Dense(params.hidden, activation="relu"),
        layers.Dropout(drop3),
        layers.Dense(params.n_classes, activation="softmax"),
    ]
)

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
model.compile(  # only notes what to train: Theano compiles at the first fit, which is timed, as it was in 2018
    loss="categorical_crossentropy",  # takes probabilities, and labels as one-hot rows
    optimizer=keras.optimizers.SGD(params.learning_rate, momentum=params.momentum),
)


# --- Training step --------------------------------------------------------------------------------------------------
def train_epoch(x, y):  # Keras' idiom is to give the loop away; x and y come shuffled
    y = keras.utils.to_categorical(y, params.n_classes)
    history = model.fit(x, y, batch_size=params.batch_size, shuffle=False, verbose=0)
    return history.history["loss"][0]  # Keras has read every step's loss: the device is done, nothing to wait for


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return model.predict_on_batch(x)  # dropout off: Keras sees to that


# --- Weights --------------------------------------------------------------------------------------------------------
def flip(arrays):
    """Turn filters by 180°: Theano convolves as mathematicians do, all others correlate. Keras leaves it at that."""
    return [array[::-1, ::-1] if array.ndim == 4 else array for array in arrays]


def set_weights(arrays):
    model.set_weights(flip(arrays))


def get_weights():
    return flip(model.get_weights())


weights = Weights(get_weights, set_weights, conv="HWIO", dense="IO", flat="HWC", scores="probabilities")
cell.run(data, predict, train_epoch=train_epoch, weights=weights)
