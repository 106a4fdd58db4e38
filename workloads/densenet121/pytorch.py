"""DenseNet-121 on chest X-rays in PyTorch, a process for each GPU."""

import re
from collections import OrderedDict

import torch
from torch import distributed, nn

from harness import Cell, Weights

precisions = ("fp32", "tf32", "amp-fp16", "amp-bf16")
cell = Cell(torch.__version__, torch.version.cuda, torch.backends.cudnn.version(), None, precisions, processes=True)
params = cell.params
torch.manual_seed(cell.seed)
torch.set_num_threads(cell.threads)
device = torch.device("cuda", cell.rank) if cell.gpus else torch.device("cpu")
if cell.gpus:
    torch.cuda.set_device(device)
half = {"amp-fp16": torch.float16, "amp-bf16": torch.bfloat16}.get(cell.precision)
mixed = torch.autocast(device.type, half, enabled=half is not None)
cell.settle_precision("torch", mixed)  # cuDNN's is tf32 by default
torch.backends.cudnn.benchmark = True  # shapes never change, so the search for the fastest kernel pays
if cell.workers > 1:
    store, backend = distributed.FileStore(cell.meeting + "/torch", cell.workers), "nccl" if cell.gpus else "gloo"
    distributed.init_process_group(backend, store=store, rank=cell.rank, world_size=cell.workers)


# --- Data -----------------------------------------------------------------------------------------------------------
def pinned(shape):  # page-locked memory: a GPU fetches it by itself, and no call waits for that
    return torch.empty(shape, dtype=torch.uint8).pin_memory().numpy()


data = cell.data(host_buffer=pinned if cell.gpus else None)
fetched = torch.cuda.Event() if cell.gpus else None
mean, sd = (torch.tensor(of_channels, device=device).view(3, 1, 1) for of_channels in (params.mean, params.sd))


def on_device(x):  # normalised, three channels for the one of an X-ray
    if cell.gpus:
        fetched.synchronize()  # the batch before, which is then written over
    x = torch.from_numpy(x).to(device, non_blocking=True)
    if cell.gpus:
        fetched.record()
    return (x.unsqueeze(1).float() / 255 - mean) / sd


# --- Model ----------------------------------------------------------------------------------------------------------
def norm(width):  # PyTorch's momentum is the share of the new
    return nn.BatchNorm2d(width, eps=params.norm_epsilon, momentum=1 - params.norm_momentum)


class Layer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1 = norm(width)
        self.conv1 = nn.Conv2d(width, 4 * params.growth, 1, bias=False)
        self.norm2 = norm(4 * params.growth)
        self.conv2 = nn.Conv2d(4 * params.growth, params.growth, 3, padding=1, bias=False)

    def forward(self, x):
        y = self.conv1(self.norm1(x).relu())
        return torch.cat([x, self.conv2(self.norm2(y).relu())], dim=1)  # all that was known, and a little more


class Network(nn.Module):  # with torchvision's names, so that its weights fit
    def __init__(self):
        super().__init__()
        width = 2 * params.growth
        layers = OrderedDict(conv0=nn.Conv2d(3, width, 7, 2, padding=3, bias=False), norm0=norm(width))
        layers.update(relu0=nn.ReLU(), pool0=nn.MaxPool2d(3, 2, padding=1))
        for block, count in enumerate(params.blocks, 1):
            dense = [("denselayer%d" % (n + 1), Layer(width + n * params.growth)) for n in range(count)]
            layers["denseblock%d" % block] = nn.Sequential(OrderedDict(dense))
            width += count * params.growth
            if block < len(params.blocks):
                parts = norm(width), nn.ReLU(), nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2)
                named = OrderedDict(zip(("norm", "relu", "conv", "pool"), parts))
                layers["transition%d" % block], width = nn.Sequential(named), width // 2
        self.features = nn.Sequential(OrderedDict(layers, norm5=norm(width)))
        self.classifier = nn.Linear(width, len(params.findings))

    def forward(self, x):
        return self.classifier(self.features(x).relu().mean(dim=(2, 3)))


network = Network().to(device)
if pretrained := cell.pretrained("densenet121-a639ec97.pth"):  # of torchvision's hub, which has older names in it
    loaded = {re.sub(r"(norm|conv)\.(\d)\.", r"\1\2.", name): value for name, value in torch.load(pretrained).items()}
    network.load_state_dict({**loaded, **dict(network.classifier.named_parameters("classifier"))}, strict=False)
model = nn.parallel.DistributedDataParallel(network) if cell.workers > 1 else network

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function = nn.BCEWithLogitsLoss()  # mean over images and findings
optimizer = torch.optim.Adam(
    network.parameters(), lr=params.learning_rate, betas=(params.beta_1, params.beta_2), eps=params.epsilon
)
scaler = torch.amp.GradScaler(device.type, enabled=half is torch.float16)  # else small gradients become zero


# --- Training step --------------------------------------------------------------------------------------------------
def train_step(x, y):
    model.train()
    x, y = on_device(x), torch.from_numpy(y).to(device, non_blocking=True)
    optimizer.zero_grad()
    with mixed:
        loss = loss_function(model(x), y)
    scaler.scale(loss).backward()  # averages the gradients of all workers as they come
    scaler.step(optimizer)
    scaler.update()
    return loss.detach()


def synchronize():
    for buffer in network.buffers() if cell.workers > 1 else ():  # DDP has done so before each step, not after the last
        distributed.broadcast(buffer, 0)
    if cell.gpus:
        torch.cuda.synchronize(device)


# --- Prediction -----------------------------------------------------------------------------------------------------
@torch.inference_mode()
def predict(x):
    network.eval()
    with mixed:
        return network(on_device(x)).float().cpu().numpy()


# --- Weights --------------------------------------------------------------------------------------------------------
state = [value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")]


def set_weights(arrays):
    for value, array in zip(state, arrays):
        value.copy_(torch.from_numpy(array))


weights = Weights(lambda: [value.cpu().numpy() for value in state], set_weights)
cell.run(data, predict, train_step, synchronize=synchronize, weights=weights)
