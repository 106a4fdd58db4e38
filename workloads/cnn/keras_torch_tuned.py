"""CNN on CIFAR-10 in Keras 3 on PyTorch, with PyTorch's own loop and optimiser."""

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
torch.backends.cudnn.benchmark = True  # shapes never change, so the search for the fastest kernel pays

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NHWC")  # Keras' default, "channels_last", as oneDNN and the tensor cores want them
cell.layout = "NHWC"


def upload(arrays):
    global x_train, y_train
    x_train, y_train = torch.from_numpy(arrays.x_train).to(device), torch.from_numpy(arrays.y_train).long().to(device)


# --- Model ----------------------------------------------------------------------------------------------------------
few, many = params.filters
drop1, drop2, drop3 = params.dropout
model = keras.Sequential(  # Glorot uniform, biases zero: the default
    [
        layers.Input((32, 32, 3)),
        layers.Conv2D(few, 3, padding="same", activation="relu"),
        layers.Conv2D(few, 3, padding="same"),
        layers.MaxPooling2D(2),
        layers.ReLU(),  # after the pool: same values, a quarter of the work
        layers.Dropout(drop1),
        layers.Conv2D(many, 3, padding="same", activation="relu"),
        layers.Conv2D(many, 3, padding="same"),
        layers.MaxPooling2D(2),
        layers.ReLU(),
        layers.Dropout(drop2),
        layers.Flatten(),
        layers.Dense(params.hidden, activation="relu"),
        layers.Dropout(drop3),
        layers.Dense(params.n_classes),  # logits: no softmax here, the loss has it
    ]
)

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function = nn.CrossEntropyLoss()  # takes logits
optimizer = torch.optim.SGD(  # fused: one kernel for all parameters
    model.parameters(), lr=params.learning_rate, momentum=params.momentum, fused=True
)
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
weights = Weights(model.get_weights, model.set_weights, conv="HWIO", dense="IO", flat="HWC")
synchronize = torch.cuda.synchronize if cell.gpus else None
cell.run(data, predict, upload=upload, train_indices=train_indices, synchronize=synchronize, weights=weights)
