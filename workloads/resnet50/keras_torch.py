"""Features of ResNet-50 in Keras 3 on PyTorch."""

import os

os.environ["KERAS_BACKEND"] = "torch"  # or "jax", or "tensorflow": the model below runs on any of them
import keras
import torch
from keras import layers

from harness import Cell, Weights

precisions = ("fp32", "tf32", "amp-fp16", "amp-bf16")
packages = {"torch": torch.__version__}
cell = Cell(keras.__version__, torch.version.cuda, torch.backends.cudnn.version(), packages, precisions)
params = cell.params
assert torch.cuda.is_available() == (cell.gpus > 0), "Keras takes the GPU if PyTorch sees one, without a word"
torch.backends.cudnn.benchmark = True  # shapes never change, so the search for the fastest kernel pays
policies = {"amp-fp16": "mixed_float16", "amp-bf16": "mixed_bfloat16"}
keras.config.set_dtype_policy(policies.get(cell.precision, "float32"))
cell.settle_precision("torch", keras.config.dtype_policy())  # cuDNN's is tf32 by default

# --- Data -----------------------------------------------------------------------------------------------------------
keras.config.set_image_data_format("channels_first")  # PyTorch's layout: on a CPU a quarter faster here than Keras'
data = cell.data(layout="NCHW")


# --- Model ----------------------------------------------------------------------------------------------------------
def unit(filters, size, stride=1):
    # "same" would pad a strided convolution more to the right and at the bottom.
    padding = [layers.ZeroPadding2D(size // 2)] if stride > 1 and size > 1 else []
    conv = layers.Conv2D(filters, size, stride, padding="valid" if stride > 1 else "same", use_bias=False)
    norm = layers.BatchNormalization(axis=1, epsilon=params.epsilon)  # 1e-3 by default; axis 1: the channels
    return keras.Sequential([*padding, conv, norm])


def block(x, width, stride):
    y = layers.ReLU()(unit(width, 1)(x))
    y = layers.ReLU()(unit(width, 3, stride)(y))  # version 1.5: the stride lies on the 3×3 convolution
    y = unit(4 * width, 1)(y)
    shortcut = unit(4 * width, 1, stride)(x) if x.shape[1] != 4 * width else x
    return layers.ReLU()(layers.Add()([y, shortcut]))


images = layers.Input((3, params.image_size, params.image_size))
x = layers.ReLU()(unit(64, 7, 2)(images))
x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(x))  # zeros do no harm: nothing behind a ReLU is smaller
for stage, (count, width) in enumerate(zip(params.blocks, params.widths)):
    for number in range(count):
        x = block(x, width, stride=2 if stage and number == 0 else 1)
model = keras.Model(images, layers.GlobalAveragePooling2D(dtype="float32")(x))


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return model.predict_on_batch(x)  # normalises with the stored means: Keras sees to that


# --- Weights --------------------------------------------------------------------------------------------------------
weights = Weights(model.get_weights, model.set_weights, conv="HWIO")
cell.run(data, predict, weights=weights)
