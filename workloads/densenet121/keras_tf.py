"""DenseNet-121 on chest X-rays in Keras 3 on TensorFlow, one process with a replica on each GPU."""

import os

os.environ["KERAS_BACKEND"] = "tensorflow"  # the backend decides how devices share the work: here by MirroredStrategy
import keras
import tensorflow as tf
from keras import layers

from harness import Cell, Weights

build = tf.sysconfig.get_build_info()  # what the wheel was built with: TensorFlow does not say what it loaded
precisions = ("fp32", "tf32", "amp-fp16", "amp-bf16")
packages = {"tensorflow": tf.__version__}
cell = Cell(keras.__version__, build.get("cuda_version"), build.get("cudnn_version"), packages, precisions)
params = cell.params
keras.utils.set_random_seed(cell.seed)
gpus = tf.config.list_physical_devices("GPU")[: cell.gpus]
assert len(gpus) == cell.gpus, "TensorFlow sees too few GPUs, and would use the CPU without a word"
tf.config.set_visible_devices(gpus, "GPU")
if not gpus:  # the CPU stands for as many devices as there are workers
    logical = [tf.config.LogicalDeviceConfiguration() for _ in range(cell.workers)]
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], logical)
policies = {"amp-fp16": "mixed_float16", "amp-bf16": "mixed_bfloat16"}
keras.config.set_dtype_policy(policies.get(cell.precision, "float32"))
cell.settle_precision("tensorflow", keras.config.dtype_policy())  # TF32 is on by default
strategy = tf.distribute.MirroredStrategy(
    [device.name[-5:] for device in tf.config.list_logical_devices("GPU" if gpus else "CPU")]
)

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()


def normalised(x):  # NHWC is the only layout that Keras' DenseNet has
    return (tf.cast(x, tf.float32)[..., None] / 255 - params.mean) / params.sd  # three channels for the one of an X-ray


# --- Model ----------------------------------------------------------------------------------------------------------
size = params.image_size
file = "densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5"  # of Keras' hub: all but the dense layer
with strategy.scope():  # a copy of each variable for each replica
    features = keras.applications.DenseNet121(  # the network that others write out, layer by layer
        include_top=False, weights=cell.pretrained(file), input_shape=(size, size, 3), pooling="avg"
    )
    for layer in features.layers:
        if isinstance(layer, layers.BatchNormalization):  # Keras has .99, and 1.001e-5 in this network
            layer.momentum, layer.epsilon = params.norm_momentum, params.norm_epsilon
    model = keras.Sequential([features, layers.Dense(len(params.findings), dtype="float32")])  # logits

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
with strategy.scope():
    model.compile(  # in half precision also scales the loss, else small gradients become zero
        loss=keras.losses.BinaryCrossentropy(from_logits=True),  # mean over images and findings
        optimizer=keras.optimizers.Adam(params.learning_rate, params.beta_1, params.beta_2, params.epsilon),
    )
    model.optimizer.build(model.trainable_variables)


# --- Training step --------------------------------------------------------------------------------------------------
def shared(x):  # the workers' shares lie one after another
    with tf.device("CPU"):  # from which each device fetches its own
        parts = tf.split(x, cell.workers)
    return strategy.experimental_distribute_values_from_function(lambda c: parts[c.replica_id_in_sync_group])


def replica_step(x, y):  # what fit does with a batch; fit itself loses the first batches of a stream to replicas
    model.train_step((normalised(x), y))  # adds up the replicas' gradients, each of its part of the mean


@tf.function
def distributed_step(x, y):
    strategy.run(replica_step, args=(x, y))


def train_step(x, y):
    model.reset_metrics()  # Keras goes on averaging the loss
    distributed_step(shared(x), shared(y))
    return model.get_metrics_result()["loss"]


def synchronize():
    for statistic in model.non_trainable_variables if cell.workers > 1 else ():  # of a replica's own images so far
        statistic.assign(statistic.numpy())  # reads the first replica's, writes that of each
    tf.test.experimental.sync_devices()


# --- Prediction -----------------------------------------------------------------------------------------------------
@tf.function
def distributed_predict(x):
    return strategy.run(lambda part: model.predict_step((normalised(part),)), args=(x,))


def predict(x):
    return tf.concat(strategy.experimental_local_results(distributed_predict(shared(x))), 0).numpy()


# --- Weights --------------------------------------------------------------------------------------------------------
def replicas():
    values = [strategy.experimental_local_results(weight.value) for weight in model.weights]
    return [[value[number].numpy() for value in values] for number in range(cell.workers)]


weights = Weights(
    model.get_weights, model.set_weights, conv="HWIO", dense="IO", epsilon="uncorrected", replicas=replicas
)
cell.run(data, predict, train_step, synchronize=synchronize, weights=weights)
