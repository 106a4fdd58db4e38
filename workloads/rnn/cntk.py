"""GRU on IMDB in CNTK."""

import cntk as C
import numpy as np

from harness import Cell, Weights
from harness.weights import cudnn_block, from_cudnn_block

cell = Cell(C.__version__)  # CNTK does not tell its CUDA and cuDNN
params = cell.params
C.device.try_set_default_device(C.device.gpu(0) if cell.gpus else C.device.cpu())
C.cntk_py.set_max_num_cputhreads(cell.threads)  # by default as many as the machine has, whatever it may use
C.cntk_py.set_fixed_random_seed(cell.seed)

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()
one_hot = np.eye(params.n_classes, dtype=np.float32)  # CNTK's loss takes a distribution, no class index

# --- Model ----------------------------------------------------------------------------------------------------------
table = C.parameter((params.vocabulary, params.embedding), init=C.glorot_uniform())
step = C.layers.GRU(params.hidden)  # the textbook GRU: reset gate before the product, one bias
block = C.parameter((C.InferredDimension, params.hidden), init=C.glorot_uniform())  # cuDNN's weights and biases
dense = C.layers.Dense(params.n_classes)
cell.gru = "cudnn" if cell.gpus else "scan"


def embedding(x):
    if cell.gpus:  # as published, and as C.layers.Embedding does it: one-hot rows, whose gradient is sparse
        return C.times(x, table)
    return C.gather(table, x)  # on a CPU, CNTK has no Adam for a sparse gradient


def gru(x):
    if cell.gpus:  # cuDNN's: reset gate after the product, two biases
        return C.optimized_rnnstack(x, block, params.hidden, num_layers=1, recurrent_op="gru")
    return C.layers.Recurrence(step)(x)


def words(x):  # CNTK knows no integers: on a GPU sparse one-hot rows, else numbers
    return C.Value.one_hot(x.tolist(), params.vocabulary) if cell.gpus else x.astype(np.float32)


# One word at every step: batch and time axes go without saying
tokens = C.sequence.input_variable(params.vocabulary, is_sparse=True) if cell.gpus else C.sequence.input_variable(())
labels = C.input_variable(params.n_classes)
network = C.layers.Sequential([embedding, gru, C.sequence.last, dense])
model = network(tokens)

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
loss_function = C.cross_entropy_with_softmax(model, labels)  # takes logits
optimizer = C.adam(
    model.parameters,
    lr=params.learning_rate,
    momentum=params.beta_1,
    unit_gain=True,  # here True is right: Adam scales each gradient by 1 - β₁
    variance_momentum=params.beta_2,
    epsilon=params.epsilon,
    minibatch_size=C.learners.IGNORE,  # mean gradients; the default, sums at lr / 64, makes Adam 64 times too slow
)
trainer = C.Trainer(model, loss_function, [optimizer])


# --- Training step --------------------------------------------------------------------------------------------------
def train_step(x, y):
    trainer.train_minibatch({tokens: words(x), labels: one_hot[y]})


def read_loss():  # once an epoch, as published: it waits for the device
    return trainer.previous_minibatch_loss_average


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return model.eval({tokens: words(x)})


# --- Weights --------------------------------------------------------------------------------------------------------
# On a GPU those of cuDNN's GRU, which is another than CNTK's own on a CPU.
def set_weights(arrays):
    table.value, *gru, dense.W.value, dense.b.value = arrays
    if cell.gpus:
        block.value = cudnn_block([array.T for array in gru]).reshape(block.shape)
    else:
        step.W.value, state, step.b.value = gru
        step.H.value, step.H1.value = np.split(state, [2 * params.hidden], axis=1)  # the gates, the new state


def get_weights():
    if cell.gpus:
        gru = [array.T for array in from_cudnn_block(block.value, params.embedding, params.hidden)]
    else:
        gru = [step.W.value, np.hstack([step.H.value, step.H1.value]), step.b.value]
    return [table.value, *gru, dense.W.value, dense.b.value]


form = (
    {"gates": "rzn", "biases": 2, "reset": "after"} if cell.gpus else {"gates": "zrn", "biases": 1, "reset": "before"}
)
weights = Weights(get_weights, set_weights, dense="IO", epsilon="uncorrected", **form)
cell.run(data, predict, train_step, weights=weights, read_loss=read_loss)
