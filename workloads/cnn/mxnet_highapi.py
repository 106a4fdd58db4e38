"""CNN on CIFAR-10 in MXNet's Module API, whose fit runs the loop over an iterator."""

import logging

import mxnet as mx

from harness import Cell, Weights

cell = Cell(mx.__version__)  # MXNet does not tell its CUDA and cuDNN
params = cell.params
mx.random.seed(cell.seed)
context = mx.gpu() if cell.gpus else mx.cpu()

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NCHW")


# --- Model ----------------------------------------------------------------------------------------------------------
def network(x):
    few, many = params.filters
    rate1, rate2, rate3 = params.dropout
    x = mx.sym.Convolution(x, num_filter=few, kernel=(3, 3), pad=(1, 1), name="conv1")
    x = mx.sym.Activation(x, act_type="relu")
    x = mx.sym.Convolution(x, num_filter=few, kernel=(3, 3), pad=(1, 1), name="conv2")
    x = mx.sym.Pooling(x, pool_type="max", kernel=(2, 2), stride=(2, 2))
    x = mx.sym.Activation(x, act_type="relu")  # ReLU after the pool: same values, a quarter of the work
    x = mx.sym.Dropout(x, p=rate1)
    x = mx.sym.Convolution(x, num_filter=many, kernel=(3, 3), pad=(1, 1), name="conv3")
    x = mx.sym.Activation(x, act_type="relu")
    x = mx.sym.Convolution(x, num_filter=many, kernel=(3, 3), pad=(1, 1), name="conv4")
    x = mx.sym.Pooling(x, pool_type="max", kernel=(2, 2), stride=(2, 2))
    x = mx.sym.Activation(x, act_type="relu")
    x = mx.sym.Dropout(x, p=rate2)
    x = mx.sym.FullyConnected(mx.sym.Flatten(x), num_hidden=params.hidden, name="dense1")
    x = mx.sym.Activation(x, act_type="relu")
    x = mx.sym.Dropout(x, p=rate3)
    return mx.sym.FullyConnected(x, num_hidden=params.n_classes, name="dense2")


# --- Loss and optimiser ---------------------------------------------------------------------------------------------
# SoftmaxOutput is the loss too: forwards it gives probabilities, backwards the gradient of the summed cross-entropy
# to its variable softmax_label, which Module divides by the batch size.
softmax = mx.sym.SoftmaxOutput(network(mx.sym.Variable("data")), name="softmax")
logger = logging.getLogger("mxnet.fit")
logger.setLevel(logging.ERROR)  # at each call, fit would warn that it finds everything bound and initialised
model = mx.mod.Module(softmax, context=context, logger=logger)
model.bind(
    data_shapes=[("data", (params.batch_size,) + data.x_train.shape[1:])],
    label_shapes=[("softmax_label", (params.batch_size,))],
)
model.init_params(mx.init.Xavier())  # Glorot uniform, as published; biases zero
optimizer_params = {"learning_rate": params.learning_rate, "momentum": params.momentum}


# --- Training step --------------------------------------------------------------------------------------------------
def train_epoch(x, y):  # x and y come shuffled
    metric = mx.metric.CrossEntropy()  # the mean over the epoch; reading it waits for the device at every batch
    batches = mx.io.NDArrayIter(x, y, params.batch_size)
    # Only the first call makes the optimiser: it keeps its momentum.
    model.fit(batches, eval_metric=metric, optimizer="sgd", optimizer_params=optimizer_params, num_epoch=1)
    return metric.get()[1]


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return model.predict(mx.io.NDArrayIter(x, batch_size=params.batch_size)).asnumpy()  # dropout off


# --- Weights --------------------------------------------------------------------------------------------------------
names = [name for name in softmax.list_inputs() if name not in ("data", "softmax_label")]  # from input to output


def set_weights(arrays):
    model.set_params({name: mx.nd.array(array) for name, array in zip(names, arrays)}, aux_params={})


def get_weights():
    arg_params, _ = model.get_params()
    return [arg_params[name].asnumpy() for name in names]


weights = Weights(get_weights, set_weights, scores="probabilities")
cell.run(data, predict, train_epoch=train_epoch, synchronize=mx.nd.waitall, weights=weights)
