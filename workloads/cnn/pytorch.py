"""CNN on CIFAR-10 in PyTorch."""

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
torch.backends.cudnn.benchmark = True  # shapes never change, so the search for the fastest kernel pays

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NCHW")


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

    def forward(self, x):
        x = self.conv1(x).relu()
        x = self.drop1(self.pool(self.conv2(x)).relu())  # ReLU after the pool: same values, a quarter of the work
        x = self.conv3(x).relu()
        x = self.drop2(self.pool(self.conv4(x)).relu())
        x = self.drop3(self.dense1(x.flatten(1)).relu())
        return self.dense2(x)


model = Network().to(device)
for parameter in model.parameters():  # Glorot uniform, biases zero; PyTorch's own, ±1/√fan_in, learns slower at first
    nn.init.xavier_uniform_(parameter) if parameter.dim() > 1 else nn.init.zeros_(parameter)

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function = nn.CrossEntropyLoss()  # takes logits
optimizer = torch.optim.SGD(model.parameters(), lr=params.learning_rate, momentum=params.momentum)
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
cell.run(data, predict, train_step, synchronize=torch.cuda.synchronize if cell.gpus else None, weights=weights)
