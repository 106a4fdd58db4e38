# GRU in Keras from R: R's own arrays, a softmax at the end, one-hot labels, and fit.
library(reticulate)
Sys.setenv(KERAS_BACKEND = "tensorflow")
keras <- import("keras")
common <- import("common")

params <- common$parameters("rnn")
samples <- common$arrays("rnn", one_hot = TRUE)

model <- keras$Sequential()
model$add(keras$Input(list(params$length), dtype = "int32"))
model$add(keras$layers$Embedding(params$vocabulary, params$embedding))
model$add(keras$layers$GRU(params$hidden, return_sequences = FALSE))
model$add(keras$layers$Dense(params$n_classes, activation = "softmax"))

optimizer <- keras$optimizers$Adam(
  learning_rate = params$learning_rate, beta_1 = params$beta_1, beta_2 = params$beta_2, epsilon = params$epsilon
)
model$compile(loss = "categorical_crossentropy", optimizer = optimizer)

clock <- common$Clock(keras$`__version__`)
after_epoch <- keras$callbacks$LambdaCallback(on_epoch_end = function(epoch, logs) clock$lap())
invisible(model$fit(
  samples[[1]], samples[[2]],
  batch_size = params$batch_size, epochs = common$EPOCHS, verbose = 0L, callbacks = list(after_epoch)
))
