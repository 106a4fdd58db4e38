"""Features of ResNet-50 in PyTorch, with torchvision's weights: trained on ImageNet, version 1 of two."""

import torch
from torch import nn

from harness import Cell, Weights
from harness.data import data_file

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
# Modules have the names that torchvision gives them, so that its state_dict finds them.
def conv(inputs, outputs, size, stride=1):
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)  # the normalisation has a bias


class Block(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)  # version 1.5: the stride lies here
        self.conv3, self.bn3 = conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
        if inputs != 4 * width:
            self.downsample = nn.Sequential(conv(inputs, 4 * width, 1, stride), nn.BatchNorm2d(4 * width))
        else:
            self.downsample = nn.Identity()

    def forward(self, x):
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        return (self.bn3(self.conv3(y)) + self.downsample(x)).relu()


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = conv(3, 64, 7, 2), nn.BatchNorm2d(64)
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        inputs = 64
        for stage, (count, width) in enumerate(zip(params.blocks, params.widths), 1):
            blocks = []
            for block in range(count):
                blocks.append(Block(inputs, width, stride=2 if stage > 1 and block == 0 else 1))
                inputs = 4 * width
            self.add_module("layer%d" % stage, nn.Sequential(*blocks))

    def forward(self, x):
        x = self.pool(self.bn1(self.conv1(x)).relu())
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return x.mean(dim=(2, 3))


model = Network()
pretrained = torch.load(data_file("resnet50-0676ba61.pth"), map_location="cpu", weights_only=True)
missing, unexpected = model.load_state_dict(pretrained, strict=False)  # a wrong shape is an error all the same
assert set(unexpected) == {"fc.weight", "fc.bias"}, unexpected  # the classifier behind the features
assert all(name.endswith("num_batches_tracked") for name in missing), missing  # older files have none
model = model.to(device).eval()  # eval: normalise with the stored means, not with the batch's


# --- Prediction -----------------------------------------------------------------------------------------------------
@torch.inference_mode()
def predict(x):
    with mixed:
        return model(torch.from_numpy(x).to(device)).float().cpu().numpy()


# --- Weights --------------------------------------------------------------------------------------------------------
def get_weights():  # the reference computes with the same
    state = model.state_dict()
    return [value.cpu().numpy() for name, value in state.items() if not name.endswith("num_batches_tracked")]


weights = Weights(get_weights, pretrained="resnet50-0676ba61.pth")
cell.run(data, predict, weights=weights)
