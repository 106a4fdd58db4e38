# GRU on IMDB in MXNet from R: a graph of symbols, bound to an executor, and the loop over its parameters in R.
library(reticulate)

# Python's objects stay Python's (convert = FALSE): turned into R's, each batch would be copied to doubles, column by
# column, and back. So nothing of Python is an R value before py_to_r, indices count from 0, integers end in L.
harness <- import("harness", convert = FALSE) # before MXNet: importing that is timed
mx <- import("mxnet", convert = FALSE)
np <- import("numpy", convert = FALSE)

r_packages <- list(R = format(getRversion()), reticulate = format(packageVersion("reticulate")))
cell <- harness$Cell(mx$`__version__`, packages = r_packages) # MXNet does not tell its CUDA and cuDNN
params <- py_to_r(cell$params$`__dict__`)
invisible(mx$random$seed(cell$seed))
context <- if (py_to_r(cell$gpus) > 0) mx$gpu() else mx$cpu()

# --- Data -----------------------------------------------------------------------------------------------------------
data <- cell$data()

# --- Model ----------------------------------------------------------------------------------------------------------
gru <- mx$rnn$FusedRNNCell(params$hidden, mode = "gru", get_next_state = TRUE, prefix = "gru_") # one operator for all
tokens <- mx$sym$Variable("data") |>
  mx$sym$transpose() |> # the fused GRU runs time first (TNC): turning the tokens is cheaper than the embeddings
  mx$sym$Embedding(input_dim = params$vocabulary, output_dim = params$embedding, name = "embedding")
states <- gru$unroll(params$length, tokens, layout = "TNC", merge_outputs = TRUE)[1]
logits <- states[0] |> # the state after the padding: no mask, as published
  mx$sym$reshape(shape = tuple(-1L, params$hidden)) |>
  mx$sym$FullyConnected(num_hidden = params$n_classes, name = "dense")
cell$gru <- if (py_to_r(cell$gpus) > 0) "cudnn" else "scan" # one operator in any case: on a CPU a loop in C++

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
# SoftmaxOutput is the loss too: forwards it gives probabilities, backwards the gradient of the summed cross-entropy
# to its variable softmax_label, which the optimiser divides by the batch size.
softmax <- mx$sym$SoftmaxOutput(logits, name = "softmax")
names <- setdiff(py_to_r(softmax$list_arguments()), c("data", "softmax_label"))
executor <- softmax$simple_bind(
  context,
  grad_req = as.list(setNames(rep("write", length(names)), names)), # all others: no gradient
  data = tuple(params$batch_size, params$length),
  softmax_label = tuple(params$batch_size)
)
parameters <- lapply(names, \(name) executor$arg_dict[name])
gradients <- lapply(names, \(name) executor$grad_dict[name])
initialise <- py_to_r(mx$init$Xavier()) # Glorot uniform, as published, for the embedding too; biases zero
attributes <- softmax$attr_dict() # of which the one of gru_parameters says what lies where in that vector
for (i in seq_along(names)) {
  description <- mx$init$InitDesc(names[i], attributes$get(names[i]))
  initialise(description, parameters[[i]])
}
optimizer <- mx$optimizer$Adam(
  learning_rate = params$learning_rate, beta1 = params$beta_1, beta2 = params$beta_2, epsilon = params$epsilon,
  rescale_grad = 1 / params$batch_size
)
update <- py_to_r(mx$optimizer$get_updater(optimizer)) # an R function that keeps each parameter's moments


# --- Training step --------------------------------------------------------------------------------------------------
train_step <- function(x, y) {
  y <- mx$nd$array(y, context)
  executor$forward(is_train = TRUE, data = mx$nd$array(x, context), softmax_label = y)
  executor$backward()
  for (i in seq_along(names)) update(i - 1L, gradients[[i]], parameters[[i]])
  executor$outputs[0] |> # for the record: SoftmaxOutput trains without it
    mx$nd$pick(y) |>
    mx$nd$clip(1e-8, 1) |>
    mx$nd$log() |>
    mx$nd$mean() |>
    mx$nd$negative()
}


# --- Prediction -----------------------------------------------------------------------------------------------------
predict <- function(x) {
  executor$forward(is_train = FALSE, data = mx$nd$array(x, context))
  executor$outputs[0]$asnumpy()
}


# --- Weights --------------------------------------------------------------------------------------------------------
# The fused GRU's parameters are one vector: weights for the input, for the state, biases for the input, for the state.
gates <- 3L * params$hidden
ends <- cumsum(c(gates * params$embedding, gates * params$hidden, gates))

set_weights <- function(arrays) {
  parts <- iterate(arrays, \(array) array, simplify = FALSE)
  gru <- np$concatenate(lapply(parts[2:5], np$ravel))
  Map(\(array, parameter) mx$nd$array(array)$copyto(parameter), c(parts[1], gru, parts[6:7]), parameters)
}

get_weights <- function() {
  arrays <- lapply(parameters, \(parameter) parameter$asnumpy())
  parts <- np$split(arrays[[2]], ends)
  gru <- list(parts[0]$reshape(gates, -1L), parts[1]$reshape(gates, -1L), parts[2], parts[3])
  c(arrays[1], gru, arrays[3:4])
}

weights <- harness$Weights(get_weights, set_weights, epsilon = "uncorrected", scores = "probabilities")
# MXNet's calls return at once, on a CPU too: so the harness waits for them.
invisible(cell$run(data, predict, train_step, synchronize = mx$nd$waitall, weights = weights))
