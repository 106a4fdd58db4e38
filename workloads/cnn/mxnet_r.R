# CNN on CIFAR-10 in MXNet from R: a graph of symbols, bound to an executor, and the loop over its parameters in R.
library(reticulate)

# Python's objects stay Python's (convert = FALSE): turned into R's, each batch would be copied to doubles, column by
# column, and back. So nothing of Python is an R value before py_to_r, indices count from 0, integers end in L.
harness <- import("harness", convert = FALSE) # before MXNet: importing that is timed
mx <- import("mxnet", convert = FALSE)

r_packages <- list(R = format(getRversion()), reticulate = format(packageVersion("reticulate")))
cell <- harness$Cell(mx$`__version__`, packages = r_packages) # MXNet does not tell its CUDA and cuDNN
params <- py_to_r(cell$params$`__dict__`)
invisible(mx$random$seed(cell$seed))
context <- if (py_to_r(cell$gpus) > 0) mx$gpu() else mx$cpu()

# --- Data -----------------------------------------------------------------------------------------------------------
data <- cell$data(layout = "NCHW")

# --- Model ----------------------------------------------------------------------------------------------------------
convolution <- function(x, filters, name) {
  mx$sym$Convolution(x, num_filter = filters, kernel = tuple(3L, 3L), pad = tuple(1L, 1L), name = name)
}
relu <- function(x) mx$sym$Activation(x, act_type = "relu")
max_pool <- function(x) mx$sym$Pooling(x, pool_type = "max", kernel = tuple(2L, 2L), stride = tuple(2L, 2L))
few <- params$filters[1]
many <- params$filters[2]
logits <- mx$sym$Variable("data") |>
  convolution(few, "conv1") |>
  relu() |>
  convolution(few, "conv2") |>
  max_pool() |>
  relu() |> # ReLU after the pool: same values, a quarter of the work
  mx$sym$Dropout(p = params$dropout[1]) |>
  convolution(many, "conv3") |>
  relu() |>
  convolution(many, "conv4") |>
  max_pool() |>
  relu() |>
  mx$sym$Dropout(p = params$dropout[2]) |>
  mx$sym$Flatten() |>
  mx$sym$FullyConnected(num_hidden = params$hidden, name = "dense1") |>
  relu() |>
  mx$sym$Dropout(p = params$dropout[3]) |>
  mx$sym$FullyConnected(num_hidden = params$n_classes, name = "dense2")

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
# SoftmaxOutput is the loss too: forwards it gives probabilities, backwards the gradient of the summed cross-entropy
# to its variable softmax_label, which the optimiser divides by the batch size.
softmax <- mx$sym$SoftmaxOutput(logits, name = "softmax")
names <- setdiff(py_to_r(softmax$list_arguments()), c("data", "softmax_label"))
executor <- softmax$simple_bind(
  context,
  grad_req = as.list(setNames(rep("write", length(names)), names)), # all others: no gradient
  data = tuple(params$batch_size, 3L, 32L, 32L),
  softmax_label = tuple(params$batch_size)
)
parameters <- lapply(names, \(name) executor$arg_dict[name])
gradients <- lapply(names, \(name) executor$grad_dict[name])
initialise <- py_to_r(mx$init$Xavier()) # Glorot uniform, as published; biases zero
for (i in seq_along(names)) initialise(mx$init$InitDesc(names[i]), parameters[[i]])
optimizer <- mx$optimizer$SGD(
  learning_rate = params$learning_rate, momentum = params$momentum, rescale_grad = 1 / params$batch_size
)
update <- py_to_r(mx$optimizer$get_updater(optimizer)) # an R function that keeps each parameter's velocity


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
  executor$forward(is_train = FALSE, data = mx$nd$array(x, context)) # dropout off
  executor$outputs[0]$asnumpy()
}


# --- Weights --------------------------------------------------------------------------------------------------------
set_weights <- function(arrays) {
  for (i in seq_along(names)) mx$nd$array(arrays[i - 1])$copyto(parameters[[i]])
}

get_weights <- function() lapply(parameters, \(parameter) parameter$asnumpy())

weights <- harness$Weights(get_weights, set_weights, scores = "probabilities")
# MXNet's calls return at once, on a CPU too: so the harness waits for them.
invisible(cell$run(data, predict, train_step, synchronize = mx$nd$waitall, weights = weights))
