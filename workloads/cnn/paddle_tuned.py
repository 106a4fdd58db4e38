"""CNN on CIFAR-10 in PaddlePaddle, its network as a static graph."""

import os
from pathlib import Path

if "AuthenticAMD" in Path("/proc/cpuinfo").read_text():  # where MKL takes slow code: ask for its code for AVX2
    os.environ.setdefault("MKL_DEBUG_CPU_TYPE", "5")  # before MKL is loaded
import paddle
from paddle import nn
from paddle.nn import functional as F

from harness import Cell, Weights

build = paddle.version  # cuda() and cudnn() are the text "False" in a build for CPUs
cuda, cudnn = (build.cuda(), build.cudnn()) if paddle.is_compiled_with_cuda() else (None, None)
cell = Cell(paddle.__version__, cuda, cudnn)
params = cell.params
paddle.seed(cell.seed)
paddle.set_device("gpu" if cell.gpus else "cpu")  # where everything is made and computed from here on
cell.settle_precision("paddle")  # cuDNN's is TF32 by default, on newer GPUs

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NCHW")
cell.layout = "NCHW"


def upload(arrays):
    global x_train, y_train
    x_train, y_train = paddle.to_tensor(arrays.x_train), paddle.to_tensor(arrays.y_train)


# --- Model ----------------------------------------------------------------------------------------------------------
class Network(nn.Layer):
    def __init__(self):
        super().__init__()
        few, many = params.filters
        self.conv1 = nn.Conv2D(3, few, 3, padding="SAME")
        self.conv2 = nn.Conv2D(few, few, 3, padding="SAME")
        self.conv3 = nn.Conv2D(few, many, 3, padding="SAME")
        self.conv4 = nn.Conv2D(many, many, 3, padding="SAME")
        self.pool = nn.MaxPool2D(2)
        self.drop1, self.drop2, self.drop3 = (nn.Dropout(rate) for rate in params.dropout)
        self.dense1 = nn.Linear(many * 8 * 8, params.hidden)
        self.dense2 = nn.Linear(params.hidden, params.n_classes)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = self.drop1(F.relu(self.pool(self.conv2(x))))  # ReLU after the pool: same values, a quarter of the work
        x = F.relu(self.conv3(x))
        x = self.drop2(F.relu(self.pool(self.conv4(x))))
        x = self.drop3(F.relu(self.dense1(x.flatten(1))))
        return self.dense2(x)


# Paddle's own for convolutions is He normal.
nn.initializer.set_global_initializer(nn.initializer.XavierUniform(), nn.initializer.Constant(0.0))
model = Network()

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function = nn.CrossEntropyLoss()  # takes logits
optimizer = paddle.optimizer.Momentum(params.learning_rate, params.momentum, parameters=model.parameters())


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
    model.eval()  # dropout off: forgetting this costs 5 points of accuracy
    return model(paddle.to_tensor(x)).numpy()


# --- Weights --------------------------------------------------------------------------------------------------------
def set_weights(arrays):
    for parameter, array in zip(model.parameters(), arrays):
        parameter.set_value(array)


def get_weights():
    return [parameter.numpy() for parameter in model.parameters()]


weights = Weights(get_weights, set_weights, dense="IO")
synchronize = paddle.device.synchronize if cell.gpus else None
cell.run(data, predict, upload=upload, train_indices=train_indices, synchronize=synchronize, weights=weights)
