"""CNN in TensorFlow 2: a subclassed model and a tf.function, as its tutorials have it."""

import tensorflow as tf
from tensorflow.keras import layers

from common import EPOCHS, Clock, arrays, minibatches, parameters

params = parameters("cnn")
few, many = params.filters
x_train, y_train = arrays("cnn", channels_first=False)


class CNN(tf.keras.Model):
    def __init__(self):
        super().__init__()
        self.conv1 = layers.Conv2D(few, 3, padding="same", activation="relu")
        self.conv2 = layers.Conv2D(few, 3, padding="same")
        self.conv3 = layers.Conv2D(many, 3, padding="same", activation="relu")
        self.conv4 = layers.Conv2D(many, 3, padding="same")
        self.pool = layers.MaxPooling2D(2, 2)
        self.drop1, self.drop2, self.drop3 = (layers.Dropout(rate) for rate in params.dropout)
        self.flatten = layers.Flatten()
        self.dense1 = layers.Dense(params.hidden, activation="relu")
        self.dense2 = layers.Dense(params.n_classes)

    def call(self, x, training):
        x = self.conv2(self.conv1(x))
        x = self.drop1(tf.nn.relu(self.pool(x)), training=training)
        x = self.conv4(self.conv3(x))
        x = self.drop2(tf.nn.relu(self.pool(x)), training=training)
        x = self.drop3(self.dense1(self.flatten(x)), training=training)
        return self.dense2(x)


model = CNN()
loss_object = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
optimizer = tf.keras.optimizers.SGD(learning_rate=params.learning_rate, momentum=params.momentum)


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
