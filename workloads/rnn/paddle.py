"""GRU on IMDB in PaddlePaddle."""

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
def train_step(x, y):
    model.train()
    loss = loss_function(model(paddle.to_tensor(x)), paddle.to_tensor(y))
    loss.backward()
    optimizer.step()
    optimizer.clear_grad()
    return loss.detach()


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
cell.run(data, predict, train_step, synchronize=paddle.device.synchronize if cell.gpus else None, weights=weights)
