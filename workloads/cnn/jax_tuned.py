"""CNN on CIFAR-10 in JAX, with Flax NNX and Optax: the data set lies on the device."""

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax._src.lib import cuda_versions  # None in a CPU build; there is no public name for it

from harness import Cell, Weights

cuda = cuda_versions and cuda_versions.cuda_runtime_get_version()
cudnn = cuda_versions and cuda_versions.cudnn_get_version()
packages = {"flax": flax.__version__, "optax": optax.__version__}
precisions = ("fp32", "tf32", "amp-bf16")
cell = Cell(jax.__version__, cuda, cudnn, packages, precisions, device=lambda: jax.devices()[0].device_kind)
params = cell.params
jax.config.update("jax_default_device", jax.devices("gpu" if cell.gpus else "cpu")[0])
dtype = jnp.bfloat16 if cell.precision == "amp-bf16" else jnp.float32  # of what layers compute; weights stay float32
cell.settle_precision("jax", dtype)  # newer GPUs take TF32 unless told by name

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NHWC")  # the only one that Flax' layers take; XLA chooses again what the device computes in


def upload(arrays):
    global x_train, y_train
    x_train, y_train = jax.block_until_ready(jax.device_put((arrays.x_train, arrays.y_train)))


# --- Model ----------------------------------------------------------------------------------------------------------
class Network(nnx.Module):
    def __init__(self, rngs):  # no global seed: one stream of keys for the weights, one for dropout
        few, many = params.filters
        glorot = nnx.initializers.glorot_uniform()  # Flax' own is LeCun normal; biases zero
        self.conv1 = nnx.Conv(3, few, (3, 3), dtype=dtype, kernel_init=glorot, rngs=rngs)  # padding is "SAME"
        self.conv2 = nnx.Conv(few, few, (3, 3), dtype=dtype, kernel_init=glorot, rngs=rngs)
        self.conv3 = nnx.Conv(few, many, (3, 3), dtype=dtype, kernel_init=glorot, rngs=rngs)
        self.conv4 = nnx.Conv(many, many, (3, 3), dtype=dtype, kernel_init=glorot, rngs=rngs)
        self.drop1, self.drop2, self.drop3 = (nnx.Dropout(rate, rngs=rngs) for rate in params.dropout)
        self.dense1 = nnx.Linear(many * 8 * 8, params.hidden, dtype=dtype, kernel_init=glorot, rngs=rngs)
        self.dense2 = nnx.Linear(params.hidden, params.n_classes, kernel_init=glorot, rngs=rngs)

    def __call__(self, x, testing):  # dropout is told at each call: on, or off
        x = nnx.relu(self.conv1(x))
        x = nnx.relu(self.pool(self.conv2(x)))  # ReLU after the pool: same values, a quarter of the work
        x = nnx.relu(self.conv3(self.drop1(x, deterministic=testing)))
        x = self.drop2(nnx.relu(self.pool(self.conv4(x))), deterministic=testing)
        x = self.drop3(nnx.relu(self.dense1(x.reshape(len(x), -1))), deterministic=testing)
        return self.dense2(x)

    @staticmethod
    def pool(x):  # by a reshape: its gradient is a comparison, that of max_pool a search for each largest value
        count, height, width, channels = x.shape
        return x.reshape(count, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))


model = Network(nnx.Rngs(cell.seed))

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
optimizer = nnx.Optimizer(model, optax.sgd(params.learning_rate, momentum=params.momentum), wrt=nnx.Param)


def loss_function(model, x, y):  # a function of the model, as it is what gradients are taken by
    return optax.softmax_cross_entropy_with_integer_labels(model(x, testing=False), y).mean()


# --- Training step --------------------------------------------------------------------------------------------------
structure, _ = nnx.split((model, optimizer))


def step(state, x_train, y_train, indices):
    model, optimizer = nnx.merge(structure, state)
    x, y = x_train[indices], y_train[indices]  # the device gathers the batch itself
    loss, gradients = nnx.value_and_grad(loss_function)(model, x, y)
    optimizer.update(model, gradients)
    return nnx.state((model, optimizer)), loss


program = None


def train_indices(order):  # step by step: on a CPU, XLA computes convolutions many times slower within a loop
    global program
    state, losses = nnx.state((model, optimizer)), []
    if program is None:
        with cell.compiling("XLA"):  # donated: new weights are written over the old
            program = jax.jit(step, donate_argnums=0).lower(state, x_train, y_train, order[0]).compile()
    for indices in order:  # calls return at once, so nothing waits for a loss
        state, loss = program(state, x_train, y_train, indices)
        losses.append(loss)
    nnx.update((model, optimizer), state)
    return np.array(jax.device_get(losses))


# --- Prediction -----------------------------------------------------------------------------------------------------
@nnx.jit
def forward(model, x):
    return model(x, testing=True)


def predict(x):
    return jax.device_get(forward(model, x))


# --- Weights --------------------------------------------------------------------------------------------------------
layers = [model.conv1, model.conv2, model.conv3, model.conv4, model.dense1, model.dense2]
parameters = [parameter for layer in layers for parameter in (layer.kernel, layer.bias)]


def set_weights(arrays):
    for parameter, array in zip(parameters, arrays):
        parameter[...] = jnp.array(array)  # a copy, as it will be donated


def get_weights():
    return jax.device_get([parameter[...] for parameter in parameters])


weights = Weights(get_weights, set_weights, conv="HWIO", dense="IO", flat="HWC")


def synchronize():  # calls return at once
    jax.block_until_ready(nnx.state(model))


cell.run(data, predict, upload=upload, train_indices=train_indices, synchronize=synchronize, weights=weights)
