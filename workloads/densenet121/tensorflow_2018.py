"""DenseNet-121 on chest X-rays in TensorFlow 1.12, of 2018: one graph, with a tower for each GPU."""

import h5py
import tensorflow as tf

from harness import Cell, Weights

cell = Cell(tf.__version__)  # TensorFlow does not tell its CUDA and cuDNN
params = cell.params
tf.set_random_seed(cell.seed)  # of the graph: operations made before this line would not know it
count = {} if cell.gpus else {"CPU": cell.workers}  # the CPU stands for as many devices as there are workers
session = tf.Session(config=tf.ConfigProto(device_count=count, allow_soft_placement=True))
kind = "GPU" if cell.gpus else "CPU"
devices = [device.name for device in session.list_devices() if device.device_type == kind][: cell.workers]
assert len(devices) == cell.workers, "TensorFlow sees too few GPUs, and would use the CPU without a word"

# --- Data -----------------------------------------------------------------------------------------------------------
# NCHW, as published, is cuDNN's; TensorFlow has no such convolution on a CPU
layout, data_format = ("NCHW", "channels_first") if cell.gpus else ("NHWC", "channels_last")
channels, rows, columns = (layout.index(axis) for axis in "CHW")
data = cell.data()


def normalised(x):  # three channels for the one of an X-ray
    x = tf.cast(x, tf.float32) / 255
    return tf.stack([(x - mean) / sd for mean, sd in zip(params.mean, params.sd)], channels)


# --- Model ----------------------------------------------------------------------------------------------------------
def pad(x, edge):  # by hand: "same" would pad a stride of 2 more to the right and at the bottom
    return tf.pad(x, [(edge, edge) if axis in (rows, columns) else (0, 0) for axis in range(4)])


def norm_relu(x, training):
    norm = tf.layers.batch_normalization(x, channels, params.norm_momentum, params.norm_epsilon, training=training)
    return tf.nn.relu(norm)


def conv(x, filters, size, stride=1):
    x, padding = (pad(x, size // 2), "valid") if stride > 1 else (x, "same")
    return tf.layers.conv2d(x, filters, size, stride, padding, data_format, use_bias=False)


def network(x, training):  # Glorot uniform: the default
    x = norm_relu(conv(x, 2 * params.growth, 7, 2), training)
    x = tf.layers.max_pooling2d(pad(x, 1), 3, 2, data_format=data_format)  # zeros do no harm behind a ReLU
    for block, layers in enumerate(params.blocks, 1):
        for _ in range(layers):
            y = conv(norm_relu(x, training), 4 * params.growth, 1)
            y = conv(norm_relu(y, training), params.growth, 3)
            x = tf.concat([x, y], channels)  # all that was known, and a little more
        if block < len(params.blocks):
            x = conv(norm_relu(x, training), x.shape[channels].value // 2, 1)
            x = tf.layers.average_pooling2d(x, 2, 2, data_format=data_format)
    x = tf.reduce_mean(norm_relu(x, training), (rows, columns))
    return tf.layers.dense(x, len(params.findings))  # logits


network = tf.make_template("densenet121", network)  # the first call makes the variables, all others use them
images = tf.placeholder(tf.uint8, (None, params.image_size, params.image_size))
labels = tf.placeholder(tf.float32, (None, len(params.findings)))


# --- Loss and optimiser ---------------------------------------------------------------------------------------------
optimizer = tf.train.AdamOptimizer(params.learning_rate, params.beta_1, params.beta_2, params.epsilon)


def tower(device, x, y):  # the variables stay where the first tower stands; the others read them from there
    with tf.device(device), tf.name_scope("tower"):
        x = normalised(x)
        loss = tf.losses.sigmoid_cross_entropy(y, network(x, training=True))  # takes logits
        # tf.gradients() alone would let a weight change while the way back still needs it
        gradients, _ = zip(*optimizer.compute_gradients(loss))
        return loss, gradients, network(x, training=False)


with tf.device("/cpu:0"):  # from which each device fetches its share
    shares = zip(devices, tf.split(images, cell.workers), tf.split(labels, cell.workers))
losses, gradients, scores = zip(*[tower(*share) for share in shares])
loss, logits = tf.reduce_mean(losses), tf.concat(scores, 0)
variables = tf.global_variables()  # in the order in which they were made; stored means and variances are not trainable
averages = [tf.add_n(every) / cell.workers for every in zip(*gradients)]
update = optimizer.apply_gradients(zip(averages, tf.trainable_variables()))
# Nothing runs these by itself. The first tower's are enough: the stored means and variances are everyone's.
statistics = tf.group(tf.get_collection(tf.GraphKeys.UPDATE_OPS, "tower/"))

session.run(tf.global_variables_initializer())  # the optimiser's too: only now the graph is complete


# --- Training step --------------------------------------------------------------------------------------------------
def train_step(x, y):
    *_, value = session.run([update, statistics, loss], {images: x, labels: y})
    return value  # a number: the device is done, nothing to wait for


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return session.run(logits, {images: x})


# --- Weights --------------------------------------------------------------------------------------------------------
def set_weights(arrays):  # through their initialisers: assignments would add to the graph; all in one call, not 606
    starts = [variable.initializer for variable in variables]
    session.run(starts, {start.inputs[1]: array for start, array in zip(starts, arrays)})


pretrained = cell.pretrained("densenet121_weights_tf_dim_ordering_tf_kernels_notop.h5")  # of Keras' hub
if pretrained:  # all but the dense layer, in the same order
    with h5py.File(pretrained, "r") as file:
        layers = [file[name] for name in file.attrs["layer_names"]]
        set_weights([layer[name][()] for layer in layers for name in layer.attrs["weight_names"]])

weights = Weights(lambda: session.run(variables), set_weights, conv="HWIO", dense="IO", epsilon="uncorrected")
cell.run(data, predict, train_step, weights=weights)
