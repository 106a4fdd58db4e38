"""GRU on IMDB in PyTorch."""

import torch
from torch import nn

from harness import Cell, Weights

precisions = ("fp32", "tf32", "amp-fp16", "amp-bf16")
versions = torch.__version__, torch.version.cuda, torch.backends.cudnn.version()
cell = Cell(*versions, precisions=precisions, device=torch.cuda.get_device_name)
params = cell.params
torch.manual_seed(cell.seed)
device = torch.device("cuda" if cell.gpus else "cpu")
half = {"amp-fp16": torch.float16, "amp-bf16": torch.bfloat16}.get(cell.precision)
mixed = torch.autocast(device.type, half, enabled=half is not None)
cell.settle_precision("torch", mixed)  # cuDNN's is tf32 by default

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()


# --- Model ----------------------------------------------------------------------------------------------------------
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(params.vocabulary, params.embedding)  # N(0, 1), PyTorch's own
        self.gru = nn.GRU(params.embedding, params.hidden, batch_first=True)  # reset gate after the product, two biases
        self.dense = nn.Linear(params.hidden, params.n_classes)

    def forward(self, x):
        _, last = self.gru(self.embedding(x))  # the state after the padding: no mask, as published
        assert half is None or not x.is_cuda or last.dtype == half, "cuDNN's GRU computed in %s" % last.dtype
        return self.dense(last[0])


model = Network().to(device)
cell.gru = "cudnn" if torch.backends.cudnn.is_acceptable(model.dense.weight) else "scan"  # as nn.GRU asks

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function = nn.CrossEntropyLoss()  # takes logits
optimizer = torch.optim.Adam(
    model.parameters(), lr=params.learning_rate, betas=(params.beta_1, params.beta_2), eps=params.epsilon
)
scaler = torch.amp.GradScaler(device.type, enabled=half is torch.float16)  # else small gradients become zero


# --- Training step --------------------------------------------------------------------------------------------------
def train_step(x, y):
    model.train()
    x, y = torch.from_numpy(x).to(device), torch.from_numpy(y).long().to(device)
    optimizer.zero_grad()
    with mixed:
        loss = loss_function(model(x), y)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    return loss.detach()


# --- Prediction -----------------------------------------------------------------------------------------------------
@torch.inference_mode()
def predict(x):
    model.eval()
    with mixed:
        return model(torch.from_numpy(x).to(device)).float().cpu().numpy()


# --- Weights --------------------------------------------------------------------------------------------------------
def set_weights(arrays):
    with torch.no_grad():
        for parameter, array in zip(model.parameters(), arrays):
            parameter.copy_(torch.from_numpy(array))


def get_weights():
    return [parameter.detach().cpu().numpy() for parameter in model.parameters()]


weights = Weights(get_weights, set_weights)  # the layouts by which all others are described
cell.run(data, predict, train_step, synchronize=torch.cuda.synchronize if cell.gpus else None, weights=weights)
