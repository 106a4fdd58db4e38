"""GRU on IMDB in Caffe2."""

import numpy as np
import torch
from caffe2.proto import caffe2_pb2
from caffe2.python import brew, core, gru_cell, model_helper, optimizer, recurrent, workspace
from caffe2.python.modeling.initializers import Initializer

from harness import Cell, Weights

cell = Cell(torch.__version__, torch.version.cuda, torch.backends.cudnn.version())  # Caffe2's own: it lies inside torch
params = cell.params
device = core.DeviceOption(caffe2_pb2.CUDA if cell.gpus else caffe2_pb2.CPU)

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()
inputs = ("tokens", "labels")


# --- Model ----------------------------------------------------------------------------------------------------------
def network(model, forward_only):
    table = model.create_param("table", [params.vocabulary, params.embedding], Initializer("XavierFill"))
    # By default its gradient is sparse, and Adam would leave alone all words that are not in the batch, moments too
    model.net.Gather([table, "tokens"], "rows", dense_gradient=True)
    shape = [params.length, params.batch_size, params.embedding]
    words, _ = model.net.Reshape("rows", ["words", "_"], shape=shape)  # time comes first
    start = model.param_init_net.ConstantFill([], "start", shape=[1, params.batch_size, params.hidden], value=0.0)
    _, last = gru_cell.GRU(
        model,
        words,
        None,  # lengths of the sequences: all are as long as the longest
        [start],  # without it, the first state would be learned
        params.embedding,
        params.hidden,
        scope="gru",
        outputs_with_grads=(1,),  # the loss sees the last state only; the default is all states
        forward_only=forward_only,
        linear_before_reset=True,  # cuDNN's GRU: reset gate after the product, two biases
    )
    state = model.net.Squeeze(last, "state", dims=[0])
    return brew.fc(model, state, "dense", params.hidden, params.n_classes)


model = model_helper.ModelHelper("train")
deployed = model_helper.ModelHelper("predict", init_params=False)  # finds the first one's parameters by their names
with core.DeviceScope(device):  # Xavier fill, biases zero: the default
    logits = network(model, forward_only=False)
    network(deployed, forward_only=True)
cell.gru = "scan"  # one operator, which runs a net of its own at every time-step; Caffe2 has cuDNN's LSTM alone

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
with core.DeviceScope(device):
    _, loss = model.net.SoftmaxWithLoss([logits, "labels"], ["softmax", "loss"])  # takes logits
    model.AddGradientOperators([loss])
    optimizer.build_adam(model, params.learning_rate, beta1=params.beta_1, beta2=params.beta_2, epsilon=params.epsilon)

for number, operator in enumerate(model.param_init_net.Proto().op):
    operator.device_option.random_seed = 1000 * cell.seed + number  # each operator draws from a generator of its own
workspace.RunNetOnce(model.param_init_net)
for operator in [*model.net.Proto().op, *deployed.net.Proto().op]:
    if operator.type.startswith("RecurrentNetwork"):  # by default four threads run its steps, whatever it may use
        recurrent.set_rnn_executor_config(operator, num_threads=cell.threads)
for name in inputs:
    workspace.CreateBlob(name)
workspace.CreateNet(model.net)
workspace.CreateNet(deployed.net)


# --- Training step --------------------------------------------------------------------------------------------------
def train_step(x, y):
    for name, array in zip(inputs, (x.T.ravel(), y)):
        workspace.FeedBlob(name, array, device)
    workspace.RunNet(model.net)  # forwards, backwards and update in one: all of them are operators of the net


def read_loss():  # once an epoch, as published: it waits for the device
    return workspace.FetchBlob(loss)


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    workspace.FeedBlob("tokens", x.T.ravel(), device)
    workspace.RunNet(deployed.net)
    return workspace.FetchBlob(logits)


# --- Weights --------------------------------------------------------------------------------------------------------
gates = ["gru/%s_gate_t" % gate for gate in ("reset", "update", "output")]  # one matrix for each gate of the state
blobs = [["table"], ["gru/i2h_w"], [gate + "_w" for gate in gates], ["gru/i2h_b"], [gate + "_b" for gate in gates]]
blobs += [["dense_w"], ["dense_b"]]


def set_weights(arrays):
    for names, array in zip(blobs, arrays):
        for name, part in zip(names, np.split(array, len(names))):
            workspace.FeedBlob(name, part, device)


def get_weights():
    return [np.concatenate([workspace.FetchBlob(name) for name in names]) for names in blobs]


# Adam's counter is raised before Adam reads it as the steps that are done: the first step is corrected as the second.
weights = Weights(get_weights, set_weights, epsilon="uncorrected", head_start=1)
cell.run(data, predict, train_step, weights=weights, read_loss=read_loss)
