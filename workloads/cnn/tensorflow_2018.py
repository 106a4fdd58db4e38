"""CNN on CIFAR-10 in TensorFlow 1.12, of 2018: a graph first, then a session that runs it."""

import tensorflow as tf

from harness import Cell, Weights

cell = Cell(tf.__version__)  # TensorFlow does not tell its CUDA and cuDNN
params = cell.params
tf.set_random_seed(cell.seed)  # of the graph: operations made before this line would not know it
assert not cell.gpus or tf.test.is_gpu_available(), "TensorFlow sees no GPU, and would use the CPU without a word"

# --- Data -----------------------------------------------------------------------------------------------------------
# NCHW, as published, is cuDNN's; TensorFlow has no such convolution on a CPU
layout, data_format = ("NCHW", "channels_first") if cell.gpus else ("NHWC", "channels_last")
data = cell.data(layout=layout)


# --- Model ----------------------------------------------------------------------------------------------------------
def conv(x, filters):
    return tf.layers.conv2d(x, filters, 3, padding="same", data_format=data_format)  # the same kernel in both layouts


def pool(x):
    return tf.layers.max_pooling2d(x, 2, strides=2, data_format=data_format)


def network(x, training):  # Glorot uniform, biases zero: the default
    few, many = params.filters
    drop1, drop2, drop3 = params.dropout
    x = tf.nn.relu(conv(x, few))
    x = tf.nn.relu(pool(conv(x, few)))  # ReLU after the pool: same values, a quarter of the work
    x = tf.layers.dropout(x, drop1, training=training)  # of the default, training=False, nobody is warned
    x = tf.nn.relu(conv(x, many))
    x = tf.nn.relu(pool(conv(x, many)))
    x = tf.layers.dropout(x, drop2, training=training)
    x = tf.transpose(x, (0, 2, 3, 1)) if cell.gpus else x  # the channels last, so that weights fit either layout
    x = tf.layers.flatten(x)  # in TensorFlow 1.4 it knows no layouts
    x = tf.layers.dense(x, params.hidden, activation=tf.nn.relu)
    x = tf.layers.dropout(x, drop3, training=training)
    return tf.layers.dense(x, params.n_classes)


images = tf.placeholder(tf.float32, (None,) + data.x_train.shape[1:])
labels = tf.placeholder(tf.int32, (None,))
training = tf.placeholder_with_default(False, ())  # one graph for both: dropout is switched at each run
logits = network(images, training)

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)  # takes logits
optimizer = tf.train.MomentumOptimizer(params.learning_rate, params.momentum)
update = optimizer.minimize(loss)

session = tf.Session()
session.run(tf.global_variables_initializer())  # the optimiser's too: only now the graph is complete


# --- Training step --------------------------------------------------------------------------------------------------
def train_step(x, y):
    _, value = session.run([update, loss], {images: x, labels: y, training: True})
    return value  # a number: the device is done, nothing to wait for


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return session.run(logits, {images: x})


# --- Weights --------------------------------------------------------------------------------------------------------
variables = tf.trainable_variables()  # in the order in which they were made


def set_weights(arrays):
    for variable, array in zip(variables, arrays):
        variable.load(array, session)  # through its initialiser: an assignment would add to the graph


weights = Weights(lambda: session.run(variables), set_weights, conv="HWIO", dense="IO", flat="HWC")
cell.run(data, predict, train_step, weights=weights)
