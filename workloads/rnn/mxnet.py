"""GRU on IMDB in MXNet's Module API: a graph of symbols, bound once to its shapes."""

import mxnet as mx

from harness import Cell, Weights
from harness.weights import cudnn_block, from_cudnn_block

cell = Cell(mx.__version__)  # MXNet does not tell its CUDA and cuDNN
params = cell.params
mx.random.seed(cell.seed)
context = mx.gpu() if cell.gpus else mx.cpu()

# --- Data -----------------------------------------------------------------------------------------------------------
data = cell.data()


# --- Model ----------------------------------------------------------------------------------------------------------
def network(x):
    x = mx.sym.transpose(x)  # the fused GRU runs time first (TNC): turning the tokens is cheaper than the embeddings
    x = mx.sym.Embedding(x, input_dim=params.vocabulary, output_dim=params.embedding, name="embedding")
    gru = mx.rnn.FusedRNNCell(params.hidden, mode="gru", get_next_state=True)  # one operator for all time-steps
    _, states = gru.unroll(params.length, x, layout="TNC", merge_outputs=True)
    last = mx.sym.reshape(states[0], shape=(-1, params.hidden))  # the state after the padding: no mask, as published
    return mx.sym.FullyConnected(last, num_hidden=params.n_classes, name="dense")


cell.gru = "cudnn" if cell.gpus else "scan"  # one operator in any case: on a CPU a loop in C++

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
# SoftmaxOutput is the loss too: forwards it gives probabilities, backwards the gradient of the summed cross-entropy
# to its variable softmax_label, which Module divides by the batch size.
softmax = mx.sym.SoftmaxOutput(network(mx.sym.Variable("data")), name="softmax")
model = mx.mod.Module(softmax, context=context)
model.bind(
    data_shapes=[("data", (params.batch_size, params.length))],
    label_shapes=[("softmax_label", (params.batch_size,))],
)
model.init_params(mx.init.Xavier())  # Glorot uniform, as published, for the embedding too; biases zero
model.init_optimizer(
    optimizer="adam",
    optimizer_params={
        "learning_rate": params.learning_rate,
        "beta1": params.beta_1,
        "beta2": params.beta_2,
        "epsilon": params.epsilon,
    },
)


# --- Training step --------------------------------------------------------------------------------------------------
def train_step(x, y):
    x, y = mx.nd.array(x, context), mx.nd.array(y, context)  # float32 like all in MXNet: exact for token numbers
    model.forward_backward(mx.io.DataBatch([x], [y]))
    model.update()
    probabilities = model.get_outputs()[0]
    return -(probabilities.pick(y) + 1e-8).log().mean()  # for the record: SoftmaxOutput trains without it


# --- Prediction -----------------------------------------------------------------------------------------------------
def predict(x):
    model.forward(mx.io.DataBatch([mx.nd.array(x, context)]), is_train=False)
    return model.get_outputs()[0].asnumpy()


# --- Weights --------------------------------------------------------------------------------------------------------
# The fused GRU has one vector for all that it learns: cuDNN's, on a CPU too.
def set_weights(arrays):
    embedding, *gru, weight, bias = arrays
    block = cudnn_block(gru)
    values = {"embedding_weight": embedding, "gru_parameters": block, "dense_weight": weight, "dense_bias": bias}
    model.set_params({name: mx.nd.array(value) for name, value in values.items()}, aux_params={})


def get_weights():
    values = {name: value.asnumpy() for name, value in model.get_params()[0].items()}
    gru = from_cudnn_block(values["gru_parameters"], params.embedding, params.hidden)
    return [values["embedding_weight"], *gru, values["dense_weight"], values["dense_bias"]]


weights = Weights(get_weights, set_weights, epsilon="uncorrected", scores="probabilities")
cell.run(data, predict, train_step, synchronize=mx.nd.waitall, weights=weights)  # calls return at once, on a CPU too
