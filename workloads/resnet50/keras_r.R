# Features of ResNet-50 in Keras 3 on TensorFlow from R.
library(reticulate)
Sys.setenv(KERAS_BACKEND = "tensorflow") # or "jax", or "torch": the model below runs on any of them

# Python's objects stay Python's (convert = FALSE): turned into R's, each batch would be copied to doubles, column by
# column, and back. So nothing of Python is an R value before py_to_r, indices count from 0, integers end in L.
harness <- import("harness", convert = FALSE) # before TensorFlow: importing that is timed
keras <- import("keras", convert = FALSE)
tf <- import("tensorflow", convert = FALSE)

build <- tf$sysconfig$get_build_info() # what the wheel was built with: TensorFlow does not say what it loaded
packages <- list(
  tensorflow = tf$`__version__`, R = format(getRversion()), reticulate = format(packageVersion("reticulate"))
)
cell <- harness$Cell(keras$`__version__`, build$get("cuda_version"), build$get("cudnn_version"), packages)
params <- py_to_r(cell$params$`__dict__`)
invisible(keras$utils$set_random_seed(cell$seed))
invisible(cell$settle_precision("tensorflow")) # TF32 is on by default

# --- Data -----------------------------------------------------------------------------------------------------------
data <- cell$data(layout = "NHWC") # Keras' default, "channels_last"

# --- Model ----------------------------------------------------------------------------------------------------------
as_verb <- function(layer) { # a step of a pipe from a class of layers
  function(x, ...) {
    force(x) # R is lazy: else the last layer would be made first
    layer(...)$`__call__`(x)
  }
}
zero_padding_2d <- as_verb(keras$layers$ZeroPadding2D)
relu <- as_verb(keras$layers$ReLU)
max_pooling_2d <- as_verb(keras$layers$MaxPooling2D)
global_average_pooling_2d <- as_verb(keras$layers$GlobalAveragePooling2D)
add <- as_verb(keras$layers$Add)

units <- list() # every layer that has weights
unit <- function(x, filters, size, stride = 1L) {
  force(x)
  convolution <- keras$layers$Conv2D(filters, size, strides = stride, use_bias = FALSE)
  normalisation <- keras$layers$BatchNormalization(epsilon = params$epsilon)
  units <<- c(units, convolution, normalisation)
  x |>
    zero_padding_2d(size %/% 2L) |> # "same" would pad more on the right and below
    convolution$`__call__`() |>
    normalisation$`__call__`()
}

block <- function(x, width, stride, project) {
  y <- x |>
    unit(width, 1L) |>
    relu() |>
    unit(width, 3L, stride) |> # version 1.5: the stride lies on the 3×3 convolution
    relu() |>
    unit(4L * width, 1L)
  shortcut <- if (project) unit(x, 4L * width, 1L, stride) else x
  list(y, shortcut) |>
    add() |>
    relu()
}

input <- keras$Input(tuple(params$image_size, params$image_size, 3L))
x <- input |>
  unit(64L, 7L, 2L) |>
  relu() |>
  zero_padding_2d(1L) |> # zeros: nothing behind a ReLU is smaller
  max_pooling_2d(3L, strides = 2L)
for (stage in seq_along(params$blocks)) {
  for (number in seq_len(params$blocks[stage])) {
    x <- block(x, params$widths[stage], stride = if (stage > 1 && number == 1) 2L else 1L, project = number == 1)
  }
}
model <- keras$Model(input, global_average_pooling_2d(x))


# --- Prediction -----------------------------------------------------------------------------------------------------
predict <- function(x) model$predict_on_batch(x) # normalises with the stored means: Keras sees to that


# --- Weights --------------------------------------------------------------------------------------------------------
# By layer as they were made: the model itself sorts them by their distance from its end.
parameters <- do.call(c, lapply(units, \(layer) iterate(layer$weights, \(weight) weight, simplify = FALSE)))

set_weights <- function(arrays) {
  for (i in seq_along(parameters)) parameters[[i]]$assign(arrays[i - 1])
}

get_weights <- function() lapply(parameters, \(parameter) parameter$numpy())

weights <- harness$Weights(get_weights, set_weights, conv = "HWIO")
invisible(cell$run(data, predict, weights = weights))
