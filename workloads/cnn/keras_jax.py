"""CNN on CIFAR-10 in Keras 3 on JAX."""

import os

os.environ["KERAS_BACKEND"] = "jax"  # or "tensorflow", or "torch": the model below runs on any of them
import jax
import keras
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
model.compile(  # the whole step by XLA, on a CPU too: Keras' own choice on JAX
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
cell.run(  # synchronize: calls return at once
    data,
    predict,
    train_epoch=train_epoch,
    synchronize=lambda: jax.block_until_ready([variable.value for variable in model.variables]),
    weights=weights,
)
