# Features of ResNet-50 in MXNet from R: a graph of symbols, bound to an executor.
library(reticulate)

# Python's objects stay Python's (convert = FALSE): turned into R's, each batch would be copied to doubles, column by
# column, and back. So nothing of Python is an R value before py_to_r, indices count from 0, integers end in L.
harness <- import("harness", convert = FALSE) # before MXNet: importing that is timed
mx <- import("mxnet", convert = FALSE)

r_packages <- list(R = format(getRversion()), reticulate = format(packageVersion("reticulate")))
cell <- harness$Cell(mx$`__version__`, packages = r_packages) # MXNet does not tell its CUDA and cuDNN
params <- py_to_r(cell$params$`__dict__`)
context <- if (py_to_r(cell$gpus) > 0) mx$gpu() else mx$cpu()

# --- Data -----------------------------------------------------------------------------------------------------------
data <- cell$data(layout = "NCHW")

# --- Model ----------------------------------------------------------------------------------------------------------
unit <- function(x, filters, size, stride = 1L) {
  pad <- size %/% 2L
  x |>
    mx$sym$Convolution(
      num_filter = filters, kernel = tuple(size, size), stride = tuple(stride, stride), pad = tuple(pad, pad),
      no_bias = TRUE # the normalisation has one
    ) |>
    mx$sym$BatchNorm(eps = params$epsilon, fix_gamma = FALSE) # by default MXNet holds the scale at 1
}
relu <- function(x) mx$sym$Activation(x, act_type = "relu")

block <- function(x, width, stride, project) {
  y <- x |>
    unit(width, 1L) |>
    relu() |>
    unit(width, 3L, stride) |> # version 1.5: the stride lies on the 3×3 convolution
    relu() |>
    unit(4L * width, 1L)
  shortcut <- if (project) unit(x, 4L * width, 1L, stride) else x
  relu(mx$sym$elemwise_add(y, shortcut))
}

x <- mx$sym$Variable("data") |>
  unit(64L, 7L, 2L) |>
  relu() |>
  mx$sym$Pooling(pool_type = "max", kernel = tuple(3L, 3L), stride = tuple(2L, 2L), pad = tuple(1L, 1L))
for (stage in seq_along(params$blocks)) {
  for (number in seq_len(params$blocks[stage])) {
    x <- block(x, params$widths[stage], stride = if (stage > 1 && number == 1) 2L else 1L, project = number == 1)
  }
}
features <- x |>
  mx$sym$Pooling(pool_type = "avg", global_pool = TRUE) |>
  mx$sym$Flatten()
size <- params$image_size
executor <- features$simple_bind(context, grad_req = "null", data = tuple(params$batch_size, 3L, size, size))


# --- Prediction -----------------------------------------------------------------------------------------------------
predict <- function(x) {
  executor$forward(is_train = FALSE, data = mx$nd$array(x, context)) # normalise with the stored means
  executor$outputs[0]$asnumpy()
}


# --- Weights --------------------------------------------------------------------------------------------------------
names <- setdiff(py_to_r(features$list_inputs()), "data") # from input to output, a block's shortcut last
parameters <- lapply(names, \(name) if (grepl("moving", name)) executor$aux_dict[name] else executor$arg_dict[name])

set_weights <- function(arrays) {
  for (i in seq_along(names)) mx$nd$array(arrays[i - 1])$copyto(parameters[[i]])
}

get_weights <- function() lapply(parameters, \(parameter) parameter$asnumpy())

weights <- harness$Weights(get_weights, set_weights)
invisible(cell$run(data, predict, weights = weights))
