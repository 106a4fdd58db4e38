# CNN on CIFAR-10 in Keras 3 on TensorFlow from R.
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
conv_2d <- as_verb(keras$layers$Conv2D)
max_pooling_2d <- as_verb(keras$layers$MaxPooling2D)
dropout <- as_verb(keras$layers$Dropout)
flatten <- as_verb(keras$layers$Flatten)
dense <- as_verb(keras$layers$Dense)

few <- params$filters[1]
many <- params$filters[2]
input <- keras$Input(tuple(32L, 32L, 3L))
output <- input |> # Glorot uniform, biases zero: the default
  conv_2d(few, 3L, padding = "same", activation = "relu") |>
  conv_2d(few, 3L, padding = "same", activation = "relu") |>
  max_pooling_2d(2L) |>
  dropout(params$dropout[1]) |>
  conv_2d(many, 3L, padding = "same", activation = "relu") |>
  conv_2d(many, 3L, padding = "same", activation = "relu") |>
  max_pooling_2d(2L) |>
  dropout(params$dropout[2]) |>
  flatten() |>
  dense(params$hidden, activation = "relu") |>
  dropout(params$dropout[3]) |>
  dense(params$n_classes) # logits: no softmax here, the loss has it
model <- keras$Model(input, output)

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
invisible(model$compile(
  loss = keras$losses$SparseCategoricalCrossentropy(from_logits = TRUE),
  optimizer = keras$optimizers$SGD(params$learning_rate, momentum = params$momentum)
))


# --- Training step --------------------------------------------------------------------------------------------------
train_epoch <- function(x, y) { # Keras' idiom is to give the loop away; x and y come shuffled
  history <- model$fit(x, y, batch_size = params$batch_size, shuffle = FALSE, verbose = 0L)
  history$history["loss"][0]
}


# --- Prediction -----------------------------------------------------------------------------------------------------
predict <- function(x) model$predict_on_batch(x) # dropout off: Keras sees to that


# --- Weights --------------------------------------------------------------------------------------------------------
weights <- harness$Weights(model$get_weights, model$set_weights, conv = "HWIO", dense = "IO", flat = "HWC")
synchronize <- tf$test$experimental$sync_devices
invisible(cell$run(data, predict, train_epoch = train_epoch, synchronize = synchronize, weights = weights))
