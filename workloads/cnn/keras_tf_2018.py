"""CNN on CIFAR-10 in Keras 2 on TensorFlow 1.12, of 2018."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # or "cntk", or "theano": the model below runs on any of them
import keras
import numpy as np
import tensorflow as tf
from keras import layers

from harness import Cell, Weights

cell = Cell(keras.__version__, packages={"tensorflow": tf.__version__})  # TensorFlow does not tell its CUDA and cuDNN
params = cell.params
np.random.seed(cell.seed)  # initialisers and dropout: Keras draws their seeds from NumPy
tf.set_random_seed(cell.seed)  # of the graph; without it those seeds would be only half of each operation's
assert not cell.gpus or tf.test.is_gpu_available(), "TensorFlow sees no GPU, and would use the CPU without a word"

# --- Data -----------------------------------------------------------------------------------------------------------
# NCHW, as published, is cuDNN's; TensorFlow has no such convolution on a CPU
layout, data_format = ("NCHW", "channels_first") if cell.gpus else ("NHWC", "channels_last")
keras.backend.set_image_data_format(data_format)
data = cell.data(layout=layout)

# --- Model ----------------------------------------------------------------------------------------------------------
few, many = params.filters
drop1, drop2, drop3 = params.dropout
model = keras.Sequential(  # Glorot uniform, biases zero: the default
    [
        layers.Conv2D(few, 3, padding="same", activation="relu", input_shape=data.x_train.shape[1:]),
        layers.Conv2D(few, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Dropout(drop1),
        layers.Conv2D(many, 3, padding="same", activation="relu"),
        layers.Conv2D(many, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Dropout(drop2),
        layers.Permute((2, 3, 1) if cell.gpus else (1, 2, 3)),  # the channels last, so that weights fit either layout
        layers.Reshape((-1,)),  # Flatten of Keras 2.1, which goes with TensorFlow 1.4, knows no layouts
        layers.Dense(params.hidden, activation="relu"),
        layers.Dropout(drop3),
        layers.Dense(params.n_classes, activation="softmax"),
    ]
)


# --- Loss and optimiser ---------------------------------------------------------------------------------------------
class SGD(keras.optimizers.SGD):
    def get_gradients(self, loss, params):  # all before any: else Keras may write a weight that one still has to read
        return tf.tuple(super().get_gradients(loss, params))


model.compile(
    loss="sparse_categorical_crossentropy",  # takes probabilities, and labels as class indices
    optimizer=SGD(params.learning_rate, momentum=params.momentum),
)


# --- Training step --------------------------------------------------------------------------------------------------
def train_epoch(x, y):  # Keras' idiom is to give the loop away; x and y come shuffled
    history = model.fit(x, y, batch_size=params.batch_size, shuffle=False, verbose=0)
    return history.history["loss"][0]  # Keras has read every step's loss: the device is done, nothing to wait for


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return model.predict_on_batch(x)  # dropout off: Keras sees to that


# --- Weights --------------------------------------------------------------------------------------------------------
weights = Weights(model.get_weights, model.set_weights, conv="HWIO", dense="IO", flat="HWC", scores="probabilities")
cell.run(data, predict, train_epoch=train_epoch, weights=weights)
