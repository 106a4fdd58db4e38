"""Features of ResNet-50 in PaddlePaddle, with the weights of its own hub: trained on ImageNet."""

import paddle
from paddle.vision.models import resnet50

from harness import Cell, Weights
from harness.data import data_file

build = paddle.version  # cuda() and cudnn() are the text "False" in a build for CPUs
cuda, cudnn = (build.cuda(), build.cudnn()) if paddle.is_compiled_with_cuda() else (None, None)
cell = Cell(paddle.__version__, cuda, cudnn)
paddle.set_device("gpu" if cell.gpus else "cpu")  # where everything is made and computed from here on
cell.settle_precision("paddle")  # cuDNN's is TF32 by default, on newer GPUs

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NCHW")

# --- Model ----------------------------------------------------------------------------------------------------------
model = resnet50(num_classes=0)  # without the classifier; version 1.5, as in all scripts beside this one
pretrained = paddle.load(data_file("resnet50.pdparams"))
missing, unexpected = model.set_state_dict(pretrained)  # a wrong shape is a warning, and then something is missing
assert not missing, missing
assert set(unexpected) == {"fc.weight", "fc.bias"}, unexpected  # the classifier behind the features
model.eval()  # normalise with the stored means, not with the batch's; returns nothing


# --- Prediction -----------------------------------------------------------------------------------------------------
@paddle.no_grad()
def predict(x):
    return model(paddle.to_tensor(x)).flatten(1).numpy()


# --- Weights --------------------------------------------------------------------------------------------------------
def get_weights():  # the reference computes with the same
    return [value.numpy() for value in model.state_dict().values()]


weights = Weights(get_weights, pretrained="resnet50.pdparams")
cell.run(data, predict, weights=weights)
