"""CNN on CIFAR-10 in tinygrad."""

from importlib.metadata import version
from math import prod, sqrt

from tinygrad import Context, Tensor, TinyJit, nn

from harness import Cell, Weights

cell = Cell(version("tinygrad"))
params = cell.params
Tensor.manual_seed(cell.seed)

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NCHW")


# --- Model ----------------------------------------------------------------------------------------------------------
class Network:
    def __init__(self):
        few, many = params.filters
        self.conv1 = nn.Conv2d(3, few, 3, padding=1)
        self.conv2 = nn.Conv2d(few, few, 3, padding=1)
        self.conv3 = nn.Conv2d(few, many, 3, padding=1)
        self.conv4 = nn.Conv2d(many, many, 3, padding=1)
        self.dense1 = nn.Linear(many * 8 * 8, params.hidden)
        self.dense2 = nn.Linear(params.hidden, params.n_classes)

    def __call__(self, x):
        drop1, drop2, drop3 = params.dropout
        x = self.conv1(x).relu()
        x = self.conv2(x).max_pool2d(2).relu().dropout(drop1)  # ReLU after the pool: same values, a quarter of the work
        x = self.conv3(x).relu()
        x = self.conv4(x).max_pool2d(2).relu().dropout(drop2)
        x = self.dense1(x.flatten(1)).relu().dropout(drop3)
        return self.dense2(x)


model = Network()
parameters = nn.state.get_parameters(model)
for parameter in parameters:  # Glorot uniform, biases zero; tinygrad's own, ±1/√fan_in, learns slower at first
    fan_out, *rest = parameter.shape
    bound = sqrt(6 / (prod(rest) + fan_out * prod(rest[1:]))) if rest else 0
    parameter.assign(bound * Tensor.uniform(*parameter.shape, low=-1, high=1)).realize()

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
optimizer = nn.optim.SGD(parameters, lr=params.learning_rate, momentum=params.momentum)


# --- Training step --------------------------------------------------------------------------------------------------
@TinyJit  # the first two calls run as written and are recorded, all others replay their kernels
@Context(TRAINING=1)  # dropout on
def update(x, y):
    optimizer.zero_grad()
    loss = model(x).sparse_categorical_crossentropy(y).backward()  # takes logits
    return loss.realize(*optimizer.schedule_step())  # both at once: a loss read later sees parameters after the step


def train_step(x, y):
    return update(Tensor(x), Tensor(y.astype("int32"))).item()  # a number: the next call writes into the same buffer


# --- Prediction -----------------------------------------------------------------------------------------------------
@TinyJit
def scores(x):
    return model(x).realize()


def predict(x):
    return scores(Tensor(x)).numpy()


# --- Weights --------------------------------------------------------------------------------------------------------
def set_weights(arrays):
    for parameter, array in zip(parameters, arrays):
        parameter.assign(Tensor(array)).realize()


def get_weights():
    return [parameter.numpy() for parameter in parameters]


weights = Weights(get_weights, set_weights)
cell.run(data, predict, train_step, weights=weights)
