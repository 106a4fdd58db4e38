"""GRU on IMDB in Chainer."""

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
from chainer.backends import cuda

from harness import Cell, Weights

if cuda.available:
    cupy = cuda.cupyx.get_runtime_info()
    cell = Cell(chainer.__version__, cupy.cuda_runtime_version, cupy.cudnn_version, {"cupy": cupy.cupy_version})
else:
    cell = Cell(chainer.__version__)  # plain NumPy
params = cell.params
np.random.seed(cell.seed)  # weights are drawn on the CPU
device = chainer.get_device("@cupy:0" if cell.gpus else "@numpy")
device.use()

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()


# --- Model ----------------------------------------------------------------------------------------------------------
class Network(chainer.Chain):
    def __init__(self):
        super().__init__()
        with self.init_scope():
            # LeCun normal, 1/√embedding: Chainer's own N(0, 1) drowns what 3 epochs learn, and ends at .82
            self.embedding = L.EmbedID(params.vocabulary, params.embedding, chainer.initializers.LeCunNormal())
            # reset gate after the product, two biases: cuDNN's GRU on a GPU, the same in NumPy on a CPU
            self.gru = L.NStepGRU(1, params.embedding, params.hidden, dropout=0)
            self.dense = L.Linear(params.hidden, params.n_classes)

    def forward(self, x):
        reviews = F.separate(self.embedding(x))  # NStepGRU takes a list, as sequences may differ in length
        last, _ = self.gru(None, reviews)  # the state after the padding: no mask, as published
        return self.dense(last[0])


model = Network()
model.to_device(device)
cell.gru = "cudnn" if cell.gpus and chainer.should_use_cudnn(">=auto", 5000) else "loop"  # as NStepGRU asks

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function = F.softmax_cross_entropy  # takes logits
optimizer = chainer.optimizers.Adam(
    alpha=params.learning_rate, beta1=params.beta_1, beta2=params.beta_2, eps=params.epsilon
).setup(model)


# --- Training step --------------------------------------------------------------------------------------------------
def train_step(x, y):
    x, y = device.send((x, y))
    loss = loss_function(model(x), y)
    model.cleargrads()
    loss.backward()
    optimizer.update()
    return loss.array


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    with chainer.using_config("train", False), chainer.no_backprop_mode():
        return cuda.to_cpu(model(device.send(x)).array)


# --- Weights --------------------------------------------------------------------------------------------------------
def set_weights(arrays):
    for parameters, array in zip(parameters_of_layers, arrays):
        for parameter, part in zip(parameters, np.split(array, len(parameters))):
            parameter.array[...] = device.send(part)


def get_weights():
    return [np.concatenate([cuda.to_cpu(parameter.array) for parameter in row]) for row in parameters_of_layers]


first = model.gru[0]  # the only layer; each gate, in the order reset, update, new, has parameters of its own
parameters_of_layers = [
    [model.embedding.W],
    [first.w0, first.w1, first.w2],
    [first.w3, first.w4, first.w5],
    [first.b0, first.b1, first.b2],
    [first.b3, first.b4, first.b5],
    [model.dense.W],
    [model.dense.b],
]
weights = Weights(get_weights, set_weights, epsilon="uncorrected")
synchronize = cuda.Stream.null.synchronize if cell.gpus else None
cell.run(data, predict, train_step, synchronize=synchronize, weights=weights)
