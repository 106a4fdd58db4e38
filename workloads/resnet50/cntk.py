"""Features of ResNet-50 in CNTK."""

import cntk as C

from harness import Cell, Weights

cell = Cell(C.__version__)  # CNTK does not tell its CUDA and cuDNN
params = cell.params
C.device.try_set_default_device(C.device.gpu(0) if cell.gpus else C.device.cpu())
C.cntk_py.set_max_num_cputhreads(cell.threads)  # by default as many as the machine has, whatever it may use

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NCHW")

# --- Model ----------------------------------------------------------------------------------------------------------
units = []  # each convolution with its normalisation, in the order in which they are made


def unit(x, outputs, size, stride=1):
    # pad=True centres the windows, whatever the stride: as many zeros on each side as half a window
    conv = C.layers.Convolution2D((size, size), outputs, strides=stride, pad=True, bias=False)
    norm = C.layers.BatchNormalization(map_rank=1, epsilon=params.epsilon)  # 1: one mean per channel, not per pixel
    units.append((conv, norm))
    return norm(conv(x))


def block(x, width, stride, first):
    y = C.relu(unit(x, width, 1))
    y = C.relu(unit(y, width, 3, stride))  # version 1.5: the stride lies on the 3×3 convolution
    y = unit(y, 4 * width, 1)
    shortcut = unit(x, 4 * width, 1, stride) if first else x
    return C.relu(y + shortcut)


images = C.input_variable((3, params.image_size, params.image_size))  # of one sample: no batch axis
x = C.relu(unit(images, 64, 7, 2))
x = C.layers.MaxPooling((3, 3), strides=2, pad=True)(x)
for stage, (count, width) in enumerate(zip(params.blocks, params.widths)):
    for number in range(count):
        x = block(x, width, stride=2 if stage and number == 0 else 1, first=number == 0)
model = C.squeeze(C.layers.GlobalAveragePooling()(x))  # (2048, 1, 1) without the ones


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return model.eval({images: x})  # normalises with the stored means: only train_minibatch takes the batch's


# --- Weights --------------------------------------------------------------------------------------------------------
def state():
    for conv, norm in units:
        yield from (conv.W, norm.scale, norm.bias, norm.aggregate_mean, norm.aggregate_variance)


def set_weights(arrays):
    for value, array in zip(state(), arrays):
        value.value = array


weights = Weights(lambda: [value.value for value in state()], set_weights)
cell.run(data, predict, weights=weights)
