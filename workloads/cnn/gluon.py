"""CNN on CIFAR-10 in Gluon, MXNet's imperative API."""

import mxnet as mx
from mxnet import autograd, gluon, nd
from mxnet.gluon import nn

from harness import Cell, Weights

cell = Cell(mx.__version__)  # MXNet does not tell its CUDA and cuDNN
params = cell.params
mx.random.seed(cell.seed)
context = mx.gpu() if cell.gpus else mx.cpu()

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NCHW")


# --- Model ----------------------------------------------------------------------------------------------------------
class Network(nn.HybridBlock):
    def __init__(self):
        super().__init__()
        few, many = params.filters
        with self.name_scope():
            self.conv1 = nn.Conv2D(few, 3, padding=1, activation="relu")  # number of inputs: known at the first batch
            self.conv2 = nn.Conv2D(few, 3, padding=1)
            self.conv3 = nn.Conv2D(many, 3, padding=1, activation="relu")
            self.conv4 = nn.Conv2D(many, 3, padding=1)
            self.pool = nn.MaxPool2D(2)
            self.drop1, self.drop2, self.drop3 = (nn.Dropout(rate) for rate in params.dropout)
            self.dense1 = nn.Dense(params.hidden, activation="relu")  # flattens its input
            self.dense2 = nn.Dense(params.n_classes)

    def hybrid_forward(self, F, x):
        x = self.conv1(x)
        x = self.drop1(F.relu(self.pool(self.conv2(x))))  # ReLU after the pool: same values, a quarter of the work
        x = self.conv3(x)
        x = self.drop2(F.relu(self.pool(self.conv4(x))))
        x = self.drop3(self.dense1(x))
        return self.dense2(x)


model = Network()
model.initialize(mx.init.Xavier(), ctx=context)  # Glorot uniform (published: 0.86 of it, magnitude=2.24); biases zero
model.hybridize(static_alloc=True, static_shape=True)  # traces hybrid_forward once and reruns the graph

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function = gluon.loss.SoftmaxCrossEntropyLoss()  # takes logits, returns one loss per sample
trainer = gluon.Trainer(
    model.collect_params(), "sgd", {"learning_rate": params.learning_rate, "momentum": params.momentum}
)


# --- Training step --------------------------------------------------------------------------------------------------
def train_step(x, y):
    x, y = nd.array(x, context), nd.array(y, context)
    with autograd.record():  # training mode: dropout on
        loss = loss_function(model(x), y)
    loss.backward()  # gradient of the sum over the batch …
    trainer.step(len(x))  # … which the trainer divides by the batch size
    return loss.mean()


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return model(nd.array(x, context)).asnumpy()  # outside record: dropout off


# --- Weights --------------------------------------------------------------------------------------------------------
parameters = list(model.collect_params().values())  # in the order of the layers


def set_weights(arrays):
    for parameter, array in zip(parameters, arrays):
        parameter.set_data(nd.array(array))


def get_weights():
    return [parameter.data().asnumpy() for parameter in parameters]


weights = Weights(get_weights, set_weights)
cell.run(data, predict, train_step, synchronize=nd.waitall, weights=weights)  # calls return at once, on a CPU too
