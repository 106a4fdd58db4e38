"""GRU on IMDB in Keras 3 on PyTorch."""

import os

os.environ["KERAS_BACKEND"] = "torch"  # or "jax", or "tensorflow": the model below runs on any of them
import keras
import numpy as np
import torch
from keras import layers

from harness import Cell, Weights

precisions = ("fp32", "tf32", "amp-fp16", "amp-bf16")
packages = {"torch": torch.__version__}
cell = Cell(keras.__version__, torch.version.cuda, torch.backends.cudnn.version(), packages, precisions)
params = cell.params
keras.utils.set_random_seed(cell.seed)
assert torch.cuda.is_available() == (cell.gpus > 0), "Keras takes the GPU if PyTorch sees one, without a word"
policies = {"amp-fp16": "mixed_float16", "amp-bf16": "mixed_bfloat16"}
keras.config.set_dtype_policy(policies.get(cell.precision, "float32"))
cell.settle_precision("torch", keras.config.dtype_policy())  # cuDNN's is tf32 by default

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()

# --- Model ----------------------------------------------------------------------------------------------------------
model = keras.Sequential(
    [
        layers.Input((params.length,), dtype="int32"),
        layers.Embedding(params.vocabulary, params.embedding),  # uniform, ±0.05; mask_zero off: no mask, as published
        layers.GRU(params.hidden),  # reset gate after the product, two biases: cuDNN, or a loop in Python
        layers.Dense(params.n_classes, dtype="float32"),  # logits: no softmax here, the loss has it
    ]
)


def which_gru():  # Keras takes the loop without a word if cuDNN refuses, so the graph of gradients has to tell
    nodes, found = [model(np.zeros((1, params.length), np.int32), training=True).grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is not None and node not in found:
            found.add(node)
            nodes += [before for before, _ in node.next_functions]
    gru = "cudnn" if any(node.name().startswith("CudnnRnn") for node in found) else "loop"
    assert gru == "cudnn" or not cell.gpus, "cuDNN has refused this GRU, and Keras took a loop in Python"
    return gru


cell.gru = which_gru  # asked when all is done, so that nothing is warm before

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
model.compile(
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    optimizer=keras.optimizers.Adam(params.learning_rate, params.beta_1, params.beta_2, params.epsilon),
)


# --- Training step --------------------------------------------------------------------------------------------------
def train_epoch(x, y):  # Keras' idiom is to give the loop away; x and y come shuffled
    history = model.fit(x, y, batch_size=params.batch_size, shuffle=False, verbose=0)
    return history.history["loss"][0]


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return model.predict_on_batch(x)


# --- Weights --------------------------------------------------------------------------------------------------------
def get_weights():
    embedding, inputs, state, (input_bias, state_bias), weight, bias = model.get_weights()
    return [embedding, inputs, state, input_bias, state_bias, weight, bias]


def set_weights(arrays):
    embedding, inputs, state, input_bias, state_bias, weight, bias = arrays
    model.set_weights([embedding, inputs, state, np.stack([input_bias, state_bias]), weight, bias])


weights = Weights(get_weights, set_weights, dense="IO", gates="zrn", epsilon="uncorrected")
synchronize = torch.cuda.synchronize if cell.gpus else None
cell.run(data, predict, train_epoch=train_epoch, synchronize=synchronize, weights=weights)
