"""GRU on IMDB in PaddlePaddle, its network as a static graph."""

import os
from pathlib import Path

if "AuthenticAMD" in Path("/proc/cpuinfo").read_text():  # where MKL takes slow code: ask for its code for AVX2
    os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")  # before MKL is loaded
import paddle
from paddle import nn

from harness import Cell, Weights

build = paddle.version  # cuda() and cudnn() are the text "False" in a build for CPUs
cuda, cudnn = (build.cuda(), build.cudnn()) if paddle.is_compiled_with_cuda() else (None, None)
cell = Cell(paddle.__version__, cuda, cudnn)
params = cell.params
paddle.seed(cell.seed)
paddle.set_device("gpu" if cell.gpus else "cpu")  # where everything is made and computed from here on
cell.settle_precision("paddle")  # cuDNN's is TF32 by default, on newer GPUs

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()


def upload(arrays):
    global x_train, y_train
    x_train, y_train = paddle.to_tensor(arrays.x_train), paddle.to_tensor(arrays.y_train)


# --- Model ----------------------------------------------------------------------------------------------------------
class Network(nn.Layer):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(params.vocabulary, params.embedding)
        self.gru = nn.GRU(params.embedding, params.hidden)  # batch first; reset gate after the product, two biases
        self.dense = nn.Linear(params.hidden, params.n_classes)

    def forward(self, x):
        _, last = self.gru(self.embedding(x))  # the state after the padding: no mask, as published
        return self.dense(last[0])


model = Network()  # Paddle's own: Glorot uniform, biases zero, the GRU uniform in ±1/√hidden with its biases
cell.gru = "cudnn" if cell.gpus and model.gru.could_use_cudnn else "scan"  # one operator in any case

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function = nn.CrossEntropyLoss()  # takes logits
optimizer = paddle.optimizer.Adam(
    params.learning_rate, params.beta_1, params.beta_2, params.epsilon, parameters=model.parameters()
)


# --- Training step --------------------------------------------------------------------------------------------------
@paddle.jit.to_static  # traced once: no Python between operators
def loss_of(x, y):
    return loss_function(model(x), y)


def train_indices(order):
    model.train()
    losses = []
    for indices in paddle.to_tensor(order):
        loss = loss_of(paddle.gather(x_train, indices), paddle.gather(y_train, indices))  # on the device
        loss.backward()
        optimizer.step()
        optimizer.clear_grad(set_to_zero=False)  # gradients are made anew: nothing to fill with zeros
        losses.append(loss.detach())
    return paddle.stack(losses).numpy()


# --- Prediction -----------------------------------------------------------------------------------------------------
@paddle.no_grad()
def predict(x):
    model.eval()
    return model(paddle.to_tensor(x)).numpy()


# --- Weights --------------------------------------------------------------------------------------------------------
parameters = model.parameters()


def set_weights(arrays):
    *others, weight, bias = arrays
    for parameter, array in zip(parameters, [*others, weight.T, bias]):  # dense layers are (in, out), the GRU (out, in)
        parameter.set_value(array)


def get_weights():
    *others, weight, bias = [parameter.numpy() for parameter in parameters]
    return [*others, weight.T, bias]


weights = Weights(get_weights, set_weights)
synchronize = paddle.device.synchronize if cell.gpus else None
cell.run(data, predict, upload=upload, train_indices=train_indices, synchronize=synchronize, weights=weights)
