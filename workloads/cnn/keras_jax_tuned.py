"""CNN on CIFAR-10 in Keras 3 on JAX: the data set lies on the device."""

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
data = cell.data(layout="NHWC")  # Keras' default, "channels_last"; XLA chooses again what the device computes in


def upload(arrays):
    global x_train, y_train
    x_train, y_train = jax.block_until_ready(jax.device_put((arrays.x_train, arrays.y_train)))


# --- Model ----------------------------------------------------------------------------------------------------------
class Pooling(layers.Layer):  # by a reshape: its gradient is a comparison, MaxPooling2D's searches the largest value
    def call(self, x):  # ReLU after the pool: same values, a quarter of the work
        _, height, width, channels = x.shape
        return jax.nn.relu(x.reshape(-1, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4)))


few, many = params.filters
drop1, drop2, drop3 = params.dropout
model = keras.Sequential(  # Glorot uniform, biases zero: the default
    [
        layers.Input((32, 32, 3)),
        layers.Conv2D(few, 3, padding="same", activation="relu"),
        layers.Conv2D(few, 3, padding="same"),
        Pooling(),
        layers.Dropout(drop1),
        layers.Conv2D(many, 3, padding="same", activation="relu"),
        layers.Conv2D(many, 3, padding="same"),
        Pooling(),
        layers.Dropout(drop2),
        layers.Flatten(),
        layers.Dense(params.hidden, activation="relu"),
        layers.Dropout(drop3),
        layers.Dense(params.n_classes, dtype="float32"),  # logits: no softmax here, the loss has it
    ]
)

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = keras.optimizers.SGD(params.learning_rate, momentum=params.momentum)
optimizer.build(model.trainable_variables)
kinds = model.trainable_variables, optimizer.variables, model.non_trainable_variables


# --- Training step --------------------------------------------------------------------------------------------------
def step(trained, moments, others, x_train, y_train, indices):  # Keras without its variables: all goes in, comes out
    def loss_of(trained):
        scores, after = model.stateless_call(trained, others, x_train[indices], training=True)
        return loss_function(y_train[indices], scores), after

    (loss, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(trained)
    return (*optimizer.stateless_apply(moments, gradients, trained), others), loss


program = None


def train_indices(order):  # step by step: on a CPU, XLA computes convolutions many times slower within a loop
    global program
    state, losses = [[variable.value for variable in kind] for kind in kinds], []
    if program is None:
        with cell.compiling("XLA"):  # donated: new weights are written over the old
            program = jax.jit(step, donate_argnums=(0, 1, 2)).lower(*state, x_train, y_train, order[0]).compile()
    for indices in order:  # calls return at once, so nothing waits for a loss
        state, loss = program(*state, x_train, y_train, indices)
        losses.append(loss)
    for kind, values in zip(kinds, state):
        for variable, value in zip(kind, values):
            variable.assign(value)
    return np.array(jax.device_get(losses))


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return model.predict_on_batch(x)  # dropout off: Keras sees to that


# --- Weights --------------------------------------------------------------------------------------------------------
weights = Weights(model.get_weights, model.set_weights, conv="HWIO", dense="IO", flat="HWC")
cell.run(  # synchronize: calls return at once
    data,
    predict,
    upload=upload,
    train_indices=train_indices,
    synchronize=lambda: jax.block_until_ready([variable.value for variable in model.variables]),
    weights=weights,
)
