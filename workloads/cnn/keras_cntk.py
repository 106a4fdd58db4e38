"""CNN on CIFAR-10 in Keras on CNTK."""
import os

os.environ["KERAS_BACKEND"] = "cntk"

import cntk
import keras
import numpy as np
from keras.layers import Conv2D, Dense, Dropout, Flatten, MaxPooling2D
from keras.models import Sequential
from keras.optimizers import SGD
from keras.utils import to_categorical

from harness import Cell

cell = Cell(keras.__version__, packages={"cntk": cntk.__version__})  # runs on the first GPU if there is one
params = cell.params
np.random.seed(cell.seed)  # Keras draws the seeds of its initialisers from NumPy
cntk.cntk_py.set_fixed_random_seed(cell.seed)  # those of dropout are CNTK's

# --- Data -----------------------------------------------------------------------------------------------------------
keras.backend.set_image_data_format("channels_first")  # Keras' own default, last, is transposed by CNTK at every layer
data = cell.data(layout="NCHW")

# --- Model ----------------------------------------------------------------------------------------------------------
few, many = params.filters
drop1, drop2, drop3 = params.dropout

model = Sequential([  # weights are Glorot uniform, biases zero
    Conv2D(few, (3, 3), activation="relu", padding="same", input_shape=(3, 32, 32)),
    Conv2D(few, (3, 3), activation="relu", padding="same"),
    MaxPooling2D((2, 2)),
    Dropout(drop1),
    Conv2D(many, (3, 3), activation="relu", padding="same"),
    Conv2D(many, (3, 3), activation="relu", padding="same"),
    MaxPooling2D((2, 2)),
    Dropout(drop2),
    Flatten(),
    Dense(params.hidden, activation="relu"),
    Dropout(drop3),
    Dense(params.n_classes, activation="softmax"),
])

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
model.compile(
    loss="categorical_crossentropy",  # takes probabilities
    optimizer=SGD(lr=params.learning_rate, momentum=params.momentum),
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
