"""GRU in Caffe2: one net that trains, blobs fed per batch, time first.

There was none in 2018. The embedding's gradient is dense, as ours is: for a sparse one, Caffe2's Adam is another
algorithm, which leaves alone all words that are not in the batch, moments too.
"""

import torch
from caffe2.python import brew, gru_cell, model_helper, optimizer, workspace
from caffe2.python.modeling.initializers import Initializer

from common import EPOCHS, Clock, arrays, minibatches, parameters

params = parameters("rnn")
x_train, y_train = arrays("rnn")


def create_model(m):
    table = m.create_param("table", [params.vocabulary, params.embedding], Initializer("XavierFill"))
    rows = m.net.Gather([table, "tokens"], "rows", dense_gradient=True)
    words, _ = m.net.Reshape(rows, ["words", "_"], shape=[params.length, params.batch_size, params.embedding])
    shape = [1, params.batch_size, params.hidden]
    start = m.param_init_net.ConstantFill([], "start", shape=shape, value=0.0)
    _, last = gru_cell.GRU(
        m,
        words,
        None,
        [start],
        params.embedding,
        params.hidden,
        "gru",
        outputs_with_grads=(1,),
        linear_before_reset=True,
    )
    state = m.net.Squeeze(last, "state", dims=[0])
    return brew.fc(m, state, "fc", dim_in=params.hidden, dim_out=params.n_classes)


model = model_helper.ModelHelper(name="train_net")
_, loss = model.SoftmaxWithLoss([create_model(model), "label"], ["softmax", "loss"])
model.AddGradientOperators([loss])
optimizer.build_adam(model, params.learning_rate, beta1=params.beta_1, beta2=params.beta_2, epsilon=params.epsilon)
workspace.FeedBlob("tokens", x_train[: params.batch_size].T.flatten())
workspace.FeedBlob("label", y_train[: params.batch_size])
workspace.RunNetOnce(model.param_init_net)
workspace.CreateNet(model.net, overwrite=True)

clock = Clock(torch.__version__)
for _ in range(EPOCHS):
    for x, y in minibatches(x_train, y_train, params.batch_size):
        workspace.FeedBlob("tokens", x.T.flatten())
        workspace.FeedBlob("label", y)
        workspace.RunNet(model.net)
    clock.lap()
