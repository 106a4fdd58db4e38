"""CNN in MXNet's Module API: symbols, and a DataBatch of NDArrays per batch."""

import mxnet as mx

from common import EPOCHS, Clock, arrays, minibatches, parameters

params = parameters("cnn")
few, many = params.filters
drop1, drop2, drop3 = params.dropout
x_train, y_train = arrays("cnn")


def create_symbol():
    x = mx.sym.Variable("data")
    x = mx.sym.Convolution(data=x, num_filter=few, kernel=(3, 3), pad=(1, 1))
    x = mx.sym.Activation(data=x, act_type="relu")
    x = mx.sym.Convolution(data=x, num_filter=few, kernel=(3, 3), pad=(1, 1))
    x = mx.sym.Pooling(data=x, pool_type="max", kernel=(2, 2), stride=(2, 2))
    x = mx.sym.Activation(data=x, act_type="relu")
    x = mx.sym.Dropout(x, p=drop1)
    x = mx.sym.Convolution(data=x, num_filter=many, kernel=(3, 3), pad=(1, 1))
    x = mx.sym.Activation(data=x, act_type="relu")
    x = mx.sym.Convolution(data=x, num_filter=many, kernel=(3, 3), pad=(1, 1))
    x = mx.sym.Pooling(data=x, pool_type="max", kernel=(2, 2), stride=(2, 2))
    x = mx.sym.Activation(data=x, act_type="relu")
    x = mx.sym.Dropout(x, p=drop2)
    x = mx.sym.FullyConnected(data=mx.sym.Flatten(data=x), num_hidden=params.hidden)
    x = mx.sym.Activation(data=x, act_type="relu")
    x = mx.sym.Dropout(x, p=drop3)
    x = mx.sym.FullyConnected(data=x, num_hidden=params.n_classes)
    return mx.sym.SoftmaxOutput(data=x, name="softmax")


model = mx.mod.Module(context=[mx.cpu()], symbol=create_symbol())
shape = (params.batch_size, 3, 32, 32)
model.bind(data_shapes=[("data", shape)], label_shapes=[("softmax_label", (params.batch_size,))])
model.init_params(initializer=mx.init.Xavier(rnd_type="uniform"))
model.init_optimizer(
    optimizer="sgd", optimizer_params=(("learning_rate", params.learning_rate), ("momentum", params.momentum))
)

clock = Clock(mx.__version__, wait=mx.nd.waitall)
for _ in range(EPOCHS):
    for x, y in minibatches(x_train, y_train, params.batch_size):
        batch = mx.io.DataBatch(data=[mx.nd.array(x)], label=[mx.nd.array(y)])
        model.forward(batch, is_train=True)
        model.backward()
        model.update()
    clock.lap()
