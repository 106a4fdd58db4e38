"""Features of ResNet-50 in PyTorch."""

import torch
from torch import nn

from harness import Cell, Weights

precisions = ("fp32", "tf32", "amp-fp16", "amp-bf16")
cell = Cell(torch.__version__, torch.version.cuda, torch.backends.cudnn.version(), precisions=precisions)
params = cell.params
device = torch.device("cuda" if cell.gpus else "cpu")
torch.backends.cudnn.benchmark = True  # shapes never change, so the search for the fastest kernel pays
half = {"amp-fp16": torch.float16, "amp-bf16": torch.bfloat16}.get(cell.precision)
mixed = torch.autocast(device.type, half, enabled=half is not None)
cell.settle_precision("torch", mixed)  # cuDNN's is tf32 by default

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NCHW")


# --- Model ----------------------------------------------------------------------------------------------------------
class Unit(nn.Sequential):
    def __init__(self, inputs, outputs, size, stride=1):
        super().__init__(
            nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False),  # the normalisation has a bias
            nn.BatchNorm2d(outputs, eps=params.epsilon),
        )


class Block(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.unit1 = Unit(inputs, width, 1)
        self.unit2 = Unit(width, width, 3, stride)  # version 1.5: the stride lies on the 3×3 convolution
        self.unit3 = Unit(width, 4 * width, 1)
        self.shortcut = Unit(inputs, 4 * width, 1, stride) if inputs != 4 * width else nn.Identity()

    def forward(self, x):
        y = self.unit1(x).relu()
        y = self.unit2(y).relu()
        return (self.unit3(y) + self.shortcut(x)).relu()


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = Unit(3, 64, 7, 2)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        blocks, inputs = [], 64
        for stage, (count, width) in enumerate(zip(params.blocks, params.widths)):
            for block in range(count):
                blocks.append(Block(inputs, width, stride=2 if stage and block == 0 else 1))
                inputs = 4 * width
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x):
        x = self.pool(self.stem(x).relu())
        return self.blocks(x).mean(dim=(2, 3))


model = Network().to(device).eval()  # eval: normalise with the stored means, not with the batch's


# --- Prediction -----------------------------------------------------------------------------------------------------
@torch.inference_mode()
def predict(x):
    with mixed:
        return model(torch.from_numpy(x).to(device)).float().cpu().numpy()


# --- Weights --------------------------------------------------------------------------------------------------------
def state():
    return [value for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")]


def set_weights(arrays):
    for value, array in zip(state(), arrays):
        value.copy_(torch.from_numpy(array))


weights = Weights(lambda: [value.cpu().numpy() for value in state()], set_weights)
cell.run(data, predict, weights=weights)
