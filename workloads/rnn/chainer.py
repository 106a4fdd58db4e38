"""GRU on IMDB in Chainer."""
import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np
from chainer.backends import cuda

from harness import Cell

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
            self.embedding = L.EmbedID(params.vocabulary, params.embedding)  # N(0, 1), Chainer's own
            # reset gate after the product, two biases: cuDNN's GRU on a GPU, the same in NumPy on a CPU
            self.gru = L.NStepGRU(1, params.embedding, params.hidden, dropout=0)
            self.dense = L.Linear(params.hidden, params.n_classes)

    def forward(self, x):
        reviews = F.separate(self.embedding(x))  # NStepGRU takes a list, as sequences may differ in length
        last, _ = self.gru(None, reviews)  # the state after the padding: no mask, as published
        return self.dense(last[0])


model = Network()
model.to_device(device)

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


cell.run(data, predict, train_step, synchronize=cuda.Stream.null.synchronize if cell.gpus else None)
