"""GRU on IMDB in TensorFlow 2."""

import numpy as np
import tensorflow as tf

from harness import Cell, Weights

build = tf.sysconfig.get_build_info()  # what the wheel was built with: TensorFlow does not say what it loaded
precisions = ("fp32", "tf32", "amp-fp16", "amp-bf16")
packages = {"keras": tf.keras.__version__}
versions = tf.__version__, build.get("cuda_version"), build.get("cudnn_version")
details = tf.config.experimental.get_device_details
cell = Cell(*versions, packages, precisions, device=lambda: details(gpus[0])["device_name"])
params = cell.params
tf.keras.utils.set_random_seed(cell.seed)
gpus = tf.config.list_physical_devices("GPU")[: cell.gpus]
assert len(gpus) == cell.gpus, "TensorFlow sees no GPU, and would use the CPU without a word"
tf.config.set_visible_devices(gpus, "GPU")  # what is visible is used: no tensor has to be sent anywhere
policies = {"amp-fp16": "mixed_float16", "amp-bf16": "mixed_bfloat16"}
tf.keras.mixed_precision.set_global_policy(policies.get(cell.precision, "float32"))
cell.settle_precision("tensorflow", tf.keras.mixed_precision.global_policy())  # TF32 is on by default

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()


# --- Model ----------------------------------------------------------------------------------------------------------
class Network(tf.keras.Model):  # since TensorFlow 2, its layers are Keras'
    def __init__(self):
        super().__init__()
        self.embedding = tf.keras.layers.Embedding(params.vocabulary, params.embedding)  # uniform, ±0.05
        # reset gate after the product, two biases; told to use cuDNN, it fails rather than take its own loop
        self.gru = tf.keras.layers.GRU(params.hidden, use_cudnn=True if cell.gpus else "auto")
        self.dense = tf.keras.layers.Dense(params.n_classes, dtype="float32")  # logits: never in half precision

    def call(self, x):
        return self.dense(self.gru(self.embedding(x)))  # the state after the padding: mask_zero is off by default


model = Network()
cell.gru = "cudnn" if cell.gpus else "scan"

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = tf.keras.optimizers.Adam(params.learning_rate, params.beta_1, params.beta_2, params.epsilon)
if cell.precision == "amp-fp16":
    optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)  # else small gradients become zero


# --- Training step --------------------------------------------------------------------------------------------------
@tf.function  # traced into a graph at the first batch; NumPy arguments become tensors
def train_step(x, y):
    with tf.GradientTape() as tape:
        loss = loss_function(y, model(x, training=True))
        scaled = optimizer.scale_loss(loss)  # the loss itself, but for fp16
    gradients = tape.gradient(scaled, model.trainable_variables)
    # The embedding's gradient is one slice per token. Keras' Adam squares the slices before it adds up those of the
    # same word, which is another algorithm; made dense, the gradient is what all other libraries have.
    gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
    optimizer.apply(gradients, model.trainable_variables)
    return loss


# --- Prediction -----------------------------------------------------------------------------------------------------
@tf.function
def forward(x):
    return model(x, training=False)


def predict(x):
    return forward(x).numpy()


# --- Weights --------------------------------------------------------------------------------------------------------
def get_weights():
    embedding, inputs, state, (input_bias, state_bias), weight, bias = model.get_weights()
    return [embedding, inputs, state, input_bias, state_bias, weight, bias]


def set_weights(arrays):
    embedding, inputs, state, input_bias, state_bias, weight, bias = arrays
    model.set_weights([embedding, inputs, state, np.stack([input_bias, state_bias]), weight, bias])


weights = Weights(get_weights, set_weights, dense="IO", gates="zrn", epsilon="uncorrected")
cell.run(data, predict, train_step, synchronize=tf.test.experimental.sync_devices, weights=weights)
