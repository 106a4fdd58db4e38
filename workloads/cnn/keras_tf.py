"""CNN on CIFAR-10 in Keras 3 on TensorFlow."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # or "jax", or "torch": the model below runs on any of them
import keras
import tensorflow as tf
from keras import layers

from harness import Cell, Weights

build = tf.sysconfig.get_build_info()  # what the wheel was built with: TensorFlow does not say what it loaded
precisions = ("fp32", "tf32", "amp-fp16", "amp-bf16")
packages = {"tensorflow": tf.__version__}
cell = Cell(keras.__version__, build.get("cuda_version"), build.get("cudnn_version"), packages, precisions)
params = cell.params
keras.utils.set_random_seed(cell.seed)
gpus = tf.config.list_physical_devices("GPU")[: cell.gpus]
assert len(gpus) == cell.gpus, "TensorFlow sees no GPU, and would use the CPU without a word"
tf.config.set_visible_devices(gpus, "GPU")  # what is visible is used: no tensor has to be sent anywhere
policies = {"amp-fp16": "mixed_float16", "amp-bf16": "mixed_bfloat16"}
keras.config.set_dtype_policy(policies.get(cell.precision, "float32"))
cell.settle_precision("tensorflow", keras.config.dtype_policy())  # TF32 is on by default

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NHWC")  # Keras' default, "channels_last"

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
model.compile(  # and, where a GPU is, XLA: Keras' own choice
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
cell.run(data, predict, train_epoch=train_epoch, synchronize=tf.test.experimental.sync_devices, weights=weights)
