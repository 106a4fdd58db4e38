"""CNN in Caffe2: one net that trains, blobs fed per batch."""

import torch
from caffe2.python import brew, model_helper, optimizer, workspace

from common import EPOCHS, Clock, arrays, minibatches, parameters

params = parameters("cnn")
few, many = params.filters
drop1, drop2, drop3 = params.dropout
x_train, y_train = arrays("cnn")


def create_model(m):
    brew.conv(m, "data", "conv1", dim_in=3, dim_out=few, kernel=3, pad=1, no_gradient_to_input=1)
    brew.relu(m, "conv1", "relu1")
    brew.conv(m, "relu1", "conv2", dim_in=few, dim_out=few, kernel=3, pad=1)
    brew.max_pool(m, "conv2", "pool1", kernel=2, stride=2)
    brew.relu(m, "pool1", "relu2")
    brew.dropout(m, "relu2", "drop1", ratio=drop1, is_test=0)
    brew.conv(m, "drop1", "conv3", dim_in=few, dim_out=many, kernel=3, pad=1)
    brew.relu(m, "conv3", "relu3")
    brew.conv(m, "relu3", "conv4", dim_in=many, dim_out=many, kernel=3, pad=1)
    brew.max_pool(m, "conv4", "pool2", kernel=2, stride=2)
    brew.relu(m, "pool2", "relu4")
    brew.dropout(m, "relu4", "drop2", ratio=drop2, is_test=0)
    brew.fc(m, "drop2", "fc1", dim_in=many * 8 * 8, dim_out=params.hidden)
    brew.relu(m, "fc1", "relu5")
    brew.dropout(m, "relu5", "drop3", ratio=drop3, is_test=0)
    return brew.fc(m, "drop3", "fc2", dim_in=params.hidden, dim_out=params.n_classes)


model = model_helper.ModelHelper(name="train_net", arg_scope={"order": "NCHW"})
_, loss = model.SoftmaxWithLoss([create_model(model), "label"], ["softmax", "loss"])
model.AddGradientOperators([loss])
optimizer.build_sgd(model, base_learning_rate=params.learning_rate, momentum=params.momentum, nesterov=0)
workspace.FeedBlob("data", x_train[: params.batch_size])
workspace.FeedBlob("label", y_train[: params.batch_size])
workspace.RunNetOnce(model.param_init_net)
workspace.CreateNet(model.net, overwrite=True)

clock = Clock(torch.__version__)
for _ in range(EPOCHS):
    for x, y in minibatches(x_train, y_train, params.batch_size):
        workspace.FeedBlob("data", x)
        workspace.FeedBlob("label", y)
        workspace.RunNet(model.net)
    clock.lap()
