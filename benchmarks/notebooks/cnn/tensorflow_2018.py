"""CNN in TensorFlow 1: placeholders, and a session that is fed a dictionary per batch."""

import tensorflow as tf

from common import EPOCHS, Clock, arrays, minibatches, parameters

params = parameters("cnn")
few, many = params.filters
drop1, drop2, drop3 = params.dropout
x_train, y_train = arrays("cnn", channels_first=False)  # the notebook's NCHW is there on a GPU only


def create_symbol(x, training):
    x = tf.layers.conv2d(x, filters=few, kernel_size=(3, 3), padding="same", activation=tf.nn.relu)
    x = tf.layers.conv2d(x, filters=few, kernel_size=(3, 3), padding="same")
    x = tf.nn.relu(tf.layers.max_pooling2d(x, pool_size=(2, 2), strides=(2, 2)))
    x = tf.layers.dropout(x, drop1, training=training)
    x = tf.layers.conv2d(x, filters=many, kernel_size=(3, 3), padding="same", activation=tf.nn.relu)
    x = tf.layers.conv2d(x, filters=many, kernel_size=(3, 3), padding="same")
    x = tf.nn.relu(tf.layers.max_pooling2d(x, pool_size=(2, 2), strides=(2, 2)))
    x = tf.layers.dropout(x, drop2, training=training)
    x = tf.layers.dense(tf.reshape(x, [-1, many * 8 * 8]), params.hidden, activation=tf.nn.relu)
    x = tf.layers.dropout(x, drop3, training=training)
    return tf.layers.dense(x, params.n_classes)


features = tf.placeholder(tf.float32, shape=[None, 32, 32, 3])
labels = tf.placeholder(tf.int32, shape=[None])
training = tf.placeholder(tf.bool)
logits = create_symbol(features, training)
loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(logits=logits, labels=labels))
train = tf.train.MomentumOptimizer(learning_rate=params.learning_rate, momentum=params.momentum).minimize(loss)

session = tf.Session()
session.run(tf.global_variables_initializer())

clock = Clock(tf.__version__)
for _ in range(EPOCHS):
    for x, y in minibatches(x_train, y_train, params.batch_size):
        session.run(train, feed_dict={features: x, labels: y, training: True})
    clock.lap()
