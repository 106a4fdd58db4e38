"""GRU on IMDB in Gluon, MXNet's imperative API: the data set on the device, the loss a graph of its own."""

import mxnet as mx
from mxnet import autograd, gluon, nd
from mxnet.gluon import nn, rnn

from harness import Cell, Weights

cell = Cell(mx.__version__)  # MXNet does not tell its CUDA and cuDNN
params = cell.params
mx.random.seed(cell.seed)
context = mx.gpu() if cell.gpus else mx.cpu()

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()


def upload(arrays):
    global x_train, y_train
    x_train, y_train = nd.array(arrays.x_train, context), nd.array(arrays.y_train, context)


# --- Model ----------------------------------------------------------------------------------------------------------
class Network(nn.HybridBlock):
    def __init__(self):
        super().__init__()
        with self.name_scope():
            self.embedding = nn.Embedding(params.vocabulary, params.embedding)
            self.gru = rnn.GRU(params.hidden, layout="NTC")  # reset gate after the product, two biases
            self.dense = nn.Dense(params.n_classes)

    def hybrid_forward(self, F, x):
        x = self.gru(self.embedding(x))
        last = F.slice_axis(x, axis=1, begin=-1, end=None)  # the state after the padding: no mask, as published
        return self.dense(last)


model = Network()
model.initialize(mx.init.Xavier(), ctx=context)  # Glorot uniform, as published, for the embedding too; biases zero
model.hybridize(static_alloc=True, static_shape=True)  # traces hybrid_forward once and reruns the graph
cell.gru = "cudnn" if cell.gpus else "scan"  # one operator in any case: on a CPU a loop in C++

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function = gluon.loss.SoftmaxCrossEntropyLoss()  # takes logits, returns one loss per sample
loss_function.hybridize(static_alloc=True, static_shape=True)
trainer = gluon.Trainer(
    model.collect_params(),
    "adam",
    {"learning_rate": params.learning_rate, "beta1": params.beta_1, "beta2": params.beta_2, "epsilon": params.epsilon},
)


# --- Training step --------------------------------------------------------------------------------------------------
def train_indices(order):
    losses = []
    for indices in nd.array(order, context, dtype="int32"):
        x, y = x_train.take(indices), y_train.take(indices)  # the device gathers the batch itself
        with autograd.record():
            loss = loss_function(model(x), y)
        loss.backward()  # gradient of the sum over the batch …
        trainer.step(len(x))  # … which the trainer divides by the batch size
        losses.append(loss.mean())
    return nd.concat(*losses, dim=0)


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return model(nd.array(x, context)).asnumpy()


# --- Weights --------------------------------------------------------------------------------------------------------
parameters = list(model.collect_params().values())  # in the order of the layers


def set_weights(arrays):
    for parameter, array in zip(parameters, arrays):
        parameter.set_data(nd.array(array))


def get_weights():
    return [parameter.data().asnumpy() for parameter in parameters]


weights = Weights(get_weights, set_weights, epsilon="uncorrected")
cell.run(  # synchronize: calls return at once, on a CPU too
    data, predict, upload=upload, train_indices=train_indices, synchronize=nd.waitall, weights=weights
)
