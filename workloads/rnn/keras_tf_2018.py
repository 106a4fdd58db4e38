"""GRU on IMDB in Keras 2 on TensorFlow 1.12, of 2018."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # CNTK and Theano have no GRU of this form: see keras_cntk.py
import keras
import numpy as np
import tensorflow as tf
from keras import layers

from harness import Cell, Weights

cell = Cell(keras.__version__, packages={"tensorflow": tf.__version__})  # TensorFlow does not tell its CUDA and cuDNN
params = cell.params
np.random.seed(cell.seed)  # initialisers: Keras draws their seeds from NumPy
tf.set_random_seed(cell.seed)  # of the graph; without it those seeds would be only half of each operation's
assert not cell.gpus or tf.test.is_gpu_available(), "TensorFlow sees no GPU, and would use the CPU without a word"

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()


# --- Model ----------------------------------------------------------------------------------------------------------
def gru():
    if cell.gpus:
        return layers.CuDNNGRU(params.hidden)
    # The same on a CPU: reset gate after the product, two biases, neither of which is the default; nor is the logistic
    # function, to which Keras 2 prefers a piecewise linear one.
    return layers.GRU(params.hidden, reset_after=True, recurrent_activation="sigmoid")


model = keras.Sequential(
    [
        # uniform, ±0.05; mask_zero off: no mask, as published
        layers.Embedding(params.vocabulary, params.embedding, input_length=params.length),
        gru(),
        layers.Dense(params.n_classes, activation="softmax"),
    ]
)
cell.gru = "cudnn" if cell.gpus else "scan"

# --- Loss and optimiser ---------------------------------------------------------------------------------------------


class Adam(keras.optimizers.Adam):
    def get_gradients(self, loss, params):  # all before any: else Keras may write a weight that one still has to read
        return tf.tuple(super().get_gradients(loss, params))

    def get_updates(self, loss, params):  # Keras counts a step while Adam may still have to read how many there were
        updates = super().get_updates(loss=loss, params=params)
        with tf.control_dependencies(updates[1:]):
            return [keras.backend.update_add(self.iterations, 1), *updates[1:]]


model.compile(
    loss="sparse_categorical_crossentropy",  # takes probabilities, and labels as class indices
    optimizer=Adam(params.learning_rate, params.beta_1, params.beta_2, params.epsilon),
)


# --- Training step --------------------------------------------------------------------------------------------------
def train_epoch(x, y):  # Keras' idiom is to give the loop away; x and y come shuffled
    history = model.fit(x, y, batch_size=params.batch_size, shuffle=False, verbose=0)
    return history.history["loss"][0]  # Keras has read every step's loss: the device is done, nothing to wait for


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return model.predict_on_batch(x)


# --- Weights --------------------------------------------------------------------------------------------------------
biases = model.get_weights()[3].shape  # a row for each of the two; of CuDNNGRU, one after the other


def of_cudnn(matrix, back=False):  # each gate's matrix lies in CuDNNGRU's as cuDNN reads it, (out, in), under its shape
    gates = np.split(matrix, 3, axis=1)
    return np.hstack([gate.reshape(gate.shape[::-1]).T if back else gate.T.reshape(gate.shape) for gate in gates])


def get_weights():
    embedding, inputs, state, bias, *dense = model.get_weights()
    if cell.gpus:
        inputs, state = of_cudnn(inputs, back=True), of_cudnn(state, back=True)
    return [embedding, inputs, state, *bias.reshape(2, -1), *dense]


def set_weights(arrays):
    embedding, inputs, state, input_bias, state_bias, *dense = arrays
    if cell.gpus:
        inputs, state = of_cudnn(inputs), of_cudnn(state)
    model.set_weights([embedding, inputs, state, np.reshape([input_bias, state_bias], biases), *dense])


weights = Weights(get_weights, set_weights, dense="IO", gates="zrn", epsilon="uncorrected", scores="probabilities")
cell.run(data, predict, train_epoch=train_epoch, weights=weights)
