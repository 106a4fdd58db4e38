"""GRU on IMDB in Keras 3 on JAX, an epoch as one program."""

import os

os.environ["KERAS_BACKEND"] = "jax"  # or "tensorflow", or "torch": the model below runs on any of them
import jax
import jax.numpy as jnp
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


def upload(arrays):
    global x_train, y_train
    x_train, y_train = jax.block_until_ready(jax.device_put((arrays.x_train, arrays.y_train)))


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
loss_function = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = keras.optimizers.Adam(params.learning_rate, params.beta_1, params.beta_2, params.epsilon)
optimizer.build(model.trainable_variables)
kinds = model.trainable_variables, model.non_trainable_variables, optimizer.variables


# --- Training step --------------------------------------------------------------------------------------------------
def epoch(state, x_train, y_train, order, count):  # a loop within the program, of any number of steps
    def step(place, carry):  # Keras without its variables: all goes in, and comes out
        trained, others, moments, losses = carry

        def loss_of(trained):
            scores, after = model.stateless_call(trained, others, x_train[order[place]], training=True)
            return loss_function(y_train[order[place]], scores), after

        (loss, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(trained)
        trained, moments = optimizer.stateless_apply(moments, gradients, trained)
        return trained, others, moments, losses.at[place].set(loss)

    return jax.lax.fori_loop(0, count, step, (*state, jnp.zeros(len(order))))


program = None


def train_indices(order):
    global program
    state = tuple([variable.value for variable in kind] for kind in kinds)
    padded = np.zeros((max(len(order), len(x_train) // params.batch_size), params.batch_size), np.int32)
    padded[: len(order)] = order
    if program is None:
        with cell.compiling("XLA"):  # donated: new weights are written over the old
            program = jax.jit(epoch, donate_argnums=0).lower(state, x_train, y_train, padded, len(order)).compile()
    *state, losses = program(state, x_train, y_train, padded, len(order))
    for kind, values in zip(kinds, state):
        for variable, value in zip(kind, values):
            variable.assign(value)
    return jax.device_get(losses)[: len(order)]


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
    upload=upload,
    train_indices=train_indices,
    synchronize=lambda: jax.block_until_ready([variable.value for variable in model.variables]),
    weights=weights,
)
