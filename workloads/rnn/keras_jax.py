"""GRU on IMDB in Keras 3 on JAX."""

import os

os.environ["KERAS_BACKEND"] = "jax"  # or "tensorflow", or "torch": the model below runs on any of them
import jax
import keras
import numpy as np
from jax._src.lib import cuda_versions  # None in a CPU build; there is no public name for it
from keras import layers

from harness import Cell, Weights

cuda = cuda_versions and cuda_versions.cuda_runtime_get_version()
cudnn = cuda_versions and cuda_versions.cudnn_get_version()
cell = Cell(keras.__version__, cuda, cudnn, {"jax": jax.__version__}, precisions=("fp32", "tf32", "amp-bf16"))
params = cell.params
keras.utils.set_random_seed(cell.seed)
jax.config.update("jax_default_device", jax.devices("gpu" if cell.gpus else "cpu")[0])
keras.config.set_dtype_policy("mixed_bfloat16" if cell.precision == "amp-bf16" else "float32")
cell.settle_precision("jax", keras.config.dtype_policy())  # newer GPUs take TF32 unless told by name

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()

# --- Model ----------------------------------------------------------------------------------------------------------
model = keras.Sequential(
    [
        layers.Input((params.length,), dtype="int32"),
        layers.Embedding(params.vocabulary, params.embedding),  # uniform, ±0.05; mask_zero off: no mask, as published
        layers.GRU(params.hidden),  # reset gate after the product, two biases: a scan, on a GPU too
        layers.Dense(params.n_classes, dtype="float32"),  # logits: no softmax here, the loss has it
    ]
)
cell.gru = "scan"

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
cell.run(  # synchronize: calls return at once
    data,
    predict,
    train_epoch=train_epoch,
    synchronize=lambda: jax.block_until_ready([variable.value for variable in model.variables]),
    weights=weights,
)
