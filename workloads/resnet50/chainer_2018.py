"""Features of ResNet-50 in Chainer 4, of 2018."""

import chainer
import chainer.functions as F
import chainer.links as L
from chainer.backends import cuda

from harness import Cell, Weights

if cuda.available:
    runtime, cudnn = cuda.cupy.cuda.runtime, cuda.cupy.cuda.cudnn
    packages = {"cupy": cuda.cupy.__version__}
    cell = Cell(chainer.__version__, runtime.runtimeGetVersion(), cudnn.getVersion(), packages)
else:
    cell = Cell(chainer.__version__)  # plain NumPy
params = cell.params
if cell.gpus:
    cuda.get_device_from_id(0).use()
chainer.global_config.autotune = True  # lets cuDNN search for its fastest kernels
chainer.global_config.train = False  # normalise with the stored means, not with the batch's

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NCHW")


# --- Model ----------------------------------------------------------------------------------------------------------
class Unit(chainer.Chain):
    def __init__(self, inputs, outputs, size, stride=1):
        super().__init__()
        with self.init_scope():
            self.conv = L.Convolution2D(inputs, outputs, size, stride, pad=size // 2, nobias=True)
            self.norm = L.BatchNormalization(outputs, eps=params.epsilon)  # 2e-5 by default

    def __call__(self, x):
        return self.norm(self.conv(x))


class Block(chainer.Chain):
    def __init__(self, inputs, width, stride):
        super().__init__()
        with self.init_scope():
            self.unit1 = Unit(inputs, width, 1)
            self.unit2 = Unit(width, width, 3, stride)  # version 1.5: the stride lies on the 3×3 convolution
            self.unit3 = Unit(width, 4 * width, 1)
            self.shortcut = Unit(inputs, 4 * width, 1, stride) if inputs != 4 * width else F.identity

    def __call__(self, x):
        y = F.relu(self.unit1(x))
        y = F.relu(self.unit2(y))
        return F.relu(self.unit3(y) + self.shortcut(x))


class Network(chainer.Chain):
    def __init__(self):
        super().__init__()
        blocks, inputs = [], 64
        for stage, (count, width) in enumerate(zip(params.blocks, params.widths)):
            for block in range(count):
                blocks.append(Block(inputs, width, stride=2 if stage and block == 0 else 1))
                inputs = 4 * width
        with self.init_scope():
            self.stem = Unit(3, 64, 7, 2)
            self.blocks = chainer.Sequential(*blocks)

    def __call__(self, x):
        x = F.relu(self.stem(x))
        x = F.max_pooling_2d(x, 3, 2, pad=1, cover_all=False)  # cover_all, the default, adds a 57th row and column
        return F.average(self.blocks(x), axis=(2, 3))


model = Network()
if cell.gpus:
    model.to_gpu()
xp = model.xp  # NumPy or CuPy


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    with chainer.no_backprop_mode():  # no graph kept
        return cuda.to_cpu(model(xp.asarray(x)).array)


# --- Weights --------------------------------------------------------------------------------------------------------
def units():
    yield model.stem
    for block in model.blocks:
        yield from (block.unit1, block.unit2, block.unit3)
        if isinstance(block.shortcut, Unit):
            yield block.shortcut


def state():
    for unit in units():  # not links(), which has no order
        norm = unit.norm  # its stored mean and variance are no parameters but arrays
        yield from (unit.conv.W.array, norm.gamma.array, norm.beta.array, norm.avg_mean, norm.avg_var)


def set_weights(arrays):
    for value, array in zip(state(), arrays):
        value[...] = xp.asarray(array)


weights = Weights(lambda: [cuda.to_cpu(value) for value in state()], set_weights)
cell.run(data, predict, weights=weights)
