# CNN in Keras from R: R's own arrays, a softmax at the end, one-hot labels, and fit.
library(reticulate)
Sys.setenv(KERAS_BACKEND = "tensorflow")
keras <- import("keras")
common <- import("common")

params <- common$parameters("cnn")
samples <- common$arrays("cnn", channels_first = FALSE, one_hot = TRUE)

model <- keras$Sequential()
model$add(keras$Input(c(32L, 32L, 3L)))
model$add(keras$layers$Conv2D(params$filters[1], 3L, padding = "same", activation = "relu"))
model$add(keras$layers$Conv2D(params$filters[1], 3L, padding = "same", activation = "relu"))
model$add(keras$layers$MaxPooling2D(2L, 2L))
model$add(keras$layers$Dropout(params$dropout[1]))
model$add(keras$layers$Conv2D(params$filters[2], 3L, padding = "same", activation = "relu"))
model$add(keras$layers$Conv2D(params$filters[2], 3L, padding = "same", activation = "relu"))
model$add(keras$layers$MaxPooling2D(2L, 2L))
model$add(keras$layers$Dropout(params$dropout[2]))
model$add(keras$layers$Flatten())
model$add(keras$layers$Dense(params$hidden, activation = "relu"))
model$add(keras$layers$Dropout(params$dropout[3]))
model$add(keras$layers$Dense(params$n_classes, activation = "softmax"))

optimizer <- keras$optimizers$SGD(learning_rate = params$learning_rate, momentum = params$momentum)
model$compile(loss = "categorical_crossentropy", optimizer = optimizer)

clock <- common$Clock(keras$`__version__`)
after_epoch <- keras$callbacks$LambdaCallback(on_epoch_end = function(epoch, logs) clock$lap())
invisible(model$fit(
  samples[[1]], samples[[2]],
  batch_size = params$batch_size, epochs = common$EPOCHS, verbose = 0L, callbacks = list(after_epoch)
))
