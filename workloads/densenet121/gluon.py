"""DenseNet-121 on chest X-rays in Gluon, MXNet's imperative API, a context for each GPU."""

# ruff: noqa: E402, since OpenMP reads its variable when MXNet is imported

import os

import numpy as np

from harness import Cell, Weights, arguments

asked = arguments.parse(arguments.command_line())
if asked.workers > 1 and not asked.gpus:  # then each worker computes in a thread of its own, and in no more: where two
    os.environ["OMP_NUM_THREADS"] = "1"  # of them split a product at the same time, MXNet's OpenBLAS waits forever
import mxnet as mx
from mxnet import autograd, gluon, nd
from mxnet.gluon import nn
from mxnet.gluon.model_zoo import vision

cell = Cell(mx.__version__)  # MXNet does not tell its CUDA and cuDNN
cell.threads = int(os.environ["OMP_NUM_THREADS"])
params = cell.params
mx.random.seed(cell.seed)
contexts = [mx.gpu(n) if cell.gpus else mx.cpu(n) for n in range(cell.workers)]  # CPUs by number: the same cores

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()


def shared(x):  # the workers' shares lie one after another
    return [nd.array(part, context, part.dtype) for part, context in zip(np.split(x, cell.workers), contexts)]


def normalised(x):  # three channels for the one of an X-ray
    x = x.astype("float32").expand_dims(1) / 255
    return nd.concat(*[(x - mean) / sd for mean, sd in zip(params.mean, params.sd)], dim=1)


# --- Model ----------------------------------------------------------------------------------------------------------
class Unit(nn.HybridSequential):
    def __init__(self, outputs, size):
        super().__init__()
        with self.name_scope():
            self.add(
                nn.BatchNorm(momentum=params.norm_momentum, epsilon=params.norm_epsilon),
                nn.Activation("relu"),
                nn.Conv2D(outputs, size, padding=size // 2, use_bias=False),
            )


class Layer(nn.HybridBlock):
    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.unit1 = Unit(4 * params.growth, 1)
            self.unit2 = Unit(params.growth, 3)

    def hybrid_forward(self, F, x):
        return F.concat(x, self.unit2(self.unit1(x)), dim=1)  # all that was known, and a little more


class Network(nn.HybridSequential):
    def __init__(self):
        super().__init__()
        width = 2 * params.growth
        with self.name_scope():
            self.add(
                nn.Conv2D(width, 7, 2, padding=3, use_bias=False), *self.normalised(), nn.MaxPool2D(3, 2, padding=1)
            )
            for block, count in enumerate(params.blocks, 1):
                self.add(*[Layer() for _ in range(count)])
                width += count * params.growth
                if block < len(params.blocks):
                    width //= 2
                    self.add(Unit(width, 1), nn.AvgPool2D(2))
            self.add(*self.normalised(), nn.GlobalAvgPool2D(), nn.Dense(len(params.findings)))

    @staticmethod
    def normalised():
        return nn.BatchNorm(momentum=params.norm_momentum, epsilon=params.norm_epsilon), nn.Activation("relu")


model = Network()
model.initialize(mx.init.Xavier(), ctx=contexts)
model.hybridize(static_alloc=True, static_shape=True)  # traces the network once and reruns the graph
parameters = list(model.collect_params().values())  # in the order of the layers
pretrained = cell.pretrained("densenet121-f27dbf2d.params")  # of Gluon's model zoo
if pretrained:
    zoo = vision.densenet121()
    zoo.load_parameters(pretrained)
    for mine, theirs in zip(parameters[:-2], zoo.collect_params().values()):  # all but the dense layer
        mine.set_data(theirs.data())

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function = gluon.loss.SigmoidBinaryCrossEntropyLoss()  # takes logits, returns the mean over findings per image
trainer = gluon.Trainer(
    model.collect_params(),
    "adam",
    {"learning_rate": params.learning_rate, "beta1": params.beta_1, "beta2": params.beta_2, "epsilon": params.epsilon},
    kvstore="device",  # adds up the gradients of all contexts, where they are
)


# --- Training step --------------------------------------------------------------------------------------------------
def train_step(x, y):
    shares = zip(shared(x), shared(y))
    with autograd.record():  # training mode: each context normalises with its own images' statistics
        losses = [loss_function(model(normalised(images)), labels) for images, labels in shares]
    autograd.backward(losses)  # gradient of the sum over the batch …
    trainer.step(len(x))  # … which the trainer divides by the batch size
    return nd.concat(*[loss.as_in_context(contexts[0]) for loss in losses], dim=0).mean()


def synchronize():
    for parameter in parameters if cell.workers > 1 else ():
        if parameter.grad_req == "null":  # running statistics: each context has seen its own images'
            parameter.set_data(parameter.data(contexts[0]))
    nd.waitall()  # calls return at once, on a CPU too


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    scores = [model(normalised(images)) for images in shared(x)]
    return np.concatenate([score.asnumpy() for score in scores])


# --- Weights --------------------------------------------------------------------------------------------------------
def set_weights(arrays):
    for parameter, array in zip(parameters, arrays):
        parameter.set_data(nd.array(array))


def replicas():
    return [[parameter.data(context).asnumpy() for parameter in parameters] for context in contexts]


weights = Weights(lambda: replicas()[0], set_weights, epsilon="uncorrected", replicas=replicas)
cell.run(data, predict, train_step, synchronize=synchronize, weights=weights)
