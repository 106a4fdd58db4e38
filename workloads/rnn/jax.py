"""GRU on IMDB in JAX, with Flax NNX and Optax."""

import flax
import jax
import jax.numpy as jnp
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


# --- Model ----------------------------------------------------------------------------------------------------------
class Network(nnx.Module):
    def __init__(self, rngs):
        self.embedding = nnx.Embed(params.vocabulary, params.embedding, dtype=dtype, rngs=rngs)  # normal, 1/√embedding
        # reset gate after the product, but one bias …
        gru = nnx.GRUCell(params.embedding, params.hidden, dtype=dtype, rngs=rngs)
        gru.dense_h = nnx.Linear(  # … so this gives the recurrent product its own, as cuDNN has it
            params.hidden, 3 * params.hidden, kernel_init=nnx.initializers.orthogonal(), dtype=dtype, rngs=rngs
        )
        self.gru = nnx.RNN(gru, return_carry=True)  # a scan that XLA compiles: JAX has no cuDNN GRU
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
@nnx.jit(donate_argnames=("model", "optimizer"))  # new weights are written over the old
def update(model, optimizer, x, y):
    loss, gradients = nnx.value_and_grad(loss_function)(model, x, y)
    optimizer.update(model, gradients)
    return loss


train_step = nnx.cached_partial(update, model, optimizer)  # walks through the modules once, not at every step


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
        parameter[...] = jnp.asarray(array)  # in place: the views and the cached step see it


def get_weights():
    return jax.device_get([parameter[...] for parameter in parameters])


weights = Weights(get_weights, set_weights, dense="IO")
cell.run(  # synchronize: calls return at once
    data, predict, train_step, synchronize=lambda: jax.block_until_ready(nnx.state(model)), weights=weights
)
