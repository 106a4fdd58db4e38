"""Features of ResNet-50 in JAX, with Flax NNX."""

import flax
import jax
import jax.numpy as jnp
from flax import nnx
from jax._src.lib import cuda_versions  # None in a CPU build; there is no public name for it

from harness import Cell, Weights

cuda = cuda_versions and cuda_versions.cuda_runtime_get_version()
cudnn = cuda_versions and cuda_versions.cudnn_get_version()
packages = {"flax": flax.__version__}
cell = Cell(jax.__version__, cuda, cudnn, packages, precisions=("fp32", "tf32", "amp-bf16"))
params = cell.params
jax.config.update("jax_default_device", jax.devices("gpu" if cell.gpus else "cpu")[0])
dtype = jnp.bfloat16 if cell.precision == "amp-bf16" else jnp.float32  # of what layers compute; weights stay float32
cell.settle_precision("jax", dtype)  # newer GPUs take TF32 unless told by name

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NHWC")  # the only one that Flax' layers take; XLA chooses again what the device computes in


# --- Model ----------------------------------------------------------------------------------------------------------
class Unit(nnx.Module):
    def __init__(self, inputs, outputs, size, stride=1, *, rngs):
        self.conv = nnx.Conv(
            inputs,
            outputs,
            (size, size),
            strides=stride,
            padding=size // 2,  # "SAME" pads a convolution with a stride on the right and at the bottom only
            use_bias=False,  # the normalisation has a bias
            dtype=dtype,
            rngs=rngs,
        )
        self.norm = nnx.BatchNorm(outputs, use_running_average=True, epsilon=params.epsilon, dtype=dtype, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.conv(x))


class Block(nnx.Module):
    def __init__(self, inputs, width, stride, *, rngs):
        self.unit1 = Unit(inputs, width, 1, rngs=rngs)
        self.unit2 = Unit(width, width, 3, stride, rngs=rngs)  # version 1.5: the stride lies on the 3×3 convolution
        self.unit3 = Unit(width, 4 * width, 1, rngs=rngs)
        self.shortcut = Unit(inputs, 4 * width, 1, stride, rngs=rngs) if inputs != 4 * width else None

    def __call__(self, x):
        y = nnx.relu(self.unit1(x))
        y = nnx.relu(self.unit2(y))
        return nnx.relu(self.unit3(y) + (self.shortcut(x) if self.shortcut else x))


class Network(nnx.Module):
    def __init__(self, rngs):
        self.stem = Unit(3, 64, 7, 2, rngs=rngs)
        self.blocks, inputs = nnx.List(), 64
        for stage, (count, width) in enumerate(zip(params.blocks, params.widths)):
            for block in range(count):
                self.blocks.append(Block(inputs, width, stride=2 if stage and block == 0 else 1, rngs=rngs))
                inputs = 4 * width

    def __call__(self, x):
        x = nnx.relu(self.stem(x))
        x = nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        for block in self.blocks:
            x = block(x)
        return x.mean(axis=(1, 2), dtype=jnp.float32)


model = Network(nnx.Rngs(cell.seed))


# --- Prediction -----------------------------------------------------------------------------------------------------
@nnx.jit
def forward(model, x):
    return model(x)


features = nnx.cached_partial(forward, model)  # walks through the modules once, not at every batch


def predict(x):
    return jax.device_get(features(x))


# --- Weights --------------------------------------------------------------------------------------------------------
units = [model.stem]
for block in model.blocks:
    units += [unit for unit in (block.unit1, block.unit2, block.unit3, block.shortcut) if unit]
variables = [v for u in units for v in (u.conv.kernel, u.norm.scale, u.norm.bias, u.norm.mean, u.norm.var)]


def set_weights(arrays):
    for variable, array in zip(variables, arrays):
        variable[...] = jnp.asarray(array)  # in place: the cached call sees it


def get_weights():
    return jax.device_get([variable[...] for variable in variables])


weights = Weights(get_weights, set_weights, conv="HWIO")
cell.run(data, predict, weights=weights)
