"""GRU on IMDB in PyTorch: the data set on the device, a fused optimiser, CUDA graphs."""

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
mixed = torch.autocast(device.type, half, enabled=half is not None, cache_enabled=False)  # each weight is cast once
cell.settle_precision("torch", mixed)  # cuDNN's is tf32 by default
graphs = cell.gpus and half is not torch.float16  # whose loss scaling nobody has recorded yet
if graphs:
    torch.cuda.set_stream(torch.cuda.Stream())  # nothing can be recorded on the default one

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()


def upload(arrays):
    global x_train, y_train
    x_train, y_train = torch.from_numpy(arrays.x_train).to(device), torch.from_numpy(arrays.y_train).long().to(device)


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
moments = {"lr": params.learning_rate, "betas": (params.beta_1, params.beta_2), "eps": params.epsilon}
# fused: one pass over parameters, gradients and moments
optimizer = torch.optim.Adam(model.parameters(), **moments, fused=True, capturable=cell.gpus > 0)
scaler = torch.amp.GradScaler(device.type, enabled=half is torch.float16)  # else small gradients become zero


# --- Training step --------------------------------------------------------------------------------------------------
def step(indices):
    optimizer.zero_grad()
    with mixed:
        loss = loss_function(model(x_train[indices]), y_train[indices])  # the device gathers the batch itself
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    return loss.detach()


recordings, trained = {}, 0  # graphs of 20 steps and of one: one launch for all their kernels
graph_order = torch.zeros(20, params.batch_size, dtype=torch.int64, device=device)
graph_losses = torch.zeros(20, device=device)


def recorded(count):
    with cell.compiling("CUDA graph"):
        graph = torch.cuda.CUDAGraph()
        optimizer.zero_grad()
        with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
            for place in range(count):
                graph_losses[place] = step(graph_order[place])
    return graph


def train_indices(order):
    global trained
    model.train()
    order, losses, done = torch.from_numpy(order).long().to(device), torch.empty(len(order), device=device), 0
    while done < len(order):
        replayed = graphs and trained >= 3  # the first steps choose kernels, which can't be recorded
        count = len(graph_order) if replayed and len(order) - done >= len(graph_order) else 1
        if replayed:
            recordings[count] = recordings.get(count) or recorded(count)
            graph_order[:count].copy_(order[done : done + count])
            recordings[count].replay()
        losses[done : done + count] = graph_losses[:count] if replayed else step(order[done])
        done, trained = done + count, trained + count
    return losses.cpu()


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
synchronize = torch.cuda.synchronize if cell.gpus else None
cell.run(data, predict, upload=upload, train_indices=train_indices, synchronize=synchronize, weights=weights)
