"""CNN on CIFAR-10 in Chainer 4, of 2018."""

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
from chainer.backends import cuda

from harness import Cell, Weights

if cuda.available:
    runtime, cudnn = cuda.cupy.cuda.runtime, cuda.cupy.cuda.cudnn
    packages = {"cupy": cuda.cupy.__version__}
    cell = Cell(chainer.__version__, runtime.runtimeGetVersion(), cudnn.getVersion(), packages)
else:
    cell = Cell(chainer.__version__)  # plain NumPy
params = cell.params
np.random.seed(cell.seed)  # weights are drawn on the CPU …
if cell.gpus:
    cuda.get_device_from_id(0).use()
    cuda.cupy.random.seed(cell.seed)  # … and dropout on the device
chainer.global_config.autotune = True  # lets cuDNN search for its fastest kernels

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NCHW")


# --- Model ----------------------------------------------------------------------------------------------------------
class Network(chainer.Chain):
    def __init__(self):
        super().__init__()
        few, many = params.filters
        glorot = chainer.initializers.GlorotUniform()  # Chainer's own, LeCun normal, learns faster
        with self.init_scope():
            self.conv1 = L.Convolution2D(3, few, 3, pad=1, initialW=glorot)
            self.conv2 = L.Convolution2D(few, few, 3, pad=1, initialW=glorot)
            self.conv3 = L.Convolution2D(few, many, 3, pad=1, initialW=glorot)
            self.conv4 = L.Convolution2D(many, many, 3, pad=1, initialW=glorot)
            self.dense1 = L.Linear(many * 8 * 8, params.hidden, initialW=glorot)
            self.dense2 = L.Linear(params.hidden, params.n_classes, initialW=glorot)

    def __call__(self, x):
        rate1, rate2, rate3 = params.dropout
        x = F.relu(self.conv1(x))
        x = F.relu(F.max_pooling_2d(self.conv2(x), 2))  # ReLU after the pool: same values, a quarter of the work
        x = F.dropout(x, rate1)
        x = F.relu(self.conv3(x))
        x = F.relu(F.max_pooling_2d(self.conv4(x), 2))
        x = F.dropout(x, rate2)
        x = F.dropout(F.relu(self.dense1(x)), rate3)  # Linear flattens its input
        return self.dense2(x)


model = Network()
if cell.gpus:
    model.to_gpu()
xp = model.xp  # NumPy or CuPy

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function = F.softmax_cross_entropy  # takes logits
optimizer = chainer.optimizers.MomentumSGD(lr=params.learning_rate, momentum=params.momentum).setup(model)


# --- Training step --------------------------------------------------------------------------------------------------
def train_step(x, y):
    x, y = xp.asarray(x), xp.asarray(y)
    loss = loss_function(model(x), y)
    model.cleargrads()
    loss.backward()
    optimizer.update()
    return loss.array


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    with chainer.using_config("train", False), chainer.no_backprop_mode():  # dropout off, no graph kept
        return cuda.to_cpu(model(xp.asarray(x)).array)


# --- Weights --------------------------------------------------------------------------------------------------------
def set_weights(arrays):
    for parameter, array in zip(parameters, arrays):
        parameter.array[...] = xp.asarray(array)


def get_weights():
    return [cuda.to_cpu(parameter.array) for parameter in parameters]


parameters = [parameter for _, parameter in sorted(model.namedparams())]  # params() has no order
weights = Weights(get_weights, set_weights)  # layouts as in PyTorch
synchronize = cuda.Stream.null.synchronize if cell.gpus else None
cell.run(data, predict, train_step, synchronize=synchronize, weights=weights)
