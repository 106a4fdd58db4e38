"""GRU on IMDB in Keras 3 on TensorFlow."""

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
class Adam(keras.optimizers.Adam):
    # On TensorFlow, the embedding's gradient is one slice per token. Keras' Adam squares the slices before it adds up
    # those of the same word, which is another algorithm; made dense, the gradient is what all other libraries have.
    def apply(self, gradients, variables=None):
        return super().apply([tf.convert_to_tensor(gradient) for gradient in gradients], variables)


model.compile(
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    optimizer=Adam(params.learning_rate, params.beta_1, params.beta_2, params.epsilon),
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
cell.run(data, predict, train_epoch=train_epoch, synchronize=tf.test.experimental.sync_devices, weights=weights)
