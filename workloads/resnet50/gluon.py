"""Features of ResNet-50 in Gluon, MXNet's imperative API."""

import mxnet as mx
from mxnet import nd
from mxnet.gluon import nn

from harness import Cell, Weights

cell = Cell(mx.__version__)  # MXNet does not tell its CUDA and cuDNN
params = cell.params
context = mx.gpu() if cell.gpus else mx.cpu()

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NCHW")


# --- Model ----------------------------------------------------------------------------------------------------------
class Unit(nn.HybridSequential):
    def __init__(self, outputs, size, stride=1):
        super().__init__()
        with self.name_scope():
            self.add(
                nn.Conv2D(outputs, size, stride, padding=size // 2, use_bias=False),  # the normalisation has a bias
                nn.BatchNorm(epsilon=params.epsilon),
            )


class Block(nn.HybridBlock):
    def __init__(self, width, stride, project):
        super().__init__()
        with self.name_scope():
            self.unit1 = Unit(width, 1)
            self.unit2 = Unit(width, 3, stride)  # version 1.5: the stride lies on the 3×3 convolution
            self.unit3 = Unit(4 * width, 1)
            self.shortcut = Unit(4 * width, 1, stride) if project else None

    def hybrid_forward(self, F, x):
        y = F.relu(self.unit1(x))
        y = F.relu(self.unit2(y))
        return F.relu(self.unit3(y) + (self.shortcut(x) if self.shortcut else x))


class Network(nn.HybridBlock):
    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.stem = Unit(64, 7, 2)
            self.pool = nn.MaxPool2D(3, 2, padding=1)
            self.blocks = nn.HybridSequential()
            for stage, (count, width) in enumerate(zip(params.blocks, params.widths)):
                for block in range(count):
                    self.blocks.add(Block(width, stride=2 if stage and block == 0 else 1, project=block == 0))
            self.average = nn.GlobalAvgPool2D()

    def hybrid_forward(self, F, x):
        x = self.pool(F.relu(self.stem(x)))
        return F.flatten(self.average(self.blocks(x)))


model = Network()
model.initialize(mx.init.Xavier(), ctx=context)
model.hybridize(static_alloc=True, static_shape=True)  # traces hybrid_forward once and reruns the graph


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return model(nd.array(x, context)).asnumpy()  # outside record: normalises with the stored means


# --- Weights --------------------------------------------------------------------------------------------------------
parameters = list(model.collect_params().values())  # in the order of the layers


def set_weights(arrays):
    for parameter, array in zip(parameters, arrays):
        parameter.set_data(nd.array(array))


def get_weights():
    return [parameter.data().asnumpy() for parameter in parameters]


weights = Weights(get_weights, set_weights)
cell.run(data, predict, weights=weights)
