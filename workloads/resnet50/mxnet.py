"""Features of ResNet-50 in MXNet's Module API: a graph of symbols, bound once to its shapes."""

import mxnet as mx

from harness import Cell, Weights

cell = Cell(mx.__version__)  # MXNet does not tell its CUDA and cuDNN
params = cell.params
context = mx.gpu() if cell.gpus else mx.cpu()

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NCHW")


# --- Model ----------------------------------------------------------------------------------------------------------
def unit(x, outputs, size, stride=1):
    x = mx.sym.Convolution(
        x,
        num_filter=outputs,
        kernel=(size, size),
        stride=(stride, stride),
        pad=(size // 2, size // 2),
        no_bias=True,  # the normalisation has a bias
    )
    return mx.sym.BatchNorm(x, eps=params.epsilon, fix_gamma=False)  # by default 1e-3, and every scale fixed at 1


def relu(x):
    return mx.sym.Activation(x, act_type="relu")


def block(x, width, stride, project):
    y = relu(unit(x, width, 1))
    y = relu(unit(y, width, 3, stride))  # version 1.5: the stride lies on the 3×3 convolution
    y = unit(y, 4 * width, 1)
    return relu(y + (unit(x, 4 * width, 1, stride) if project else x))


def network(x):
    x = relu(unit(x, 64, 7, 2))
    x = mx.sym.Pooling(x, pool_type="max", kernel=(3, 3), stride=(2, 2), pad=(1, 1))
    for stage, (count, width) in enumerate(zip(params.blocks, params.widths)):
        for number in range(count):
            x = block(x, width, stride=2 if stage and number == 0 else 1, project=number == 0)
    return mx.sym.Flatten(mx.sym.Pooling(x, pool_type="avg", kernel=(7, 7), global_pool=True))


features = network(mx.sym.Variable("data"))
model = mx.mod.Module(features, label_names=None, context=context)
model.bind(data_shapes=[("data", (params.batch_size,) + data.x_test.shape[1:])], for_training=False)
model.init_params(mx.init.Xavier())


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    model.forward(mx.io.DataBatch([mx.nd.array(x, context)]))  # bound for prediction: normalises with stored means
    return model.get_outputs()[0].asnumpy()


# --- Weights --------------------------------------------------------------------------------------------------------
names = features.list_inputs()[1:]  # from input to output; the first is the images
statistics = features.list_auxiliary_states()  # stored means and variances, which no gradient changes


def set_weights(arrays):
    values = {name: mx.nd.array(array) for name, array in zip(names, arrays)}
    aux_params = {name: values.pop(name) for name in statistics}
    model.set_params(values, aux_params)


def get_weights():
    arg_params, aux_params = model.get_params()
    values = dict(arg_params, **aux_params)
    return [values[name].asnumpy() for name in names]


weights = Weights(get_weights, set_weights)
cell.run(data, predict, weights=weights)
