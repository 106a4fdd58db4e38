"""GRU on IMDB in Keras 3 on TensorFlow, without tf.data."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # or "jax", or "torch": the model below runs on any of them
import keras
import numpy as np
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
data = cell.data()


def upload(arrays):
    global x_train, y_train
    # int64: TensorFlow leaves int32 on the host
    x_train, y_train = tf.constant(arrays.x_train, tf.int64), tf.constant(arrays.y_train, tf.int64)


# --- Model ----------------------------------------------------------------------------------------------------------
model = keras.Sequential(
    [
        layers.Input((params.length,), dtype="int32"),
        layers.Embedding(params.vocabulary, params.embedding),  # uniform, ±0.05; mask_zero off: no mask, as published
        # reset gate after the product, two biases; told to use cuDNN, it fails rather than take its own loop
        layers.GRU(params.hidden, use_cudnn=True if cell.gpus else "auto"),
        layers.Dense(params.n_classes, dtype="float32"),  # logits: no softmax here, the loss has it
    ]
)
cell.gru = "cudnn" if cell.gpus else "scan"

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = keras.optimizers.Adam(params.learning_rate, params.beta_1, params.beta_2, params.epsilon)
if cell.precision == "amp-fp16":
    optimizer = keras.optimizers.LossScaleOptimizer(optimizer)  # else small gradients become zero
optimizer.build(model.trainable_variables)


# --- Training step --------------------------------------------------------------------------------------------------
@tf.function
def step(indices):
    x, y = tf.gather(x_train, indices), tf.gather(y_train, indices)
    with tf.GradientTape() as tape:
        loss = loss_function(y, model(x, training=True))
        scaled = optimizer.scale_loss(loss)
    gradients = tape.gradient(scaled, model.trainable_variables)
    # The embedding's is one slice per token; made dense, it is what all other libraries have: see the reference.
    optimizer.apply([tf.convert_to_tensor(gradient) for gradient in gradients], model.trainable_variables)
    return loss


def train_indices(order):  # not by fit, which reads through tf.data and waits for that at the end of each epoch
    return tf.stack([step(indices) for indices in tf.constant(order)]).numpy()


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
cell.run(
    data,
    predict,
    upload=upload,
    train_indices=train_indices,
    synchronize=tf.test.experimental.sync_devices,
    weights=weights,
)
