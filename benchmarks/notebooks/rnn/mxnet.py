"""GRU in MXNet's Module API: the fused cell in the layout NTC, and a DataBatch of NDArrays per batch."""

import mxnet as mx

from common import EPOCHS, Clock, arrays, minibatches, parameters

params = parameters("rnn")
x_train, y_train = arrays("rnn")


def create_symbol():
    x = mx.sym.Variable("data")
    x = mx.sym.Embedding(data=x, input_dim=params.vocabulary, output_dim=params.embedding)
    cell = mx.rnn.FusedRNNCell(num_hidden=params.hidden, num_layers=1, mode="gru")
    outputs, _ = cell.unroll(params.length, inputs=x, layout="NTC", merge_outputs=True)
    last = mx.sym.slice_axis(outputs, axis=1, begin=params.length - 1, end=params.length)
    x = mx.sym.FullyConnected(data=last, num_hidden=params.n_classes)
    return mx.sym.SoftmaxOutput(data=x, name="softmax")


model = mx.mod.Module(context=[mx.cpu()], symbol=create_symbol())
shape = (params.batch_size, params.length)
model.bind(data_shapes=[("data", shape)], label_shapes=[("softmax_label", (params.batch_size,))])
model.init_params(initializer=mx.init.Xavier(rnd_type="uniform"))
model.init_optimizer(
    optimizer="adam",
    optimizer_params=(
        ("learning_rate", params.learning_rate),
        ("beta1", params.beta_1),
        ("beta2", params.beta_2),
        ("epsilon", params.epsilon),
    ),
)

clock = Clock(mx.__version__, wait=mx.nd.waitall)
for _ in range(EPOCHS):
    for x, y in minibatches(x_train, y_train, params.batch_size):
        batch = mx.io.DataBatch(data=[mx.nd.array(x)], label=[mx.nd.array(y)])
        model.forward(batch, is_train=True)
        model.backward()
        model.update()
    clock.lap()
