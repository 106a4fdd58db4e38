"""GRU on IMDB in TensorFlow 1.12, of 2018: a graph first, then a session that runs it."""

import numpy as np
import tensorflow as tf
from tensorflow.contrib.cudnn_rnn import CudnnCompatibleGRUCell
from tensorflow.contrib.cudnn_rnn.python.layers.cudnn_rnn import CudnnGRU  # 1.4 has the layer nowhere else

from harness import Cell, Weights
from harness.weights import cudnn_block, from_cudnn_block

cell = Cell(tf.__version__)  # TensorFlow does not tell its CUDA and cuDNN
params = cell.params
tf.set_random_seed(cell.seed)  # of the graph: operations made before this line would not know it
assert not cell.gpus or tf.test.is_gpu_available(), "TensorFlow sees no GPU, and would use the CPU without a word"

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()


# --- Model ----------------------------------------------------------------------------------------------------------
def two_biases(getter, name, *args, **kwargs):
    # The compatible cell has one bias for what are two in cuDNN's gates; Adam moves their sum twice as fast as it would
    # move that one. So every request for the one, which would start at 1, is answered by a sum of two.
    if not name.endswith("gates/bias"):
        return getter(name, *args, **kwargs)
    kwargs["initializer"] = tf.zeros_initializer()
    return getter(name + "/input", *args, **kwargs) + getter(name + "/state", *args, **kwargs)


def gru(x):  # time first; the start is zero, not learned for each place in the batch, as published by a slip
    if cell.gpus:  # all that it learns is one vector, whose length only a GPU can tell
        _, (states,) = CudnnGRU(num_layers=1, num_units=params.hidden)(x)
        return states[0]
    with tf.variable_scope("gru", custom_getter=two_biases):  # cuDNN's form: reset gate after the product
        step = CudnnCompatibleGRUCell(params.hidden)
        _, state = tf.nn.dynamic_rnn(step, x, dtype=tf.float32, time_major=True)
    return state


def network(tokens):  # Glorot uniform, biases zero: the default, here for the embedding too
    table = tf.get_variable("embedding", (params.vocabulary, params.embedding))
    words = tf.nn.embedding_lookup(table, tf.transpose(tokens))
    return tf.layers.dense(gru(words), params.n_classes)  # the state after the padding: no mask, as published


tokens = tf.placeholder(tf.int32, (None, params.length))
labels = tf.placeholder(tf.int32, (None,))
logits = network(tokens)
cell.gru = "cudnn" if cell.gpus else "scan"  # dynamic_rnn is a loop within the graph

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)  # takes logits
optimizer = tf.train.AdamOptimizer(params.learning_rate, params.beta_1, params.beta_2, params.epsilon)
# Of the embedding's sparse gradient it adds up the slices of a word, and it ages the moments of all words.
update = optimizer.minimize(loss)

session = tf.Session()
session.run(tf.global_variables_initializer())  # the optimiser's too: only now the graph is complete


# --- Training step --------------------------------------------------------------------------------------------------
def train_step(x, y):
    _, value = session.run([update, loss], {tokens: x, labels: y})
    return value  # a number: the device is done, nothing to wait for


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return session.run(logits, {tokens: x})


# --- Weights --------------------------------------------------------------------------------------------------------
# Those of the compatible cell, which has the two gates apart from the new state; on a GPU cuDNN's vector.
variables = tf.trainable_variables()  # in the order in which they were made
variables[1:-2] = sorted(variables[1:-2], key=lambda variable: variable.name)  # the cell's: 1.4 has another order


def load(arrays):
    for variable, array in zip(variables, arrays):
        variable.load(array, session)  # through its initialiser: an assignment would add to the graph


def set_weights(arrays):
    embedding, *gru, weight, bias = arrays
    if cell.gpus:
        return load([embedding, cudnn_block([array.T for array in gru]), weight, bias])
    (w, w_new), (u, u_new), (b, b_new), (c, c_new) = (np.split(array, [2 * params.hidden], axis=-1) for array in gru)
    load([embedding, c_new, u_new, b_new, w_new, b, c, np.concatenate([w, u]), weight, bias])


def get_weights():
    if cell.gpus:
        embedding, block, weight, bias = session.run(variables)
        gru = from_cudnn_block(block, params.embedding, params.hidden)
        return [embedding, *(array.T for array in gru), weight, bias]
    embedding, c_new, u_new, b_new, w_new, b, c, gates, weight, bias = session.run(variables)
    w, u = np.split(gates, [params.embedding])
    parts = (w, w_new), (u, u_new), (b, b_new), (c, c_new)
    return [embedding, *(np.concatenate(part, axis=-1) for part in parts), weight, bias]


weights = Weights(get_weights, set_weights, dense="IO", epsilon="uncorrected")
cell.run(data, predict, train_step, weights=weights)
