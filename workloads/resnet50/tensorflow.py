"""Features of ResNet-50 in TensorFlow 2."""

import tensorflow as tf

from harness import Cell, Weights

build = tf.sysconfig.get_build_info()  # what the wheel was built with: TensorFlow does not say what it loaded
precisions = ("fp32", "tf32", "amp-fp16", "amp-bf16")
packages = {"keras": tf.keras.__version__}
cell = Cell(tf.__version__, build.get("cuda_version"), build.get("cudnn_version"), packages, precisions)
params = cell.params
gpus = tf.config.list_physical_devices("GPU")[: cell.gpus]
assert len(gpus) == cell.gpus, "TensorFlow sees no GPU, and would use the CPU without a word"
tf.config.set_visible_devices(gpus, "GPU")  # what is visible is used: no tensor has to be sent anywhere
policies = {"amp-fp16": "mixed_float16", "amp-bf16": "mixed_bfloat16"}
tf.keras.mixed_precision.set_global_policy(policies.get(cell.precision, "float32"))
cell.settle_precision("tensorflow", tf.keras.mixed_precision.global_policy())  # TF32 is on by default

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NHWC")  # TensorFlow's own layout; on a GPU its graph optimiser turns it into NCHW by itself


# --- Model ----------------------------------------------------------------------------------------------------------
class Unit(tf.keras.Sequential):  # since TensorFlow 2, its layers are Keras'
    def __init__(self, filters, size, stride=1):
        # "same" would pad a strided convolution more to the right and at the bottom.
        padding = [tf.keras.layers.ZeroPadding2D(size // 2)] if stride > 1 and size > 1 else []
        same = "valid" if stride > 1 else "same"
        conv = tf.keras.layers.Conv2D(filters, size, stride, padding=same, use_bias=False)
        super().__init__([*padding, conv, tf.keras.layers.BatchNormalization(epsilon=params.epsilon)])  # not 1e-3


class Block(tf.keras.Model):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.unit1 = Unit(width, 1)
        self.unit2 = Unit(width, 3, stride)  # version 1.5: the stride lies on the 3×3 convolution
        self.unit3 = Unit(4 * width, 1)
        self.shortcut = Unit(4 * width, 1, stride) if inputs != 4 * width else tf.identity

    def call(self, x):
        y = tf.nn.relu(self.unit1(x))
        y = tf.nn.relu(self.unit2(y))
        return tf.nn.relu(self.unit3(y) + self.shortcut(x))


class Network(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.stem = Unit(64, 7, 2)
        self.blocks, inputs = [], 64
        for stage, (count, width) in enumerate(zip(params.blocks, params.widths)):
            for block in range(count):
                self.blocks.append(Block(inputs, width, stride=2 if stage and block == 0 else 1))
                inputs = 4 * width

    def call(self, x):
        x = tf.nn.relu(self.stem(x))
        x = tf.nn.max_pool2d(x, 3, 2, padding=[[0, 0], [1, 1], [1, 1], [0, 0]])
        for block in self.blocks:
            x = block(x)
        return tf.reduce_mean(tf.cast(x, tf.float32), axis=(1, 2))


model = Network()  # called outside of fit, it normalises with the stored means


# --- Prediction -----------------------------------------------------------------------------------------------------
@tf.function  # traced into a graph at the first batch; NumPy arguments become tensors
def forward(x):
    return model(x, training=False)


def predict(x):
    return forward(x).numpy()


# --- Weights --------------------------------------------------------------------------------------------------------
weights = Weights(model.get_weights, model.set_weights, conv="HWIO")
cell.run(data, predict, weights=weights, synchronize=tf.test.experimental.sync_devices)
