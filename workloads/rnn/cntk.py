"""GRU on IMDB in CNTK."""

import cntk as C
import numpy as np

from harness import Cell, Weights

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


def embedding(x):
    # C.layers.Embedding multiplies sparse one-hot rows, and CNTK has no Adam for their sparse gradient on a CPU
    return C.gather(table, x)


def gru(x):
    if cell.gpus:  # cuDNN's: reset gate after the product, two biases
        return C.optimized_rnnstack(x, block, params.hidden, num_layers=1, recurrent_op="gru")
    return C.layers.Recurrence(step)(x)


tokens = C.sequence.input_variable(())  # a scalar at every step: batch and time axes go without saying
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
    trainer.train_minibatch({tokens: x.astype(np.float32), labels: one_hot[y]})  # CNTK knows no integers
    return trainer.previous_minibatch_loss_average  # reading it waits for the device


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    return model.eval({tokens: x.astype(np.float32)})


# --- Weights --------------------------------------------------------------------------------------------------------
# Those of a CPU's GRU; the block of cuDNN's is not taken apart.
def set_weights(arrays):
    table.value, step.W.value, state, step.b.value, dense.W.value, dense.b.value = arrays
    step.H.value, step.H1.value = np.split(state, [2 * params.hidden], axis=1)  # the gates, the new state


def get_weights():
    state = np.hstack([step.H.value, step.H1.value])
    return [table.value, step.W.value, state, step.b.value, dense.W.value, dense.b.value]


weights = Weights(get_weights, set_weights, dense="IO", gates="zrn", biases=1, reset="before", epsilon="uncorrected")
cell.run(data, predict, train_step, weights=weights)
