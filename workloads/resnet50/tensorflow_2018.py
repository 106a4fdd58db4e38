"""Features of ResNet-50 in TensorFlow 1.12, of 2018: a graph first, then a session that runs it."""

import tensorflow as tf

from harness import Cell, Weights

cell = Cell(tf.__version__)  # TensorFlow does not tell its CUDA and cuDNN
params = cell.params
assert not cell.gpus or tf.test.is_gpu_available(), "TensorFlow sees no GPU, and would use the CPU without a word"

# --- Data -----------------------------------------------------------------------------------------------------------
# NCHW, as published, is cuDNN's; TensorFlow has no such convolution on a CPU
layout, data_format = ("NCHW", "channels_first") if cell.gpus else ("NHWC", "channels_last")
channels, rows, columns = (layout.index(axis) for axis in "CHW")
data = cell.data(layout=layout)


# --- Model ----------------------------------------------------------------------------------------------------------
def pad(x, edge):  # by hand: "same" would pad a stride of 2 more to the right and at the bottom
    return tf.pad(x, [(edge, edge) if axis in (rows, columns) else (0, 0) for axis in range(4)])


def unit(x, filters, size, stride=1):
    x = tf.layers.conv2d(pad(x, size // 2), filters, size, stride, data_format=data_format, use_bias=False)
    return tf.layers.batch_normalization(x, channels, epsilon=params.epsilon)  # by default 1e-3, and stored means


def block(x, width, stride, project):
    y = tf.nn.relu(unit(x, width, 1))
    y = tf.nn.relu(unit(y, width, 3, stride))  # version 1.5: the stride lies on the 3×3 convolution
    y = unit(y, 4 * width, 1)
    return tf.nn.relu(y + (unit(x, 4 * width, 1, stride) if project else x))


def network(x):
    x = tf.nn.relu(unit(x, 64, 7, 2))
    x = tf.layers.max_pooling2d(pad(x, 1), 3, 2, data_format=data_format)  # zeros do no harm behind a ReLU
    for stage, (count, width) in enumerate(zip(params.blocks, params.widths)):
        for number in range(count):
            x = block(x, width, stride=2 if stage and number == 0 else 1, project=number == 0)
    return tf.reduce_mean(x, (rows, columns))


images = tf.placeholder(tf.float32, (None,) + data.x_test.shape[1:])
features = network(images)

session = tf.Session()
session.run(tf.global_variables_initializer())


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return session.run(features, {images: x})


# --- Weights --------------------------------------------------------------------------------------------------------
variables = tf.global_variables()  # in the order in which they were made; stored means and variances are not trainable


def set_weights(arrays):
    for variable, array in zip(variables, arrays):
        variable.load(array, session)  # through its initialiser: an assignment would add to the graph


weights = Weights(lambda: session.run(variables), set_weights, conv="HWIO")
cell.run(data, predict, weights=weights)
