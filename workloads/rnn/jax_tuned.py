"""GRU on IMDB in JAX, with Flax NNX and Optax: an epoch is one program."""

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
data = cell.data()


def upload(arrays):
    global x_train, y_train
    x_train, y_train = jax.block_until_ready(jax.device_put((arrays.x_train, arrays.y_train)))


# --- Model ----------------------------------------------------------------------------------------------------------
class Network(nnx.Module):
    def __init__(self, rngs):
        self.embedding = nnx.Embed(params.vocabulary, params.embedding, dtype=dtype, rngs=rngs)  # normal, 1/√embedding
        # reset gate after the product, but one bias …
        gru = nnx.GRUCell(params.embedding, params.hidden, dtype=dtype, rngs=rngs)
        gru.dense_h = nnx.Linear(  # … so this gives the recurrent product its own, as cuDNN has it
            params.hidden, 3 * params.hidden, kernel_init=nnx.initializers.orthogonal(), dtype=dtype, rngs=rngs
        )
        # A scan that XLA compiles: JAX has no cuDNN GRU. On a GPU a pass of it has several time-steps, since each pass
        # costs launches; on a CPU that loses a tenth.
        self.gru = nnx.RNN(gru, return_carry=True, unroll=10 if cell.gpus else 1)
        self.dense = nnx.Linear(params.hidden, params.n_classes, rngs=rngs)

    def __call__(self, x):
        last, _ = self.gru(self.embedding(x))  # the state after the padding: no mask, as published
        return self.dense(last)


model = Network(nnx.Rngs(cell.seed))
cell.gru = "scan"

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
optimizer = nnx.Optimizer(
    model, optax.adam(params.learning_rate, params.beta_1, params.beta_2, params.epsilon), wrt=nnx.Param
)


def loss_function(model, x, y):  # a function of the model, as it is what gradients are taken by
    return optax.softmax_cross_entropy_with_integer_labels(model(x), y).mean()


# --- Training step --------------------------------------------------------------------------------------------------
structure, _ = nnx.split((model, optimizer))


def step(state, x_train, y_train, indices):
    model, optimizer = nnx.merge(structure, state)
    x, y = x_train[indices], y_train[indices]  # the device gathers the batch itself
    loss, gradients = nnx.value_and_grad(loss_function)(model, x, y)
    optimizer.update(model, gradients)
    return nnx.state((model, optimizer)), loss


def epoch(state, x_train, y_train, order, count):  # a loop within the program, of any number of steps
    def body(place, carry):
        state, loss = step(carry[0], x_train, y_train, order[place])
        return state, carry[1].at[place].set(loss)

    return jax.lax.fori_loop(0, count, body, (state, jnp.zeros(len(order))))


program = None


def train_indices(order):
    global program
    state = nnx.state((model, optimizer))
    padded = np.zeros((max(len(order), len(x_train) // params.batch_size), params.batch_size), np.int32)
    padded[: len(order)] = order
    if program is None:
        with cell.compiling("XLA"):  # donated: new weights are written over the old
            program = jax.jit(epoch, donate_argnums=0).lower(state, x_train, y_train, padded, len(order)).compile()
    state, losses = program(state, x_train, y_train, padded, len(order))
    nnx.update((model, optimizer), state)
    return jax.device_get(losses)[: len(order)]


# --- Prediction -----------------------------------------------------------------------------------------------------
@nnx.jit
def forward(model, x):
    return model(x)


def predict(x):
    return jax.device_get(forward(model, x))


# --- Weights --------------------------------------------------------------------------------------------------------
gru, dense = model.gru.cell, model.dense
parameters = [model.embedding.embedding, gru.dense_i.kernel, gru.dense_h.kernel]
parameters += [gru.dense_i.bias, gru.dense_h.bias, dense.kernel, dense.bias]


def set_weights(arrays):
    for parameter, array in zip(parameters, arrays):
        parameter[...] = jnp.array(array)  # a copy, as it will be donated


def get_weights():
    return jax.device_get([parameter[...] for parameter in parameters])


weights = Weights(get_weights, set_weights, dense="IO")


def synchronize():  # calls return at once
    jax.block_until_ready(nnx.state(model))


cell.run(data, predict, upload=upload, train_indices=train_indices, synchronize=synchronize, weights=weights)
