"""CNN on CIFAR-10 in PyTorch: the data set on the device, channels last, a fused optimiser, CUDA graphs."""

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
torch.backends.cudnn.benchmark = True  # shapes never change, so the search for the fastest kernel pays

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NHWC")  # channels last, as oneDNN and the tensor cores want them
cell.layout = "NHWC"


def upload(arrays):
    global x_train, y_train
    x_train, y_train = torch.from_numpy(arrays.x_train).to(device), torch.from_numpy(arrays.y_train).long().to(device)


# --- Model ----------------------------------------------------------------------------------------------------------
class Network(nn.Module):
    def __init__(self):
        super().__init__()
        few, many = params.filters
        self.conv1 = nn.Conv2d(3, few, 3, padding="same")
        self.conv2 = nn.Conv2d(few, few, 3, padding="same")
        self.conv3 = nn.Conv2d(few, many, 3, padding="same")
        self.conv4 = nn.Conv2d(many, many, 3, padding="same")
        self.pool = nn.MaxPool2d(2)
        self.drop1, self.drop2, self.drop3 = (nn.Dropout(rate) for rate in params.dropout)
        self.dense1 = nn.Linear(many * 8 * 8, params.hidden)
        self.dense2 = nn.Linear(params.hidden, params.n_classes)

    def forward(self, x):  # NHWC; permuted, it is what PyTorch calls channels last
        x = self.conv1(x.permute(0, 3, 1, 2)).relu_()
        x = self.drop1(self.pool(self.conv2(x)).relu_())  # ReLU after the pool: same values, a quarter of the work
        x = self.conv3(x).relu_()
        x = self.drop2(self.pool(self.conv4(x)).relu_())
        x = self.drop3(self.dense1(x.flatten(1)).relu_())
        return self.dense2(x)


model = Network().to(device, memory_format=torch.channels_last)
for parameter in model.parameters():  # Glorot uniform, biases zero; PyTorch's own, ±1/√fan_in, learns slower at first
    nn.init.xavier_uniform_(parameter) if parameter.dim() > 1 else nn.init.zeros_(parameter)

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function = nn.CrossEntropyLoss()  # takes logits
optimizer = torch.optim.SGD(  # fused: one kernel for all parameters
    model.parameters(), lr=params.learning_rate, momentum=params.momentum, fused=True
)
for parameter in model.parameters():  # else it begins with what lies in memory, if fp16 skips the first step
    optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
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
    model.eval()  # dropout off: forgetting this costs 5 points of accuracy
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
