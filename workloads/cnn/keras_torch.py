"""CNN on CIFAR-10 in Keras 3 on PyTorch."""

import os

os.environ["KERAS_BACKEND"] = "torch"  # or "jax", or "tensorflow": the model below runs on any of them
import keras
import torch
from keras import layers

from harness import Cell, Weights

precisions = ("fp32", "tf32", "amp-fp16", "amp-bf16")
packages = {"torch": torch.__version__}
cell = Cell(keras.__version__, torch.version.cuda, torch.backends.cudnn.version(), packages, precisions)
params = cell.params
keras.utils.set_random_seed(cell.seed)
assert torch.cuda.is_available() == (cell.gpus > 0), "Keras takes the GPU if PyTorch sees one, without a word"
torch.backends.cudnn.benchmark = True  # shapes never change, so the search for the fastest kernel pays
policies = {"amp-fp16": "mixed_float16", "amp-bf16": "mixed_bfloat16"}
keras.config.set_dtype_policy(policies.get(cell.precision, "float32"))
cell.settle_precision("torch", keras.config.dtype_policy())  # cuDNN's is tf32 by default

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NHWC")  # Keras' default, "channels_last": on a CPU a tenth faster here than "channels_first"

# --- Model ----------------------------------------------------------------------------------------------------------
few, many = params.filters
drop1, drop2, drop3 = params.dropout
model = keras.Sequential(  # Glorot uniform, biases zero: the default
    [
        layers.Input((32, 32, 3)),
        layers.Conv2D(few, 3, padding="same", activation="relu"),
        layers.Conv2D(few, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Dropout(drop1),
        layers.Conv2D(many, 3, padding="same", activation="relu"),
        layers.Conv2D(many, 3, padding="same", activation="relu"),
        layers.MaxPooling2D(2),
        layers.Dropout(drop2),
        layers.Flatten(),
        layers.Dense(params.hidden, activation="relu"),
        layers.Dropout(drop3),
        layers.Dense(params.n_classes, dtype="float32"),  # logits: no softmax here, the loss has it
    ]
)

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
model.compile(  # step by step, as PyTorch itself: jit_compile=True would hand the step to torch.compile
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    optimizer=keras.optimizers.SGD(params.learning_rate, momentum=params.momentum),
)


# --- Training step --------------------------------------------------------------------------------------------------
def train_epoch(x, y):  # Keras' idiom is to give the loop away; x and y come shuffled
    history = model.fit(x, y, batch_size=params.batch_size, shuffle=False, verbose=0)
    return history.history["loss"][0]


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return model.predict_on_batch(x)  # dropout off: Keras sees to that


# --- Weights --------------------------------------------------------------------------------------------------------
weights = Weights(model.get_weights, model.set_weights, conv="HWIO", dense="IO", flat="HWC")
synchronize = torch.cuda.synchronize if cell.gpus else None
cell.run(data, predict, train_epoch=train_epoch, synchronize=synchronize, weights=weights)
