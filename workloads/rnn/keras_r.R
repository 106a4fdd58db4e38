# GRU on IMDB in Keras 3 on TensorFlow from R.
library(reticulate)
Sys.setenv(KERAS_BACKEND = "tensorflow") # or "jax", or "torch": the model below runs on any of them

# Python's objects stay Python's (convert = FALSE): turned into R's, each batch would be copied to doubles, column by
# column, and back. So nothing of Python is an R value before py_to_r, indices count from 0, integers end in L.
harness <- import("harness", convert = FALSE) # before TensorFlow: importing that is timed
keras <- import("keras", convert = FALSE)
tf <- import("tensorflow", convert = FALSE)
np <- import("numpy", convert = FALSE)

build <- tf$sysconfig$get_build_info() # what the wheel was built with: TensorFlow does not say what it loaded
packages <- list(
  tensorflow = tf$`__version__`, R = format(getRversion()), reticulate = format(packageVersion("reticulate"))
)
cell <- harness$Cell(keras$`__version__`, build$get("cuda_version"), build$get("cudnn_version"), packages)
params <- py_to_r(cell$params$`__dict__`)
invisible(keras$utils$set_random_seed(cell$seed))
invisible(cell$settle_precision("tensorflow")) # TF32 is on by default

# --- Data -----------------------------------------------------------------------------------------------------------
data <- cell$data()

# --- Model ----------------------------------------------------------------------------------------------------------
as_verb <- function(layer) { # a step of a pipe from a class of layers
  function(x, ...) {
    force(x) # R is lazy: else the last layer would be made first
    layer(...)$`__call__`(x)
  }
}
embedding <- as_verb(keras$layers$Embedding)
gru <- as_verb(keras$layers$GRU)
dense <- as_verb(keras$layers$Dense)

on_gpu <- py_to_r(cell$gpus) > 0
cell$gru <- if (on_gpu) "cudnn" else "scan"

input <- keras$Input(tuple(params$length), dtype = "int32")
output <- input |>
  embedding(params$vocabulary, params$embedding) |> # uniform, ±0.05; mask_zero off: no mask, as published
  # reset gate after the product, two biases; told to use cuDNN, it fails rather than take its own loop
  gru(params$hidden, use_cudnn = if (on_gpu) TRUE else "auto") |>
  dense(params$n_classes) # logits: no softmax here, the loss has it
model <- keras$Model(input, output)

# --- Loss and optimiser ---------------------------------------------------------------------------------------------
Adam <- PyClass("Adam", inherit = keras$optimizers$Adam, list(
  apply = function(self, gradients, variables = NULL) {
    # On TensorFlow, the embedding's gradient is one slice per token. Keras' Adam squares the slices before it adds up
    # those of the same word, which is another algorithm; made dense, the gradient is what all other libraries have.
    super()$apply(lapply(gradients, tf$convert_to_tensor), variables)
  }
))

invisible(model$compile(
  loss = keras$losses$SparseCategoricalCrossentropy(from_logits = TRUE),
  optimizer = Adam(params$learning_rate, params$beta_1, params$beta_2, params$epsilon)
))


# --- Training step --------------------------------------------------------------------------------------------------
train_epoch <- function(x, y) { # Keras' idiom is to give the loop away; x and y come shuffled
  history <- model$fit(x, y, batch_size = params$batch_size, shuffle = FALSE, verbose = 0L)
  history$history["loss"][0]
}


# --- Prediction -----------------------------------------------------------------------------------------------------
predict <- function(x) model$predict_on_batch(x)


# --- Weights --------------------------------------------------------------------------------------------------------
get_weights <- function() {
  arrays <- iterate(model$get_weights(), \(array) array, simplify = FALSE)
  c(arrays[1:3], list(arrays[[4]][0], arrays[[4]][1]), arrays[5:6])
}

set_weights <- function(arrays) {
  arrays <- iterate(arrays, \(array) array, simplify = FALSE)
  model$set_weights(c(arrays[1:3], np$stack(arrays[4:5]), arrays[6:7])) # one matrix for both biases
}

weights <- harness$Weights(get_weights, set_weights, dense = "IO", gates = "zrn", epsilon = "uncorrected")
synchronize <- tf$test$experimental$sync_devices
invisible(cell$run(data, predict, train_epoch = train_epoch, synchronize = synchronize, weights = weights))
