"""DenseNet-121 on chest X-rays in Chainer 4, of 2018, a process for each GPU."""

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
from chainer.backends import cuda
from chainer.training.updaters import multiprocess_parallel_updater as updater

from harness import Cell, Weights

versions = [chainer.__version__]  # plain NumPy
if cuda.available:
    runtime, cudnn = cuda.cupy.cuda.runtime, cuda.cupy.cuda.cudnn
    versions += [runtime.runtimeGetVersion(), cudnn.getVersion(), {"cupy": cuda.cupy.__version__}]
cell = Cell(*versions, processes=True)
params = cell.params
np.random.seed(cell.seed)  # every worker draws the same weights
if cell.gpus:
    cuda.get_device_from_id(cell.rank).use()
chainer.global_config.autotune = True  # lets cuDNN search for its fastest kernels

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()


# --- Model ----------------------------------------------------------------------------------------------------------
class Unit(chainer.Chain):
    def __init__(self, inputs, outputs, size):
        super().__init__()
        with self.init_scope():
            self.norm = L.BatchNormalization(inputs, decay=params.norm_momentum, eps=params.norm_epsilon)
            self.conv = L.Convolution2D(inputs, outputs, size, pad=size // 2, nobias=True)

    def __call__(self, x):
        return self.conv(F.relu(self.norm(x)))


class Layer(chainer.Chain):
    def __init__(self, width):
        super().__init__()
        with self.init_scope():
            self.unit1 = Unit(width, 4 * params.growth, 1)
            self.unit2 = Unit(4 * params.growth, params.growth, 3)

    def __call__(self, x):
        return F.concat([x, self.unit2(self.unit1(x))])  # all that was known, and a little more


class Transition(Unit):
    def __call__(self, x):
        return F.average_pooling_2d(super().__call__(x), 2)


class Network(chainer.Chain):
    def __init__(self):
        super().__init__()
        width = 2 * params.growth
        with self.init_scope():
            self.conv0 = L.Convolution2D(3, width, 7, 2, pad=3, nobias=True)
            self.norm0 = L.BatchNormalization(width, decay=params.norm_momentum, eps=params.norm_epsilon)
            self.blocks = chainer.Sequential()
            for block, count in enumerate(params.blocks, 1):
                for _ in range(count):
                    self.blocks.append(Layer(width))
                    width += params.growth
                if block < len(params.blocks):
                    self.blocks.append(Transition(width, width // 2, 1))
                    width //= 2
            self.norm5 = L.BatchNormalization(width, decay=params.norm_momentum, eps=params.norm_epsilon)
            self.dense = L.Linear(width, len(params.findings))

    def __call__(self, x):
        x = (x.astype(np.float32)[:, None] / 255 - mean) / sd  # three channels for the one of an X-ray
        x = F.relu(self.norm0(self.conv0(x)))
        x = F.max_pooling_2d(x, 3, 2, pad=1, cover_all=False)  # cover_all, the default, adds a row and a column
        x = F.relu(self.norm5(self.blocks(x)))
        return self.dense(F.average(x, axis=(2, 3)))


model = Network()
for link in model.links():
    if isinstance(link, L.BatchNormalization):
        link.avg_var[...] = 1  # Chainer 4 begins with 0, by whose root the first predictions would be divided
if cell.gpus:
    model.to_gpu()
xp = model.xp  # NumPy or CuPy
mean, sd = (xp.asarray(of_channels, np.float32)[:, None, None] for of_channels in (params.mean, params.sd))

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function = F.sigmoid_cross_entropy  # takes logits and whole numbers; mean over images and findings
optimizer = chainer.optimizers.Adam(params.learning_rate, params.beta_1, params.beta_2, params.epsilon).setup(model)
if cell.workers > 1 and cell.gpus:
    nccl = updater.nccl.NcclCommunicator(cell.workers, cell.team.share(updater.nccl.get_unique_id()), cell.rank)


# --- Training step --------------------------------------------------------------------------------------------------
def train_step(x, y):
    loss = loss_function(model(xp.asarray(x)), xp.asarray(y.astype(np.int32)))
    model.cleargrads()
    loss.backward()
    if cell.workers > 1:
        average_gradients()
    optimizer.update()
    return loss.array


def average_gradients():
    if cell.gpus:  # what MultiprocessParallelUpdater does, in the processes that there are
        gradients = updater.gather_grads(model)
        place, stream = gradients.data.ptr, cuda.Stream.null.ptr
        nccl.allReduce(place, place, gradients.size, updater.nccl.NCCL_FLOAT, updater.nccl.NCCL_SUM, stream)
        updater.scatter_grads(model, gradients / cell.workers)
    else:
        cell.team.average([each.grad for _, each in sorted(model.namedparams())])  # in place; params() has no order


def synchronize():
    if cell.workers > 1:  # each worker has seen its own images' statistics
        set_weights(cell.team.share([cuda.to_cpu(value) for value in state()]))
    if cell.gpus:
        cuda.Stream.null.synchronize()


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    with chainer.using_config("train", False), chainer.no_backprop_mode():  # stored means, no graph kept
        return cuda.to_cpu(model(xp.asarray(x)).array)


# --- Weights --------------------------------------------------------------------------------------------------------
def layers():  # not links(), which has no order
    yield from (model.conv0, model.norm0)
    for part in model.blocks:
        for unit in [part] if isinstance(part, Transition) else [part.unit1, part.unit2]:
            yield from (unit.norm, unit.conv)
    yield from (model.norm5, model.dense)


def state():
    for layer in layers():
        if isinstance(layer, L.BatchNormalization):  # its stored mean and variance are no parameters but arrays
            yield from (layer.gamma.array, layer.beta.array, layer.avg_mean, layer.avg_var)
        else:
            yield from (parameter.array for parameter in (layer.W, layer.b) if parameter is not None)


def set_weights(arrays):
    for value, array in zip(state(), arrays):
        value[...] = xp.asarray(array)


imagenet = cell.pretrained("densenet121-a639ec97.pth")  # torchvision's: Chainer fetches weights of no DenseNet
weights = Weights(lambda: list(map(cuda.to_cpu, state())), set_weights, epsilon="uncorrected", torchvision=imagenet)
cell.run(data, predict, train_step, synchronize=synchronize, weights=weights)
