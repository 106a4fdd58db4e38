"""Features of ResNet-50 in Keras 2 on CNTK."""

import os

os.environ["KERAS_BACKEND"] = "cntk"
import cntk
import keras
from keras import layers

from harness import Cell, Weights

cell = Cell(cntk.__version__, packages={"keras": keras.__version__})  # CNTK does not tell its CUDA and cuDNN
params = cell.params
device = cntk.device.use_default_device()  # chosen by CNTK when Keras was imported: the GPU, if it sees one
assert device.type() == min(cell.gpus, 1), "CNTK chose another kind of device: %s" % device
cntk.cntk_py.set_max_num_cputhreads(cell.threads)  # by default as many as the machine has, whatever it may use

# --- Data -----------------------------------------------------------------------------------------------------------
keras.backend.set_image_data_format("channels_first")  # CNTK's only one: else Keras transposes around every layer
data = cell.data(layout="NCHW")

# --- Model ----------------------------------------------------------------------------------------------------------
units = []  # each convolution with its normalisation, in the order in which they are made


def unit(x, outputs, size, stride=1):
    conv = layers.Conv2D(outputs, size, strides=stride, use_bias=False)
    norm = layers.BatchNormalization(axis=1, epsilon=params.epsilon)  # 1e-3 by default; axis 1: the channels
    units.append((conv, norm))
    if size > 1:  # by hand: what "same" pads with a stride depends on the backend
        x = layers.ZeroPadding2D(size // 2)(x)
    return norm(conv(x))


def block(x, width, stride, first):
    y = layers.Activation("relu")(unit(x, width, 1))
    y = layers.Activation("relu")(unit(y, width, 3, stride))  # version 1.5: the stride lies on the 3×3 convolution
    y = unit(y, 4 * width, 1)
    shortcut = unit(x, 4 * width, 1, stride) if first else x
    return layers.Activation("relu")(layers.add([y, shortcut]))


images = layers.Input((3, params.image_size, params.image_size))
x = layers.Activation("relu")(unit(images, 64, 7, 2))
x = layers.MaxPooling2D(3, strides=2)(layers.ZeroPadding2D(1)(x))
for stage, (count, width) in enumerate(zip(params.blocks, params.widths)):
    for number in range(count):
        x = block(x, width, stride=2 if stage and number == 0 else 1, first=number == 0)
model = keras.Model(images, layers.GlobalAveragePooling2D()(x))


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return model.predict_on_batch(x)  # normalises with the stored means: Keras sees to that


# --- Weights --------------------------------------------------------------------------------------------------------
def get_weights():
    return [array for unit in units for layer in unit for array in layer.get_weights()]


def set_weights(arrays):
    for number, (conv, norm) in enumerate(units):
        weight, *rest = arrays[5 * number : 5 * number + 5]
        conv.set_weights([weight])
        norm.set_weights(rest)  # scale, shift, mean, variance


weights = Weights(get_weights, set_weights, conv="HWIO")
cell.run(data, predict, weights=weights)
