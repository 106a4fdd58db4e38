"""CNN on CIFAR-10 in TensorFlow 1.12's Estimator, which runs the loop and keeps all between two calls in a folder."""

import functools
import tempfile

import numpy as np
import tensorflow as tf

from harness import Cell, Weights

cell = Cell(tf.__version__)  # TensorFlow does not tell its CUDA and cuDNN
params = cell.params
seeds = np.random.RandomState(cell.seed)
tf.logging.set_verbosity(tf.logging.ERROR)  # the Estimator warns of its own queues
assert not cell.gpus or tf.test.is_gpu_available(), "TensorFlow sees no GPU, and would use the CPU without a word"

# --- Data -----------------------------------------------------------------------------------------------------------
# NCHW, as published, is cuDNN's; TensorFlow has no such convolution on a CPU
layout, data_format = ("NCHW", "channels_first") if cell.gpus else ("NHWC", "channels_last")
data = cell.data(layout=layout)

# --- Model ----------------------------------------------------------------------------------------------------------
conv = functools.partial(tf.layers.conv2d, kernel_size=3, padding="same", data_format=data_format)
pool = functools.partial(tf.layers.max_pooling2d, pool_size=2, strides=2, data_format=data_format)


def network(x, training):  # Glorot uniform, biases zero: the default
    few, many = params.filters
    drop1, drop2, drop3 = params.dropout
    x = tf.nn.relu(conv(x, few, name="conv1"))
    x = tf.nn.relu(pool(conv(x, few, name="conv2")))  # ReLU after the pool: same values, a quarter of the work
    x = tf.layers.dropout(x, drop1, training=training)  # of the default, training=False, nobody is warned
    x = tf.nn.relu(conv(x, many, name="conv3"))
    x = tf.nn.relu(pool(conv(x, many, name="conv4")))
    x = tf.layers.dropout(x, drop2, training=training)
    x = tf.layers.Flatten(data_format)(x)  # with the channels last, so that weights fit either layout
    x = tf.layers.dense(x, params.hidden, activation=tf.nn.relu, name="dense1")
    x = tf.layers.dropout(x, drop3, training=training)
    return tf.layers.dense(x, params.n_classes, name="dense2")


# --- Loss and optimiser ---------------------------------------------------------------------------------------------
def model_fn(features, labels, mode):  # called for a new graph at every training and for every predictor
    logits = network(features["images"], training=mode == tf.estimator.ModeKeys.TRAIN)
    if mode == tf.estimator.ModeKeys.PREDICT:
        output = tf.estimator.export.PredictOutput({"logits": logits})
        return tf.estimator.EstimatorSpec(mode, {"logits": logits}, export_outputs={"serving_default": output})
    loss = tf.losses.sparse_softmax_cross_entropy(labels, logits)  # takes logits
    optimizer = tf.train.MomentumOptimizer(params.learning_rate, params.momentum)
    update = optimizer.minimize(loss, global_step=tf.train.get_global_step())
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=update)


folder = tempfile.mkdtemp()  # of checkpoints: weights, momentum, number of steps


def estimator():  # a session begins its random numbers anew: with one seed, all epochs would have the same dropout
    config = tf.estimator.RunConfig(folder, tf_random_seed=seeds.randint(2**31), keep_checkpoint_max=1)
    return tf.estimator.Estimator(model_fn, config=config)


# --- Training step --------------------------------------------------------------------------------------------------
class Losses(tf.train.SessionRunHook):  # an Estimator tells the loss of every hundredth step, and only to its log
    def begin(self):
        self.loss, self.values = tf.losses.get_losses()[0], []  # listed twice by now: get_total_loss would double it

    def before_run(self, context):
        return tf.train.SessionRunArgs(self.loss)

    def after_run(self, context, run):
        self.values.append(run.results)


def train_epoch(x, y):  # x and y come shuffled; it reads the last checkpoint first and writes one at the end
    losses = Losses()
    batches = tf.estimator.inputs.numpy_input_fn({"images": x}, y, params.batch_size, num_epochs=1, shuffle=False)
    estimator().train(batches, hooks=[losses])
    return np.mean(losses.values)  # numbers: the device is done, nothing to wait for


# --- Prediction -----------------------------------------------------------------------------------------------------
def receive():
    images = tf.placeholder(tf.float32, (None,) + data.x_train.shape[1:])
    return tf.estimator.export.ServingInputReceiver({"images": images}, {"images": images})


@functools.lru_cache(maxsize=1)
def predictor(checkpoint):  # Estimator.predict would make a graph and read the checkpoint for every batch
    return tf.contrib.predictor.from_estimator(estimator(), receive)


def predict(x):
    return predictor(tf.train.latest_checkpoint(folder))({"images": x})["logits"]


# --- Weights --------------------------------------------------------------------------------------------------------
layers = ("conv1", "conv2", "conv3", "conv4", "dense1", "dense2")
names = ["%s/%s" % (layer, part) for layer in layers for part in ("kernel", "bias")]


def set_weights(arrays):  # by a checkpoint, from which training goes on
    with tf.Graph().as_default(), tf.Session() as session:
        tf.train.create_global_step()
        model_fn(receive().features, tf.placeholder(tf.int32, (None,)), tf.estimator.ModeKeys.TRAIN)
        session.run(tf.global_variables_initializer())
        for variable, array in zip(tf.trainable_variables(), arrays):
            variable.load(array, session)
        tf.train.Saver().save(session, folder + "/model.ckpt", global_step=0)


def get_weights():
    return [estimator().get_variable_value(name) for name in names]


weights = Weights(get_weights, set_weights, conv="HWIO", dense="IO", flat="HWC")
cell.run(data, predict, train_epoch=train_epoch, weights=weights)
