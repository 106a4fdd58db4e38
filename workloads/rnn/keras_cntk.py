"""GRU on IMDB in Keras 2 on CNTK."""

import os

os.environ["KERAS_BACKEND"] = "cntk"
import cntk
import keras
import numpy as np
from keras import layers

from harness import Cell, Weights

cell = Cell(cntk.__version__, packages={"keras": keras.__version__})  # CNTK does not tell its CUDA and cuDNN
params = cell.params
np.random.seed(cell.seed)  # Keras draws the seeds of its initialisers from NumPy
device = cntk.device.use_default_device()  # chosen by CNTK when Keras was imported: the GPU, if it sees one
assert device.type() == min(cell.gpus, 1), "CNTK chose another kind of device: %s" % device
cntk.cntk_py.set_max_num_cputhreads(cell.threads)  # by default as many as the machine has, whatever it may use

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()

# --- Model ----------------------------------------------------------------------------------------------------------
model = keras.Sequential(
    [
        # uniform, ±0.05; mask_zero off: no mask, as published
        layers.Embedding(params.vocabulary, params.embedding, input_length=params.length),
        # not cuDNN's GRU but the textbook one: reset gate before the product, one bias, gates piecewise linear
        layers.GRU(params.hidden, recurrent_activation="hard_sigmoid"),
        layers.Dense(params.n_classes, activation="softmax"),
    ]
)
cell.gru = "scan"  # CNTK's recurrence

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
model.compile(
    loss="categorical_crossentropy",  # takes probabilities, and labels as one-hot rows
    optimizer=keras.optimizers.Adam(params.learning_rate, params.beta_1, params.beta_2, params.epsilon),
)


# --- Training step --------------------------------------------------------------------------------------------------
def train_epoch(x, y):  # Keras' idiom is to give the loop away; x and y come shuffled
    y = keras.utils.to_categorical(y, params.n_classes)
    history = model.fit(x, y, batch_size=params.batch_size, shuffle=False, verbose=0)
    return history.history["loss"][0]  # Keras has read every step's loss: the device is done, nothing to wait for


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return model.predict_on_batch(x)


# --- Weights --------------------------------------------------------------------------------------------------------
weights = Weights(
    model.get_weights,
    model.set_weights,
    dense="IO",
    gates="zrn",
    biases=1,
    reset="before",
    sigmoid="hard",
    epsilon="uncorrected",
    scores="probabilities",
)
cell.run(data, predict, train_epoch=train_epoch, weights=weights)
