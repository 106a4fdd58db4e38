"""CNN on CIFAR-10 in Caffe2."""

import torch
from caffe2.proto import caffe2_pb2
from caffe2.python import brew, core, model_helper, optimizer, workspace

from harness import Cell, Weights

cell = Cell(torch.__version__, torch.version.cuda, torch.backends.cudnn.version())  # Caffe2's own: it lies inside torch
params = cell.params
device = core.DeviceOption(caffe2_pb2.CUDA if cell.gpus else caffe2_pb2.CPU)

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NCHW")
inputs = ("images", "labels")


# --- Model ----------------------------------------------------------------------------------------------------------
def glorot(dim_in, dim_out, kernel=1):  # uniform; published with the default, XavierFill, which goes by dim_in alone
    limit = (6 / (kernel * kernel * (dim_in + dim_out))) ** 0.5
    return {"weight_init": ("UniformFill", {"min": -limit, "max": limit})}


def network(model, is_test):
    few, many = params.filters
    drop1, drop2, drop3 = params.dropout
    flat = many * 8 * 8
    brew.conv(model, "images", "conv1", 3, few, kernel=3, pad=1, no_gradient_to_input=1, **glorot(3, few, kernel=3))
    brew.relu(model, "conv1", "conv1")  # the same name for input and output: in place
    brew.conv(model, "conv1", "conv2", few, few, kernel=3, pad=1, **glorot(few, few, kernel=3))
    brew.max_pool(model, "conv2", "pool1", kernel=2, stride=2)  # the default stride is 1, not the window's size
    brew.relu(model, "pool1", "maps1")  # not in place: the gradient of the pool looks at the pool's output
    brew.dropout(model, "maps1", "drop1", ratio=drop1, is_test=is_test)
    brew.conv(model, "drop1", "conv3", few, many, kernel=3, pad=1, **glorot(few, many, kernel=3))
    brew.relu(model, "conv3", "conv3")
    brew.conv(model, "conv3", "conv4", many, many, kernel=3, pad=1, **glorot(many, many, kernel=3))
    brew.max_pool(model, "conv4", "pool2", kernel=2, stride=2)
    brew.relu(model, "pool2", "maps2")
    brew.dropout(model, "maps2", "drop2", ratio=drop2, is_test=is_test)
    brew.fc(model, "drop2", "dense1", flat, params.hidden, **glorot(flat, params.hidden))  # flattens by itself
    brew.relu(model, "dense1", "dense1")
    brew.dropout(model, "dense1", "drop3", ratio=drop3, is_test=is_test)
    return brew.fc(model, "drop3", "dense2", params.hidden, params.n_classes, **glorot(params.hidden, params.n_classes))


layers = {"order": "NCHW", "use_cudnn": bool(cell.gpus), "cudnn_exhaustive_search": True}
model = model_helper.ModelHelper("train", arg_scope=layers)
# Dropout is switched off in the net itself, so prediction is a net of its own. It makes no parameters: those of the
# first have the same names in the workspace.
deployed = model_helper.ModelHelper("predict", arg_scope=layers, init_params=False)
with core.DeviceScope(device):  # biases zero: the default
    logits = network(model, is_test=0)
    network(deployed, is_test=1)

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
with core.DeviceScope(device):
    _, loss = model.net.SoftmaxWithLoss([logits, "labels"], ["softmax", "loss"])  # takes logits
    model.AddGradientOperators([loss])
    optimizer.build_sgd(model, params.learning_rate, momentum=params.momentum, nesterov=0)  # the default is Nesterov's

for number, operator in enumerate([*model.param_init_net.Proto().op, *model.net.Proto().op]):
    operator.device_option.random_seed = 1000 * cell.seed + number  # each operator draws from a generator of its own
workspace.RunNetOnce(model.param_init_net)
for name in inputs:
    workspace.CreateBlob(name)
workspace.CreateNet(model.net)
workspace.CreateNet(deployed.net)


# --- Training step --------------------------------------------------------------------------------------------------
def train_step(x, y):
    for name, array in zip(inputs, (x, y)):
        workspace.FeedBlob(name, array, device)
    workspace.RunNet(model.net)  # forwards, backwards and update in one: all of them are operators of the net


def read_loss():  # once an epoch, as published: it waits for the device
    return workspace.FetchBlob(loss)


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    workspace.FeedBlob("images", x, device)
    workspace.RunNet(deployed.net)
    return workspace.FetchBlob(logits)


# --- Weights --------------------------------------------------------------------------------------------------------
def set_weights(arrays):
    for parameter, array in zip(model.params, arrays):
        workspace.FeedBlob(parameter, array, device)


def get_weights():
    return [workspace.FetchBlob(parameter) for parameter in model.params]


weights = Weights(get_weights, set_weights)
cell.run(data, predict, train_step, weights=weights, read_loss=read_loss)
