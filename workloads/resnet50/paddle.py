"""Features of ResNet-50 in PaddlePaddle."""

import paddle
from paddle import nn
from paddle.nn import functional as F

from harness import Cell, Weights

build = paddle.version  # cuda() and cudnn() are the text "False" in a build for CPUs
cuda, cudnn = (build.cuda(), build.cudnn()) if paddle.is_compiled_with_cuda() else (None, None)
cell = Cell(paddle.__version__, cuda, cudnn)
params = cell.params
paddle.set_device("gpu" if cell.gpus else "cpu")  # where everything is made and computed from here on
cell.settle_precision("paddle")  # cuDNN's is TF32 by default, on newer GPUs

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NCHW")


# --- Model ----------------------------------------------------------------------------------------------------------
class Unit(nn.Sequential):
    def __init__(self, inputs, outputs, size, stride=1):
        super().__init__(
            nn.Conv2D(inputs, outputs, size, stride, padding=size // 2, bias_attr=False),  # the normalisation has one
            nn.BatchNorm2D(outputs, epsilon=params.epsilon),
        )


class Block(nn.Layer):
    def __init__(self, inputs, width, stride):
        super().__init__()
        self.unit1 = Unit(inputs, width, 1)
        self.unit2 = Unit(width, width, 3, stride)  # version 1.5: the stride lies on the 3×3 convolution
        self.unit3 = Unit(width, 4 * width, 1)
        self.shortcut = Unit(inputs, 4 * width, 1, stride) if inputs != 4 * width else nn.Identity()

    def forward(self, x):
        y = F.relu(self.unit1(x))
        y = F.relu(self.unit2(y))
        return F.relu(self.unit3(y) + self.shortcut(x))


class Network(nn.Layer):
    def __init__(self):
        super().__init__()
        self.stem = Unit(3, 64, 7, 2)
        self.pool = nn.MaxPool2D(3, 2, padding=1)
        blocks, inputs = [], 64
        for stage, (count, width) in enumerate(zip(params.blocks, params.widths)):
            for block in range(count):
                blocks.append(Block(inputs, width, stride=2 if stage and block == 0 else 1))
                inputs = 4 * width
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x):
        x = self.pool(F.relu(self.stem(x)))
        return self.blocks(x).mean(axis=(2, 3))


model = Network()
model.eval()  # normalise with the stored means, not with the batch's; returns nothing


# --- Prediction -----------------------------------------------------------------------------------------------------
@paddle.no_grad()
def predict(x):
    return model(paddle.to_tensor(x)).numpy()


# --- Weights --------------------------------------------------------------------------------------------------------
def set_weights(arrays):
    for value, array in zip(model.state_dict().values(), arrays):
        value.set_value(array)


weights = Weights(lambda: [value.numpy() for value in model.state_dict().values()], set_weights)
cell.run(data, predict, weights=weights)
