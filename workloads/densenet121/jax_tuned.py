"""DenseNet-121 on chest X-rays in JAX, with Flax NNX and Optax; one process, and the data set on all devices."""

import flax
import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax._src.lib import cuda_versions  # None in a CPU build; there is no public name for it
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from harness import Cell, Weights

cuda = cuda_versions and cuda_versions.cuda_runtime_get_version()
cudnn = cuda_versions and cuda_versions.cudnn_get_version()
packages = {"flax": flax.__version__, "optax": optax.__version__}
cell = Cell(jax.__version__, cuda, cudnn, packages, precisions=("fp32", "tf32", "amp-bf16"))
params = cell.params
jax.config.update("jax_num_cpu_devices", cell.workers)
devices = jax.devices("gpu" if cell.gpus else "cpu")[: cell.workers]
jax.config.update("jax_default_device", devices[0])
dtype = jnp.bfloat16 if cell.precision == "amp-bf16" else jnp.float32  # of what layers compute; weights stay float32
cell.settle_precision("jax", dtype)  # newer GPUs take TF32 unless told by name
everywhere, shared = PartitionSpec(), PartitionSpec("worker")  # a copy for each worker, or a share of the batch
mesh = Mesh(devices, "worker")

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()


def share(x):
    return jax.device_put(x, NamedSharding(mesh, shared))


def upload(images):  # 6.1 GB of bytes, for each device: any image may be in any worker's batch
    global x_train, y_train
    there = jax.device_put((images.pixels, images.labels), NamedSharding(mesh, everywhere))
    x_train, y_train = jax.block_until_ready(there)


def cropped(images, place):  # on the device
    row, top, left, flip = place
    image = jax.lax.dynamic_slice(images, (row, top, left), (1, params.image_size, params.image_size))[0]
    return jnp.where(flip == 1, image[:, ::-1], image)


def normalised(x):  # NHWC is all that Flax' layers take; XLA chooses again what the device computes in
    return (x[..., None].astype(jnp.float32) / 255 - jnp.array(params.mean)) / jnp.array(params.sd)  # three channels


# --- Model ----------------------------------------------------------------------------------------------------------
class Unit(nnx.Module):  # normalisation, ReLU, convolution
    def __init__(self, inputs, outputs, size, *, rngs):
        self.norm = norm(inputs, rngs)
        self.conv = nnx.Conv(inputs, outputs, (size, size), use_bias=False, dtype=dtype, rngs=rngs)

    def __call__(self, x):
        return self.conv(nnx.relu(self.norm(x)))


def norm(width, rngs):
    return nnx.BatchNorm(width, epsilon=params.norm_epsilon, momentum=params.norm_momentum, dtype=dtype, rngs=rngs)


def halved(x):  # average pooling by a reshape, which XLA fuses with what comes before
    count, height, width, channels = x.shape
    return x.reshape(count, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))


class Network(nnx.Module):
    def __init__(self, rngs):
        width = 2 * params.growth
        self.conv = nnx.Conv(3, width, (7, 7), strides=2, padding=3, use_bias=False, dtype=dtype, rngs=rngs)
        self.norm = norm(width, rngs)
        self.blocks, self.transitions = nnx.List(), nnx.List()
        for block, count in enumerate(params.blocks, 1):
            self.blocks.append(nnx.List())
            for _ in range(count):
                narrow = Unit(width, 4 * params.growth, 1, rngs=rngs)
                self.blocks[-1].append(nnx.List([narrow, Unit(4 * params.growth, params.growth, 3, rngs=rngs)]))
                width += params.growth
            if block < len(params.blocks):
                self.transitions.append(Unit(width, width // 2, 1, rngs=rngs))
                width //= 2
        self.last_norm = norm(width, rngs)
        self.dense = nnx.Linear(width, len(params.findings), rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.conv(x)))
        x = nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        for block, transition in zip(self.blocks, [*self.transitions, None]):
            for narrow, grow in block:
                x = jnp.concatenate([x, grow(narrow(x))], axis=-1)  # all that was known, and a little more
            x = halved(transition(x)) if transition else x
        return self.dense(nnx.relu(self.last_norm(x)).mean(axis=(1, 2), dtype=jnp.float32))


model = Network(nnx.Rngs(cell.seed))
training_model = nnx.view(model, use_running_average=False)  # two views of the same weights
testing_model = nnx.view(model, use_running_average=True)

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
adam = optax.adam(params.learning_rate, params.beta_1, params.beta_2, params.epsilon)
optimizer = nnx.Optimizer(model, adam, wrt=nnx.Param)
for part in model, optimizer:  # both from the start: what moves between two steps has the step compiled again
    nnx.update(part, jax.device_put(nnx.state(part), NamedSharding(mesh, everywhere)))


def loss_function(model, x, y):
    loss = optax.sigmoid_binary_cross_entropy(model(normalised(x)), y).mean()  # mean over images and findings
    return jax.lax.pmean(loss, "worker")  # and over the workers, as are then its gradients


# --- Training step --------------------------------------------------------------------------------------------------
@nnx.jit(donate_argnames=("model", "optimizer"))  # new weights are written over the old
@nnx.shard_map(mesh=mesh, in_specs=(*4 * (everywhere,), shared), out_specs=everywhere)
def update(model, optimizer, images, labels, places):  # what each worker does, normalising its own share
    x, y = jax.vmap(cropped, (None, 0))(images, places), labels[places[:, 0]]
    loss, gradients = nnx.value_and_grad(loss_function)(model, x, y)
    optimizer.update(model, gradients)
    nnx.update(model, jax.lax.pmean(nnx.state(model, nnx.BatchStat), "worker"))
    return loss


step = nnx.cached_partial(update, training_model, optimizer)  # walks through the modules once, not at every step


def train_indices(order):  # calls return at once: the device never waits for the host
    return jax.device_get(jnp.stack([step(x_train, y_train, share(places)) for places in order]))


# --- Prediction -----------------------------------------------------------------------------------------------------
@nnx.jit
def forward(model, x):  # XLA divides the work as x lies
    return model(normalised(x))


def predict(x):
    return jax.device_get(forward(testing_model, share(x)))


# --- Weights --------------------------------------------------------------------------------------------------------
layers = [model.conv, model.norm]
for block, transition in zip(model.blocks, [*model.transitions, None]):
    units = [unit for pair in block for unit in pair] + ([transition] if transition else [])
    layers += [layer for unit in units for layer in (unit.norm, unit.conv)]
layers += [model.last_norm, model.dense]
names = {nnx.Conv: ["kernel"], nnx.BatchNorm: ["scale", "bias", "mean", "var"], nnx.Linear: ["kernel", "bias"]}
variables = [getattr(layer, name) for layer in layers for name in names[type(layer)]]


def set_weights(arrays):
    for variable, array in zip(variables, arrays):
        variable[...] = jax.device_put(array, NamedSharding(mesh, everywhere))  # in place: views and cached step see it


def get_weights():
    return jax.device_get([variable[...] for variable in variables])


def replicas():  # the copies as they lie on the devices
    shards = [variable[...].addressable_shards for variable in variables]
    return [jax.device_get([copies[worker].data for copies in shards]) for worker in range(cell.workers)]


imagenet = cell.pretrained("densenet121-a639ec97.pth")  # torchvision's: Flax has no hub
weights = Weights(get_weights, set_weights, conv="HWIO", dense="IO", replicas=replicas, torchvision=imagenet)


def synchronize():
    jax.block_until_ready(nnx.state(model))


cell.run(data, predict, upload=upload, train_indices=train_indices, synchronize=synchronize, weights=weights)
