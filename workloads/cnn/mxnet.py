"""CNN on CIFAR-10 in MXNet's Module API: a graph of symbols, bound once to its shapes."""

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
model = mx.mod.Module(softmax, context=context)
model.bind(
    data_shapes=[("data", (params.batch_size,) + data.x_train.shape[1:])],
    label_shapes=[("softmax_label", (params.batch_size,))],
)
model.init_params(mx.init.Xavier())  # Glorot uniform, as published; biases zero
model.init_optimizer(
    optimizer="sgd", optimizer_params={"learning_rate": params.learning_rate, "momentum": params.momentum}
)


# --- Training step --------------------------------------------------------------------------------------------------
def train_step(x, y):
    x, y = mx.nd.array(x, context), mx.nd.array(y, context)
    model.forward_backward(mx.io.DataBatch([x], [y]))
    model.update()
    probabilities = model.get_outputs()[0]
    return -(probabilities.pick(y) + 1e-8).log().mean()  # for the record: SoftmaxOutput trains without it


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    model.forward(mx.io.DataBatch([mx.nd.array(x, context)]), is_train=False)  # dropout off
    return model.get_outputs()[0].asnumpy()


# --- Weights --------------------------------------------------------------------------------------------------------
names = [name for name in softmax.list_inputs() if name not in ("data", "softmax_label")]  # from input to output


def set_weights(arrays):
    model.set_params({name: mx.nd.array(array) for name, array in zip(names, arrays)}, aux_params={})


def get_weights():
    arg_params, _ = model.get_params()
    return [arg_params[name].asnumpy() for name in names]


weights = Weights(get_weights, set_weights, scores="probabilities")
cell.run(data, predict, train_step, synchronize=mx.nd.waitall, weights=weights)  # calls return at once, on a CPU too
