"""CNN on CIFAR-10 in Keras 2 on CNTK."""

import os

os.environ["KERAS_BACKEND"] = "cntk"
import cntk
import keras
import numpy as np
from keras import layers

from harness import Cell, Weights

cell = Cell(cntk.__version__, packages={"keras": keras.__version__})  # CNTK does not tell its CUDA and cuDNN
params = cell.params
np.random.seed(cell.seed)  # initialisers: Keras draws their seeds from NumPy
cntk.cntk_py.set_fixed_random_seed(cell.seed)  # dropout: left to CNTK
device = cntk.device.use_default_device()  # chosen by CNTK when Keras was imported: the GPU, if it sees one
assert device.type() == min(cell.gpus, 1), "CNTK chose another kind of device: %s" % device
cntk.cntk_py.set_max_num_cputhreads(cell.threads)  # by default as many as the machine has, whatever it may use

# --- Data -----------------------------------------------------------------------------------------------------------
keras.backend.set_image_data_format("channels_first")  # CNTK's only one: else Keras transposes around every layer
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
model.compile(
    loss="categorical_crossentropy",  # takes probabilities, and labels as one-hot rows
    optimizer=keras.optimizers.SGD(params.learning_rate, momentum=params.momentum),
)
model._make_train_function()  # else the first fit does it, and CNTK crashes if convolutions have predicted before that


# --- Training step --------------------------------------------------------------------------------------------------
def train_epoch(x, y):  # Keras' idiom is to give the loop away; x and y come shuffled
    y = keras.utils.to_categorical(y, params.n_classes)
    history = model.fit(x, y, batch_size=params.batch_size, shuffle=False, verbose=0)
    return history.history["loss"][0]  # Keras has read every step's loss: the device is done, nothing to wait for


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return model.predict_on_batch(x)  # dropout off: Keras sees to that


# --- Weights --------------------------------------------------------------------------------------------------------
weights = Weights(model.get_weights, model.set_weights, conv="HWIO", dense="IO", flat="HWC", scores="probabilities")
cell.run(data, predict, train_epoch=train_epoch, weights=weights)
