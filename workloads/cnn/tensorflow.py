"""CNN on CIFAR-10 in TensorFlow 2."""

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
data = cell.data(layout="NHWC")  # TensorFlow's own layout; on a GPU its graph optimiser turns it into NCHW by itself


# --- Model ----------------------------------------------------------------------------------------------------------
class Network(tf.keras.Model):  # since TensorFlow 2, its layers are Keras'
    def __init__(self):
        super().__init__()
        few, many = params.filters
        self.conv1 = tf.keras.layers.Conv2D(few, 3, padding="same")  # finds its number of inputs itself
        self.conv2 = tf.keras.layers.Conv2D(few, 3, padding="same")
        self.conv3 = tf.keras.layers.Conv2D(many, 3, padding="same")
        self.conv4 = tf.keras.layers.Conv2D(many, 3, padding="same")
        self.pool = tf.keras.layers.MaxPool2D(2)
        self.drop1, self.drop2, self.drop3 = (tf.keras.layers.Dropout(rate) for rate in params.dropout)
        self.flatten = tf.keras.layers.Flatten()
        self.dense1 = tf.keras.layers.Dense(params.hidden)
        self.dense2 = tf.keras.layers.Dense(params.n_classes, dtype="float32")  # logits: never in half precision

    def call(self, x, training):
        x = tf.nn.relu(self.conv1(x))
        x = self.drop1(tf.nn.relu(self.pool(self.conv2(x))), training=training)  # ReLU after the pool: same values
        x = tf.nn.relu(self.conv3(x))
        x = self.drop2(tf.nn.relu(self.pool(self.conv4(x))), training=training)
        x = self.drop3(tf.nn.relu(self.dense1(self.flatten(x))), training=training)
        return self.dense2(x)


model = Network()  # Glorot uniform, biases zero: the default; weights appear at the first call

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = tf.keras.optimizers.SGD(params.learning_rate, momentum=params.momentum)
if cell.precision == "amp-fp16":
    optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)  # else small gradients become zero


# --- Training step --------------------------------------------------------------------------------------------------
@tf.function  # traced into a graph at the first batch; NumPy arguments become tensors
def train_step(x, y):
    with tf.GradientTape() as tape:
        loss = loss_function(y, model(x, training=True))
        scaled = optimizer.scale_loss(loss)  # the loss itself, but for fp16
    gradients = tape.gradient(scaled, model.trainable_variables)
    optimizer.apply(gradients, model.trainable_variables)
    return loss


# --- Prediction -----------------------------------------------------------------------------------------------------
@tf.function
def forward(x):
    return model(x, training=False)


def predict(x):
    return forward(x).numpy()


# --- Weights --------------------------------------------------------------------------------------------------------
weights = Weights(model.get_weights, model.set_weights, conv="HWIO", dense="IO", flat="HWC")
cell.run(data, predict, train_step, synchronize=tf.test.experimental.sync_devices, weights=weights)
