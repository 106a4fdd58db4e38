"""Features of ResNet-50 in Keras 3 on JAX."""

import os

os.environ["KERAS_BACKEND"] = "jax"  # or "tensorflow", or "torch": the model below runs on any of them
import jax
import keras
from jax._src.lib import cuda_versions  # None in a CPU build; there is no public name for it
from keras import layers

from harness import Cell, Weights

cuda = cuda_versions and cuda_versions.cuda_runtime_get_version()
cudnn = cuda_versions and cuda_versions.cudnn_get_version()
cell = Cell(keras.__version__, cuda, cudnn, {"jax": jax.__version__}, precisions=("fp32", "tf32", "amp-bf16"))
params = cell.params
jax.config.update("jax_default_device", jax.devices("gpu" if cell.gpus else "cpu")[0])
keras.config.set_dtype_policy("mixed_bfloat16" if cell.precision == "amp-bf16" else "float32")
cell.settle_precision("jax", keras.config.dtype_policy())  # newer GPUs take TF32 unless told by name

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NHWC")  # Keras' default, "channels_last"; XLA chooses again what the device computes in


# --- Model ----------------------------------------------------------------------------------------------------------
def unit(filters, size, stride=1):
    # "same" would pad a strided convolution more to the right and at the bottom.
    padding = [layers.ZeroPadding2D(size // 2)] if stride > 1 and size > 1 else []
    conv = layers.Conv2D(filters, size, stride, padding="valid" if stride > 1 else "same", use_bias=False)
    norm = layers.BatchNormalization(epsilon=params.epsilon)  # 1e-3 by default
    return keras.Sequential([*padding, conv, norm])


def block(x, width, stride):
    y = layers.ReLU()(unit(width, 1)(x))
    y = layers.ReLU()(unit(width, 3, stride)(y))  # version 1.5: the stride lies on the 3×3 convolution
    y = unit(4 * width, 1)(y)
    shortcut = unit(4 * width, 1, stride)(x) if x.shape[-1] != 4 * width else x
    return layers.ReLU()(layers.Add()([y, shortcut]))


images = layers.Input((params.image_size, params.image_size, 3))
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
