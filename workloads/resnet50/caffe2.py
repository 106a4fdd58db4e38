"""Features of ResNet-50 in Caffe2."""

import torch
from caffe2.proto import caffe2_pb2
from caffe2.python import brew, core, model_helper, workspace

from harness import Cell, Weights

cell = Cell(torch.__version__, torch.version.cuda, torch.backends.cudnn.version())  # Caffe2's own: it lies inside torch
params = cell.params
device = core.DeviceOption(caffe2_pb2.CUDA if cell.gpus else caffe2_pb2.CPU)

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NCHW")


# --- Model ----------------------------------------------------------------------------------------------------------
def unit(model, x, name, inputs, outputs, size, stride=1):
    conv = name + "_conv"
    x = brew.conv(model, x, conv, inputs, outputs, kernel=size, stride=stride, pad=size // 2, no_bias=True)
    return brew.spatial_bn(model, x, name, outputs, epsilon=params.epsilon, is_test=True)  # with the stored means


def block(model, x, name, inputs, width, stride):
    y = unit(model, x, name + "_1", inputs, width, 1)
    y = brew.relu(model, y, y)  # in place
    y = unit(model, y, name + "_2", width, width, 3, stride)  # version 1.5: the stride lies on the 3×3 convolution
    y = brew.relu(model, y, y)
    y = unit(model, y, name + "_3", width, 4 * width, 1)
    if inputs != 4 * width:
        x = unit(model, x, name + "_shortcut", inputs, 4 * width, 1, stride)
    y = brew.sum(model, [y, x], y)
    return brew.relu(model, y, y)


def network(model):
    x = unit(model, "images", "stem", 3, 64, 7, 2)
    x = brew.relu(model, x, x)
    x = brew.max_pool(model, x, "pool", kernel=3, stride=2, pad=1)
    inputs = 64
    for stage, (count, width) in enumerate(zip(params.blocks, params.widths)):
        for number in range(count):
            stride = 2 if stage and number == 0 else 1
            x = block(model, x, "stage%d_%d" % (stage + 1, number), inputs, width, stride)
            inputs = 4 * width
    x = brew.average_pool(model, x, "average", global_pooling=True)
    return model.net.Squeeze(x, "features", dims=[2, 3])


layers = {"order": "NCHW", "use_cudnn": bool(cell.gpus), "cudnn_exhaustive_search": True}
model = model_helper.ModelHelper("predict", arg_scope=layers)
with core.DeviceScope(device):
    features = network(model)
workspace.RunNetOnce(model.param_init_net)
workspace.CreateBlob("images")
workspace.CreateNet(model.net)


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    workspace.FeedBlob("images", x, device)
    workspace.RunNet(model.net)
    return workspace.FetchBlob(features)


# --- Weights --------------------------------------------------------------------------------------------------------
names = [operator.output[0] for operator in model.param_init_net.Proto().op]  # as they were made, statistics included


def set_weights(arrays):
    for name, array in zip(names, arrays):
        workspace.FeedBlob(name, array, device)


weights = Weights(lambda: [workspace.FetchBlob(name) for name in names], set_weights)
cell.run(data, predict, weights=weights)
