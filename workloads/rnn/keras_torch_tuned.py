"""GRU on IMDB in Keras 3 on PyTorch, with PyTorch's own GRU, loop and optimiser."""

import os

os.environ["KERAS_BACKEND"] = "torch"
import keras
import torch
from keras import layers
from torch import nn

from harness import Cell, Weights

precisions = ("fp32", "tf32", "amp-fp16", "amp-bf16")
packages = {"torch": torch.__version__}
cell = Cell(keras.__version__, torch.version.cuda, torch.backends.cudnn.version(), packages, precisions)
params = cell.params
keras.utils.set_random_seed(cell.seed)
assert torch.cuda.is_available() == (cell.gpus > 0), "Keras takes the GPU if PyTorch sees one, without a word"
device = torch.device("cuda" if cell.gpus else "cpu")
half = {"amp-fp16": torch.float16, "amp-bf16": torch.bfloat16}.get(cell.precision)
mixed = torch.autocast(device.type, half, enabled=half is not None, cache_enabled=False)  # each weight is cast once
cell.settle_precision("torch", mixed)  # cuDNN's is tf32 by default

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()


def upload(arrays):
    global x_train, y_train
    x_train, y_train = torch.from_numpy(arrays.x_train).to(device), torch.from_numpy(arrays.y_train).long().to(device)


# --- Model ----------------------------------------------------------------------------------------------------------
class GRU(nn.GRU):  # Keras' own is a loop in Python wherever cuDNN is not
    def __init__(self):
        super().__init__(params.embedding, params.hidden, batch_first=True)  # reset gate after the product, two biases
        nn.init.xavier_uniform_(self.weight_ih_l0)  # begins as Keras' own
        nn.init.orthogonal_(self.weight_hh_l0)
        nn.init.zeros_(self.bias_ih_l0)
        nn.init.zeros_(self.bias_hh_l0)

    def forward(self, x):
        _, last = super().forward(x)  # the state after the padding: no mask, as published
        assert half is None or not x.is_cuda or last.dtype == half, "cuDNN's GRU computed in %s" % last.dtype
        return last[0]


model = keras.Sequential(
    [
        layers.Input((params.length,), dtype="int32"),
        layers.Embedding(params.vocabulary, params.embedding),  # uniform, ±0.05; mask_zero off
        layers.TorchModuleWrapper(GRU(), output_shape=(None, params.hidden)),
        layers.Dense(params.n_classes),  # logits: no softmax here, the loss has it
    ]
)
embedding, gru, dense = model.layers
cell.gru = "cudnn" if torch.backends.cudnn.is_acceptable(gru.module.weight_ih_l0) else "scan"  # as nn.GRU asks

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function = nn.CrossEntropyLoss()  # takes logits
moments = {"lr": params.learning_rate, "betas": (params.beta_1, params.beta_2), "eps": params.epsilon}
optimizer = torch.optim.Adam(model.parameters(), **moments, fused=True)  # one pass over parameters and moments
scaler = torch.amp.GradScaler(device.type, enabled=half is torch.float16)  # else small gradients become zero


# --- Training step --------------------------------------------------------------------------------------------------
def step(indices):
    optimizer.zero_grad()
    with mixed:
        loss = loss_function(model(x_train[indices], training=True), y_train[indices])  # the device gathers the batch
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    return loss.detach()


def train_indices(order):
    return torch.stack([step(indices) for indices in torch.from_numpy(order).long().to(device)]).cpu()


# --- Prediction -----------------------------------------------------------------------------------------------------
@torch.inference_mode()
def predict(x):
    with mixed:
        return model(torch.from_numpy(x).to(device), training=False).float().cpu().numpy()


# --- Weights --------------------------------------------------------------------------------------------------------
parameters = [embedding.embeddings.value, *gru.module.parameters()]
parameters += [dense.kernel.value.detach().T, dense.bias.value]  # PyTorch's layout, of the same memory


def set_weights(arrays):
    with torch.no_grad():
        for parameter, array in zip(parameters, arrays):
            parameter.copy_(torch.from_numpy(array))


def get_weights():
    return [parameter.detach().cpu().numpy() for parameter in parameters]


weights = Weights(get_weights, set_weights)
synchronize = torch.cuda.synchronize if cell.gpus else None
cell.run(data, predict, upload=upload, train_indices=train_indices, synchronize=synchronize, weights=weights)
