"""DenseNet-121 on chest X-rays in PyTorch: all of them on each device, channels last, a process for each GPU."""

import re
from collections import OrderedDict

import numpy as np
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
mixed = torch.autocast(device.type, half, enabled=half is not None, cache_enabled=False)  # each weight is cast once
cell.settle_precision("torch", mixed)  # cuDNN's is tf32 by default
graphs = cell.gpus == 1 and half is not torch.float16  # whose loss scaling nobody has recorded yet
if graphs:
    torch.cuda.set_stream(torch.cuda.Stream())  # nothing can be recorded on the default one
torch.backends.cudnn.benchmark = True  # shapes never change, so the search for the fastest kernel pays
if cell.workers > 1:
    store, backend = distributed.FileStore(cell.meeting + "/torch", cell.workers), "nccl" if cell.gpus else "gloo"
    distributed.init_process_group(backend, store=store, rank=cell.rank, world_size=cell.workers)


# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()
cell.layout = "NHWC"  # channels last, as oneDNN and the tensor cores want them
mean, sd = (torch.tensor(of_channels, device=device).view(3, 1, 1) for of_channels in (params.mean, params.sd))
scale, shift = 1 / (255 * sd), -mean / sd
line = torch.arange(params.image_size, device=device)


def upload(images):  # 6.1 GB of bytes, a thousand images at a time
    global x_train, y_train
    x_train = torch.empty(images.pixels.shape, dtype=torch.uint8, device=device)
    for piece, pixels in zip(x_train.split(1000), np.split(images.pixels, range(1000, len(images.pixels), 1000))):
        piece.copy_(torch.tensor(pixels))
    y_train = torch.from_numpy(images.labels).to(device)


def cropped(places):  # on the device, whatever the batch's crops: one gather
    rows, tops, lefts, flips = places.unbind(1)
    across = torch.where(flips[:, None] == 1, line.flip(0), line)
    return x_train[rows[:, None, None], (tops[:, None] + line)[:, :, None], (lefts[:, None] + across)[:, None, :]]


def normalised(x):  # three channels for the one of an X-ray
    x = torch.addcmul(shift, x.unsqueeze(1).float(), scale)
    return x.contiguous(memory_format=torch.channels_last)


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
        y = self.conv1(self.norm1(x).relu_())
        return torch.cat([x, self.conv2(self.norm2(y).relu_())], dim=1)  # all that was known, and a little more


class Network(nn.Module):  # with torchvision's names, so that its weights fit
    def __init__(self):
        super().__init__()
        width = 2 * params.growth
        layers = OrderedDict(conv0=nn.Conv2d(3, width, 7, 2, padding=3, bias=False), norm0=norm(width))
        layers.update(relu0=nn.ReLU(True), pool0=nn.MaxPool2d(3, 2, padding=1))
        for block, count in enumerate(params.blocks, 1):
            dense = [("denselayer%d" % (n + 1), Layer(width + n * params.growth)) for n in range(count)]
            layers["denseblock%d" % block] = nn.Sequential(OrderedDict(dense))
            width += count * params.growth
            if block < len(params.blocks):
                parts = norm(width), nn.ReLU(True), nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2)
                named = OrderedDict(zip(("norm", "relu", "conv", "pool"), parts))
                layers["transition%d" % block], width = nn.Sequential(named), width // 2
        self.features = nn.Sequential(OrderedDict(layers, norm5=norm(width)))
        self.classifier = nn.Linear(width, len(params.findings))

    def forward(self, x):
        return self.classifier(self.features(x).relu_().mean(dim=(2, 3)))


network = Network().to(device, memory_format=torch.channels_last)
if pretrained := cell.pretrained("densenet121-a639ec97.pth"):  # of torchvision's hub, which has older names in it
    loaded = {re.sub(r"(norm|conv)\.(\d)\.", r"\1\2.", name): value for name, value in torch.load(pretrained).items()}
    network.load_state_dict({**loaded, **dict(network.classifier.named_parameters("classifier"))}, strict=False)
model = network
if cell.workers > 1:  # gradients lie where they are exchanged
    model = nn.parallel.DistributedDataParallel(network, gradient_as_bucket_view=True)

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function = nn.BCEWithLogitsLoss()  # mean over images and findings
moments = {"lr": params.learning_rate, "betas": (params.beta_1, params.beta_2), "eps": params.epsilon}
# fused: one pass over parameters, gradients and moments
optimizer = torch.optim.Adam(network.parameters(), **moments, fused=True, capturable=graphs)
scaler = torch.amp.GradScaler(device.type, enabled=half is torch.float16)  # else small gradients become zero


# --- Training step --------------------------------------------------------------------------------------------------
def step(places):
    x, y = normalised(cropped(places)), y_train[places[:, 0]]
    optimizer.zero_grad()
    with mixed:
        loss = loss_function(model(x), y)
    scaler.scale(loss).backward()  # averages the gradients of all workers as they come
    scaler.step(optimizer)
    scaler.update()
    return loss.detach()


graph, trained = None, 0  # a graph of one step: one launch for all its kernels


def recorded(places):
    global graph, graph_places, graph_loss
    with cell.compiling("CUDA graph"):
        graph, graph_places = torch.cuda.CUDAGraph(), places.clone()
        optimizer.zero_grad()
        with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
            graph_loss = step(graph_places)


def train_indices(order):
    global trained
    model.train()
    order, losses = torch.from_numpy(order).long().to(device), torch.empty(len(order), device=device)
    for place, places in enumerate(order):
        if graphs and trained >= 3:  # the first steps choose kernels, which can't be recorded
            graph or recorded(places)
            graph_places.copy_(places)
            graph.replay()
        losses[place] = graph_loss if graph else step(places)
        trained += 1
    return losses.cpu()


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
        return network(normalised(torch.from_numpy(x).to(device))).float().cpu().numpy()


# --- Weights --------------------------------------------------------------------------------------------------------
state = [value for name, value in network.state_dict().items() if not name.endswith("num_batches_tracked")]


def set_weights(arrays):
    for value, array in zip(state, arrays):
        value.copy_(torch.from_numpy(array))


weights = Weights(lambda: [value.cpu().numpy() for value in state], set_weights)
cell.run(data, predict, upload=upload, train_indices=train_indices, synchronize=synchronize, weights=weights)
