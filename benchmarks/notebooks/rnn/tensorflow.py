"""GRU in TensorFlow 2: a subclassed model and a tf.function, as its tutorials have it."""

import tensorflow as tf
from tensorflow.keras import layers

from common import EPOCHS, Clock, arrays, minibatches, parameters

params = parameters("rnn")
x_train, y_train = arrays("rnn")


class GRU(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(params.vocabulary, params.embedding)
        self.gru = layers.GRU(params.hidden)
        self.dense = layers.Dense(params.n_classes)

    def call(self, x):
        return self.dense(self.gru(self.embedding(x)))


model = GRU()
loss_object = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = tf.keras.optimizers.Adam(params.learning_rate, params.beta_1, params.beta_2, params.epsilon)


@tf.function
def train_step(x, y):
    with tf.GradientTape() as tape:
        loss = loss_object(y, model(x, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    optimizer.apply_gradients(zip(gradients, model.trainable_variables))


clock = Clock(tf.__version__)
for _ in range(EPOCHS):
    for x, y in minibatches(x_train, y_train, params.batch_size):
        train_step(x, y)
    clock.lap()
