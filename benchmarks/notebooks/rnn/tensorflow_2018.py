"""GRU in TensorFlow 1: placeholders, and a session that is fed a dictionary per batch.

The notebook of 2018 had cuDNN's GRU; this is the cell that TensorFlow offers for it on a CPU, which has one bias less.
"""

import tensorflow as tf
from tensorflow.contrib import cudnn_rnn

from common import EPOCHS, Clock, arrays, minibatches, parameters

params = parameters("rnn")
x_train, y_train = arrays("rnn")


def create_symbol(x):
    table = tf.get_variable("embedding", [params.vocabulary, params.embedding])
    words = tf.nn.embedding_lookup(table, x)
    _, state = tf.nn.dynamic_rnn(cudnn_rnn.CudnnCompatibleGRUCell(params.hidden), words, dtype=tf.float32)
    return tf.layers.dense(state, params.n_classes)


features = tf.placeholder(tf.int32, shape=[None, params.length])
labels = tf.placeholder(tf.int32, shape=[None])
logits = create_symbol(features)
loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(logits=logits, labels=labels))
train = tf.train.AdamOptimizer(params.learning_rate, params.beta_1, params.beta_2, params.epsilon).minimize(loss)

session = tf.Session()
session.run(tf.global_variables_initializer())

clock = Clock(tf.__version__)
for _ in range(EPOCHS):
    for x, y in minibatches(x_train, y_train, params.batch_size):
        session.run(train, feed_dict={features: x, labels: y})
    clock.lap()
