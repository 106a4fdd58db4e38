"""DenseNet-121 on chest X-rays in TensorFlow 2, one process with a replica and the data set on each GPU."""

import numpy as np
import tensorflow as tf

from harness import Cell, Weights

build = tf.sysconfig.get_build_info()  # what the wheel was built with: TensorFlow does not say what it loaded
precisions = ("fp32", "tf32", "amp-fp16", "amp-bf16")
packages = {"keras": tf.keras.__version__}
cell = Cell(tf.__version__, build.get("cuda_version"), build.get("cudnn_version"), packages, precisions)
params = cell.params
tf.keras.utils.set_random_seed(cell.seed)
gpus = tf.config.list_physical_devices("GPU")[: cell.gpus]
assert len(gpus) == cell.gpus, "TensorFlow sees too few GPUs, and would use the CPU without a word"
tf.config.set_visible_devices(gpus, "GPU")
if not gpus:  # the CPU stands for as many devices as there are workers
    logical = [tf.config.LogicalDeviceConfiguration() for _ in range(cell.workers)]
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], logical)
policies = {"amp-fp16": "mixed_float16", "amp-bf16": "mixed_bfloat16"}
tf.keras.mixed_precision.set_global_policy(policies.get(cell.precision, "float32"))
cell.settle_precision("tensorflow", tf.keras.mixed_precision.global_policy())  # TF32 is on by default
strategy = tf.distribute.MirroredStrategy(
    [device.name[-5:] for device in tf.config.list_logical_devices("GPU" if gpus else "CPU")]
)

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()
line = tf.range(params.image_size)


def everywhere(array):
    def on_device(context):
        with tf.device(strategy.extended.worker_devices[context.replica_id_in_sync_group]):
            return tf.convert_to_tensor(array)

    return strategy.experimental_distribute_values_from_function(on_device)


def upload(images):  # 6.1 GB of bytes, for each device: any image may be in any replica's batch
    global x_train, y_train
    x_train, y_train = everywhere(images.pixels.view(np.int64)), everywhere(images.labels)  # eight bytes as one number


def cropped(images, places):  # on the device
    rows, tops, lefts, flips = tf.unstack(places, axis=1)
    across = tf.where(flips[:, None] == 1, line[::-1], line)
    # GPUs gather integers and floats, but bytes not in every version
    x = tf.bitcast(tf.gather(images, rows), tf.uint8)
    x = tf.cast(tf.reshape(x, (-1, images.shape[1], images.shape[1])), tf.float32)
    x = tf.gather(x, tops[:, None] + line, axis=1, batch_dims=1)
    return tf.gather(x, lefts[:, None] + across, axis=2, batch_dims=1)


def normalised(x):  # NHWC is TensorFlow's own layout; on a GPU its graph optimiser turns it into NCHW by itself
    return (tf.cast(x, tf.float32)[..., None] / 255 - params.mean) / params.sd  # three channels for the one of an X-ray


# --- Model ----------------------------------------------------------------------------------------------------------
def norm_relu(x):
    norm = tf.keras.layers.BatchNormalization(momentum=params.norm_momentum, epsilon=params.norm_epsilon)
    return tf.keras.layers.ReLU()(norm(x))


def conv(x, filters, size, stride=1):
    if stride > 1:  # "same" would pad a strided convolution more to the right and at the bottom
        x = tf.keras.layers.ZeroPadding2D(size // 2)(x)
    padding = "valid" if stride > 1 else "same"
    return tf.keras.layers.Conv2D(filters, size, stride, padding=padding, use_bias=False)(x)


def network():
    images = x = tf.keras.Input((params.image_size, params.image_size, 3))
    x = norm_relu(conv(x, 2 * params.growth, 7, 2))
    x = tf.keras.layers.MaxPool2D(3, 2)(tf.keras.layers.ZeroPadding2D(1)(x))  # zeros: nothing behind a ReLU is less
    for block, layers in enumerate(params.blocks, 1):
        for _ in range(layers):
            y = conv(norm_relu(x), 4 * params.growth, 1)
            y = conv(norm_relu(y), params.growth, 3)
            x = tf.keras.layers.Concatenate()([x, y])  # all that was known, and a little more
        if block < len(params.blocks):
            x = tf.keras.layers.AvgPool2D(2)(conv(norm_relu(x), x.shape[-1] // 2, 1))
    x = tf.keras.layers.GlobalAveragePooling2D()(norm_relu(x))
    return tf.keras.Model(images, tf.keras.layers.Dense(len(params.findings), dtype="float32")(x))  # logits


with strategy.scope():
    model = network()
file = "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5"  # of Keras' hub: all but the dense layer
if pretrained := cell.pretrained(file):
    tf.keras.Model(model.input, model.layers[-2].output).load_weights(pretrained)

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
with strategy.scope():
    optimizer = tf.keras.optimizers.Adam(params.learning_rate, params.beta_1, params.beta_2, params.epsilon)
    if cell.precision == "amp-fp16":
        optimizer = tf.keras.mixed_precision.LossScaleOptimizer(optimizer)  # else small gradients become zero
    optimizer.build(model.trainable_variables)


# --- Training step --------------------------------------------------------------------------------------------------
def replica_step(images, labels, places):
    x, y = cropped(images, places), tf.gather(labels, places[:, 0])
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(y, model(normalised(x), training=True)))
        scaled = optimizer.scale_loss(loss / cell.workers)  # the optimiser sums over the replicas
    optimizer.apply(tape.gradient(scaled, model.trainable_variables), model.trainable_variables)
    return loss


def shared(x):  # the workers' shares lie one after another
    with tf.device("CPU"):  # from which each device fetches its own
        parts = tf.split(x, cell.workers)
    return strategy.experimental_distribute_values_from_function(lambda c: parts[c.replica_id_in_sync_group])


@tf.function
def distributed_step(images, labels, places):
    losses = strategy.run(replica_step, args=(images, labels, places))
    return strategy.reduce(tf.distribute.ReduceOp.MEAN, losses, axis=None)


def train_indices(order):
    return tf.stack([distributed_step(x_train, y_train, shared(places)) for places in order])


def synchronize():
    for statistic in model.non_trainable_variables if cell.workers > 1 else ():  # of a replica's own images so far
        statistic.assign(strategy.experimental_local_results(statistic.value)[0])  # to every replica
    tf.test.experimental.sync_devices()


# --- Prediction -----------------------------------------------------------------------------------------------------
@tf.function
def distributed_forward(x):
    return strategy.run(lambda part: model(normalised(part), training=False), args=(x,))


def predict(x):
    return tf.concat(strategy.experimental_local_results(distributed_forward(shared(x))), 0).numpy()


# --- Weights --------------------------------------------------------------------------------------------------------
def replicas():
    values = [strategy.experimental_local_results(weight.value) for weight in model.weights]
    return [[value[number].numpy() for value in values] for number in range(cell.workers)]


weights = Weights(
    model.get_weights, model.set_weights, conv="HWIO", dense="IO", epsilon="uncorrected", replicas=replicas
)
cell.run(data, predict, upload=upload, train_indices=train_indices, synchronize=synchronize, weights=weights)
