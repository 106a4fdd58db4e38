"""GRU on IMDB in Keras on CNTK."""
import os

os.environ["KERAS_BACKEND"] = "cntk"

import cntk
import keras
import numpy as np
from keras.layers import GRU, Dense, Embedding
from keras.models import Sequential
from keras.optimizers import Adam
from keras.utils import to_categorical

from harness import Cell

cell = Cell(keras.__version__, packages={"cntk": cntk.__version__})  # runs on the first GPU if there is one
params = cell.params
np.random.seed(cell.seed)  # Keras draws the seeds of its initialisers from NumPy
cntk.cntk_py.set_fixed_random_seed(cell.seed)

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()

# --- Model ----------------------------------------------------------------------------------------------------------
model = Sequential([
    Embedding(params.vocabulary, params.embedding, input_length=params.length),  # uniform, ±0.05
    GRU(params.hidden, recurrent_activation="hard_sigmoid"),  # the textbook GRU: reset gate before the product, one bias
    Dense(params.n_classes, activation="softmax"),
])

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
model.compile(
    loss="categorical_crossentropy",  # takes probabilities
    optimizer=Adam(lr=params.learning_rate, beta_1=params.beta_1, beta_2=params.beta_2, epsilon=params.epsilon),
)


# --- Training step --------------------------------------------------------------------------------------------------
def train_epoch(x, y):
    y = to_categorical(y, params.n_classes)
    history = model.fit(x, y, batch_size=params.batch_size, epochs=1, shuffle=False, verbose=0)
    return history.history["loss"][0]  # Keras reads the loss after every step, which waits for the device


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return model.predict_on_batch(x)


cell.run(data, predict, train_epoch=train_epoch)
