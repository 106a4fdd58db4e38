"""DenseNet-121 on chest X-rays in Keras 2 on TensorFlow 1.12, of 2018, with a tower for each GPU."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
import keras
import numpy as np
import tensorflow as tf
from keras import backend, layers

from harness import Cell, Weights

cell = Cell(keras.__version__, packages={"tensorflow": tf.__version__})  # TensorFlow does not tell its CUDA and cuDNN
params = cell.params
np.random.seed(cell.seed)  # initialisers: Keras draws their seeds from NumPy
tf.set_random_seed(cell.seed)  # of the graph; without it those seeds would be only half of each operation's
count = {} if cell.gpus else {"CPU": cell.workers}  # the CPU stands for as many devices as there are workers
session = tf.Session(config=tf.ConfigProto(device_count=count, allow_soft_placement=True))
backend.set_session(session)
kind = "GPU" if cell.gpus else "CPU"
devices = [device.name for device in session.list_devices() if device.device_type == kind][: cell.workers]
assert len(devices) == cell.workers, "TensorFlow sees too few GPUs, and would use the CPU without a word"

# --- Data -----------------------------------------------------------------------------------------------------------
# NCHW, as published, is cuDNN's; TensorFlow has no such convolution on a CPU
layout, data_format = ("NCHW", "channels_first") if cell.gpus else ("NHWC", "channels_last")
backend.set_image_data_format(data_format)
channels = layout.index("C")
data = cell.data()


def normalised(x):  # three channels for the one of an X-ray
    x = backend.cast(x, "float32") / 255
    return backend.stack([(x - mean) / sd for mean, sd in zip(params.mean, params.sd)], channels)


# --- Model ----------------------------------------------------------------------------------------------------------
def norm_relu(x):  # corrects its stored values for a start at zero: the first step forgets those that were loaded
    norm = layers.BatchNormalization(axis=channels, momentum=params.norm_momentum, epsilon=params.norm_epsilon)
    return layers.Activation("relu")(norm(x))


def conv(x, filters, size, stride=1):
    if stride > 1:  # by hand: what "same" pads with a stride depends on the backend
        x = layers.ZeroPadding2D(size // 2)(x)
    padding = "valid" if stride > 1 else "same"
    return layers.Conv2D(filters, size, strides=stride, padding=padding, use_bias=False)(x)


def network():  # Glorot uniform: the default
    images = layers.Input((params.image_size, params.image_size), dtype="uint8")
    x = norm_relu(conv(layers.Lambda(normalised)(images), 2 * params.growth, 7, 2))
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))  # zeros: nothing behind a ReLU is less
    for block, count in enumerate(params.blocks, 1):
        for _ in range(count):
            y = conv(norm_relu(x), 4 * params.growth, 1)
            y = conv(norm_relu(y), params.growth, 3)
            x = layers.Concatenate(axis=channels)([x, y])  # all that was known, and a little more
        if block < len(params.blocks):
            x = conv(norm_relu(x), backend.int_shape(x)[channels] // 2, 1)
            x = layers.AveragePooling2D(2)(x)
    x = layers.GlobalAveragePooling2D()(norm_relu(x))
    return keras.Model(images, layers.Dense(len(params.findings))(x))  # logits


def parallel(model):  # what keras.utils.multi_gpu_model does, which knows no devices but GPUs
    images, scores = model.inputs[0], []
    for number, device in enumerate(devices):
        with tf.device(device):
            share = layers.Lambda(lambda x, number=number: tf.split(x, cell.workers)[number])(images)
            scores.append(model(share))
    return keras.Model(images, layers.concatenate(scores, axis=0))


with tf.device(devices[0]):
    model = network()
pretrained = cell.pretrained("densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5")  # of Keras' hub
if pretrained:  # all but the dense layer
    keras.Model(model.input, model.layers[-2].output).load_weights(pretrained)
towers = parallel(model) if cell.workers > 1 else model


# --- Loss and optimiser ---------------------------------------------------------------------------------------------
def loss_function(labels, logits):  # of the joined batch, so that its gradient is the mean of the workers'
    return backend.mean(backend.binary_crossentropy(labels, logits, from_logits=True))


class Adam(keras.optimizers.Adam):
    def get_gradients(self, loss, params):  # all before any: else Keras may write a weight that one still has to read
        return tf.tuple(super().get_gradients(loss, params))

    def get_updates(self, loss, params):  # Keras counts a step while Adam may still have to read how many there were
        updates = super().get_updates(loss=loss, params=params)
        with tf.control_dependencies(updates[1:]):
            return [keras.backend.update_add(self.iterations, 1), *updates[1:]]


towers.compile(
    loss=loss_function,
    optimizer=Adam(params.learning_rate, params.beta_1, params.beta_2, params.epsilon),
)


# --- Training step --------------------------------------------------------------------------------------------------
def train_step(x, y):
    return towers.train_on_batch(x, y)  # a number: the device is done, nothing to wait for


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return towers.predict_on_batch(x)  # normalises with the stored means: Keras sees to that


# --- Weights --------------------------------------------------------------------------------------------------------
# One set for all towers. Of the stored means and variances each tower sets its own images': the last one's stay.
weights = Weights(model.get_weights, model.set_weights, conv="HWIO", dense="IO", epsilon="uncorrected")
cell.run(data, predict, train_step, weights=weights)
