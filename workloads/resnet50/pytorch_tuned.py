"""Features of ResNet-50 in PyTorch: images on the device, channels last, normalisations fused into convolutions."""

import copy
import ctypes

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from harness import Cell, Weights

precisions = ("fp32", "tf32", "amp-fp16", "amp-bf16")
cell = Cell(torch.__version__, torch.version.cuda, torch.backends.cudnn.version(), precisions=precisions)
params = cell.params
device = torch.device("cuda" if cell.gpus else "cpu")
torch.backends.cudnn.benchmark = True  # shapes never change, so the search for the fastest kernel pays
half = {"amp-fp16": torch.float16, "amp-bf16": torch.bfloat16}.get(cell.precision)
mixed = torch.autocast(device.type, half, enabled=half is not None)
cell.settle_precision("torch", mixed)  # cuDNN's is tf32 by default
if not cell.gpus:  # glibc returns each feature map to the kernel, which clears it for the next: tell it to keep them
    M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
    ctypes.CDLL(None).mallopt(M_MMAP_MAX, 0)
    ctypes.CDLL(None).mallopt(M_TRIM_THRESHOLD, 2**31 - 1)

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NHWC")  # channels last, as oneDNN and the tensor cores want them
cell.layout = "NHWC"


def upload(arrays):
    global images
    images = torch.from_numpy(arrays.x_test).to(device)


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
        y = self.unit1(x).relu_()
        y = self.unit2(y).relu_()
        return (self.unit3(y).add_(self.shortcut(x))).relu_()


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
        x = self.pool(self.stem(x.permute(0, 3, 1, 2)).relu_())  # permuted, NHWC is channels last
        return self.blocks(x).mean(dim=(2, 3))


model = Network().to(device, memory_format=torch.channels_last).eval()  # eval: with the stored means


# --- Prediction -----------------------------------------------------------------------------------------------------
@torch.inference_mode()
def predict_indices(order):
    order = torch.from_numpy(order).to(device)
    with mixed:
        return torch.cat([fused(images[indices]).float() for indices in order]).cpu().numpy()


def fuse():  # each normalisation into the convolution before it: one pass over the feature maps in place of two
    global fused
    fused = copy.deepcopy(model)
    for unit in [module for module in fused.modules() if isinstance(module, Unit)]:
        unit[0], unit[1] = fuse_conv_bn_eval(unit[0], unit[1]), nn.Identity()


fuse()  # and again when weights are given


# --- Weights --------------------------------------------------------------------------------------------------------
def state():
    return [value for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")]


def set_weights(arrays):
    for value, array in zip(state(), arrays):
        value.copy_(torch.from_numpy(array))
    fuse()


weights = Weights(lambda: [value.cpu().numpy() for value in state()], set_weights)
cell.run(data, upload=upload, predict_indices=predict_indices, weights=weights)
