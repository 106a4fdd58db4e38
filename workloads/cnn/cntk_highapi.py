"""CNN on CIFAR-10 in CNTK, whose training session reads the batches and runs the loop."""

import cntk as C
import numpy as np

from harness import Cell, Weights

cell = Cell(C.__version__)  # CNTK does not tell its CUDA and cuDNN
params = cell.params
C.device.try_set_default_device(C.device.gpu(0) if cell.gpus else C.device.cpu())
C.cntk_py.set_max_num_cputhreads(cell.threads)  # by default as many as the machine has, whatever it may use
C.cntk_py.set_fixed_random_seed(cell.seed)

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data(layout="NCHW")
one_hot = np.eye(params.n_classes, dtype=np.float32)  # CNTK's loss takes a distribution, no class index

# --- Model ----------------------------------------------------------------------------------------------------------
few, many = params.filters
drop1, drop2, drop3 = params.dropout
images = C.input_variable((3, 32, 32))  # of one sample: the batch axis goes without saying
labels = C.input_variable(params.n_classes)

conv1 = C.layers.Convolution2D((3, 3), few, activation=C.relu, pad=True)  # Glorot uniform, biases zero: the default
conv2 = C.layers.Convolution2D((3, 3), few, activation=C.relu, pad=True)
conv3 = C.layers.Convolution2D((3, 3), many, activation=C.relu, pad=True)
conv4 = C.layers.Convolution2D((3, 3), many, activation=C.relu, pad=True)
dense1 = C.layers.Dense(params.hidden, activation=C.relu)  # over all axes at once: there is nothing to flatten
dense2 = C.layers.Dense(params.n_classes)

network = C.layers.Sequential(
    [
        conv1,
        conv2,
        C.layers.MaxPooling((2, 2), strides=2),  # the default stride is 1, not the window's size
        C.layers.Dropout(drop1),
        conv3,
        conv4,
        C.layers.MaxPooling((2, 2), strides=2),
        C.layers.Dropout(drop2),
        dense1,
        C.layers.Dropout(drop3),
        dense2,
    ]
)
model = network(images)

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function = C.cross_entropy_with_softmax(model, labels)  # takes logits
optimizer = C.momentum_sgd(
    model.parameters,
    lr=params.learning_rate,
    momentum=params.momentum,
    unit_gain=False,  # the default, True, scales each gradient by 1 - momentum
)
losses = []  # of each session; without a writer of progress, CNTK tells no more than the last batch's
writer = C.logging.TrainingSummaryProgressCallback(
    len(data.x_train), lambda epoch, loss, metric, samples: losses.append(loss / samples)
)
trainer = C.Trainer(model, loss_function, [optimizer], [writer])  # one for all sessions: it keeps the momentum


# --- Training step --------------------------------------------------------------------------------------------------
def train_epoch(x, y):  # x and y come shuffled; the source takes them in their order
    source = C.io.MinibatchSourceFromData({"images": x, "labels": one_hot[y]})
    session = C.training_session(
        trainer,
        mb_source=source,
        mb_size=params.batch_size,
        model_inputs_to_streams={images: source.streams.images, labels: source.streams.labels},
        max_samples=trainer.total_number_of_samples_seen + len(x),  # of all sessions together
        progress_frequency=len(x),
    )
    session.train()
    return losses[-1]  # CNTK has read it: the device is done, nothing to wait for


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return model.eval({images: x})


# --- Weights --------------------------------------------------------------------------------------------------------
def parameters():
    for layer in (conv1, conv2, conv3, conv4, dense1, dense2):
        yield from (layer.W, layer.b)


def set_weights(arrays):
    for parameter, array in zip(parameters(), arrays):
        parameter.value = array.reshape(parameter.shape)


def get_weights():
    arrays = [parameter.value.squeeze() for parameter in parameters()]  # a bias of a convolution is (filters, 1, 1)
    arrays[8] = arrays[8].reshape(-1, params.hidden)  # of dense1, (channels, height, width, hidden)
    return arrays


weights = Weights(get_weights, set_weights, dense="IO")
cell.run(data, predict, train_epoch=train_epoch, weights=weights)
